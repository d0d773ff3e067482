//! The snapshot store.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::events::time;
use super::values::{Arg, Args, Column, SqlQuery, Timestamp};
use super::{Dialect, Session, SqlStore, bases};
use crate::history::bases::Bases;
use crate::history::snapshots::{
    NewBase, NewSnapshot, SavedSnapshot, SavedState, SnapshotPosition, Snapshots, StateVersions,
};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::history::{Page, PagePosition, Result};
use crate::model::{Cursor, Epoch};

/// Adopted rows may have infinite times, which no client can read; only they are left out.
const LIST: &str = "
SELECT id, epoch, seq, generated_at, created_at, version, size_bytes FROM living_map_snapshots
WHERE (generated_at, id) < ($1, $2) AND generated_at > $3 ORDER BY generated_at DESC, id DESC LIMIT $4 OFFSET $5";

const STATE: &str = "
SELECT epoch, seq, logged_at, state FROM living_map_snapshots
WHERE epoch = $1 AND state_version BETWEEN $2 AND $3 AND seq <= $4 AND logged_at <= $5 AND state IS NOT NULL
ORDER BY seq DESC, state_version DESC LIMIT 1";

const OLDEST: &str = "
SELECT epoch, seq, logged_at FROM living_map_snapshots
WHERE epoch = $1 AND state_version BETWEEN $2 AND $3 AND seq >= $4 AND state IS NOT NULL ORDER BY seq LIMIT 1";

const SAVED: &str = "
SELECT epoch, seq, logged_at, id FROM living_map_snapshots AS saved WHERE epoch IS NOT NULL AND logged_at IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM living_map_bases AS base
        WHERE base.epoch = saved.epoch AND base.state_version = saved.state_version AND base.seq = saved.seq
            AND base.decided_at = (SELECT max(decided_at) FROM living_map_bases)
    )
ORDER BY logged_at DESC, seq DESC";

/// Before and after every stored time: the years 1 and 9999.
const FIRST: DateTime<Utc> = DateTime::from_timestamp(-62_135_596_800, 0).unwrap();
const LAST: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).unwrap();

#[async_trait]
impl<DB: Dialect> Snapshots for SqlStore<DB> {
    async fn save(&self, snapshot: &NewSnapshot) -> Result<bool> {
        let data = DB::pack(snapshot.data.clone()).await.map_err(DB::classify)?;
        self.changes(insert::<DB>(snapshot, &data)).await
    }

    async fn list(&self, after: Option<PagePosition>, offset: u32, limit: u32) -> Result<Page<SavedSnapshot>> {
        let limit = limit.max(1);
        let (time, id) = after.map_or((LAST, Uuid::max()), |after| (after.timestamp, after.id));
        let query = sqlx::query(LIST)
            .args((Timestamp(time), id, Timestamp(FIRST)))
            .args((i64::from(limit) + 1, i64::from(offset)));
        self.fetch_page(query, limit, listed::<DB>).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<Bytes>> {
        let query = sqlx::query(DB::SNAPSHOT).arg(id);
        let Some(data) = self.fetch_optional(query, |row| row.read(0)).await? else { return Ok(None) };
        DB::unpack(data).await.map(Some).map_err(DB::classify)
    }

    async fn state_at(
        &self,
        epoch: Epoch,
        versions: StateVersions,
        seq: u64,
        time: Option<DateTime<Utc>>,
    ) -> Result<Option<SavedState>> {
        let query =
            sqlx::query(STATE).args((epoch_to_sql(epoch), *versions.start(), *versions.end())).arg(seq_to_sql(seq));
        let read = |row: &DB::Row| {
            let (cursor, logged_at) = position::<DB>(row)?;
            Ok(SavedState { cursor, logged_at, bytes: Column::<Vec<u8>>::read(row, 3)?.into() })
        };
        self.fetch_optional(query.arg(Timestamp(time.unwrap_or(LAST))), read).await
    }

    async fn oldest_state(
        &self,
        epoch: Epoch,
        versions: StateVersions,
        seq: u64,
    ) -> Result<Option<(Cursor, DateTime<Utc>)>> {
        let query =
            sqlx::query(OLDEST).args((epoch_to_sql(epoch), *versions.start(), *versions.end())).arg(seq_to_sql(seq));
        self.fetch_optional(query, position::<DB>).await
    }

    async fn bases(&self, epoch: Epoch, versions: StateVersions) -> Result<Option<Bases>> {
        let query = sqlx::query(bases::BASES).args((epoch_to_sql(epoch), *versions.start(), *versions.end()));
        let rows = self.rows(&self.pools.readers, self.config.read_timeout, query).await?;
        bases::bases::<DB>(epoch, &rows).map_err(DB::classify)
    }

    async fn save_base(&self, base: &NewBase) -> Result<bool> {
        let data = match &base.snapshot {
            Some(snapshot) => DB::pack(snapshot.data.clone()).await.map_err(DB::classify)?,
            None => Vec::new(),
        };
        let saving = async |session: &mut Session<DB>| {
            let inserted = bases::insert::<DB>(session, base).await?;
            if let Some(snapshot) = base.snapshot.as_ref().filter(|_| inserted) {
                session.execute(insert::<DB>(snapshot, &data)).await?;
            }
            Ok(inserted)
        };
        self.transaction(bases::INSERT_STATEMENTS, saving).await
    }

    async fn carried_from(&self, epoch: Epoch, versions: StateVersions) -> Result<Option<u64>> {
        let query = sqlx::query(bases::CARRIED_FROM).args((epoch_to_sql(epoch), *versions.start(), *versions.end()));
        let seq = self.fetch_optional(query, |row| Column::<Option<i64>>::read(row, 0)).await?;
        Ok(seq.flatten().map(i64::unsigned_abs))
    }

    async fn positions(&self) -> Result<Vec<SnapshotPosition>> {
        let saved = |row: &DB::Row| {
            let (cursor, logged_at) = position::<DB>(row)?;
            Ok(SnapshotPosition { id: row.read(3)?, cursor, logged_at })
        };
        self.fetch_all(sqlx::query(SAVED), saved).await
    }

    async fn delete(&self, ids: &[Uuid]) -> Result<u64> {
        let mut deleted = 0;
        for ids in ids.chunks(DB::SNAPSHOTS_DELETED_AT_ONCE) {
            let mut sql = QueryBuilder::<DB>::new("DELETE FROM living_map_snapshots WHERE id");
            DB::push_any(&mut sql, ids);
            deleted += self.execute(sql.build()).await?;
        }
        Ok(deleted)
    }
}

fn insert<'q, DB: Dialect>(snapshot: &'q NewSnapshot, data: &'q [u8]) -> SqlQuery<'q, DB> {
    let size = i32::try_from(snapshot.data.len()).unwrap_or(i32::MAX);
    sqlx::query(DB::SAVE_SNAPSHOT)
        .args((snapshot.id, Timestamp(snapshot.logged_at), data, snapshot.version.as_str(), size))
        .args((Timestamp(snapshot.saved_at), epoch_to_sql(snapshot.cursor.epoch), seq_to_sql(snapshot.cursor.seq)))
        .args((&snapshot.state[..], snapshot.state_version))
}

fn listed<DB: Dialect>(row: &DB::Row) -> sqlx::Result<SavedSnapshot> {
    let (id, cursor, version) = (row.read(0)?, cursor_from_sql(row.read(1)?, row.read(2)?), row.read(5)?);
    let generated_at = time::<DB>(row, 3)?;
    let saved_at = Column::<Option<Timestamp>>::read(row, 4)?.map_or(generated_at, |time| time.0);
    let size_bytes = Column::<Option<i32>>::read(row, 6)?.and_then(|size| u64::try_from(size).ok());
    Ok(SavedSnapshot { id, cursor, generated_at, saved_at, version, size_bytes })
}

fn position<DB: Dialect>(row: &DB::Row) -> sqlx::Result<(Cursor, DateTime<Utc>)> {
    let cursor = cursor_from_sql(row.read(0)?, row.read(1)?).ok_or(sqlx::Error::RowNotFound)?;
    Ok((cursor, time::<DB>(row, 2)?))
}
