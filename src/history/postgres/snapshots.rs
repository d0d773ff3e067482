//! Saved snapshots.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Executor, Row};
use tokio::time::timeout;
use uuid::Uuid;

use super::Postgres;
use super::connect::{patience, settle, within};
use super::sqlstate::classify;
use crate::history::snapshots::{NewSnapshot, SavedPlace, SavedSnapshot, SavedState, SnapshotPage, Snapshots};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::history::{HistoryError, PagePosition};
use crate::model::{Cursor, Epoch};

const SAVE: &str = "
INSERT INTO living_map_snapshots
    (id, generated_at, snapshot_data, version, compressed, size_bytes, created_at,
     epoch, seq, logged_at, state, state_version)
VALUES ($1, $2, $3::jsonb, $4, false, $5, $6, $7, $8, $2, $9, $10)
ON CONFLICT DO NOTHING";

/// Old rows may have infinite times, which no client can read; they are the only ones that are left out.
const LIST: &str = "
SELECT id, epoch, seq, generated_at, created_at, version, size_bytes FROM living_map_snapshots
WHERE (generated_at, id) < ($1, $2) AND generated_at > '0001-01-01' ORDER BY generated_at DESC, id DESC LIMIT $3";

const STATE: &str = "
SELECT epoch, seq, logged_at, state FROM living_map_snapshots
WHERE epoch = $1 AND state_version = $2 AND seq <= $3 AND logged_at <= $4 AND state IS NOT NULL
ORDER BY seq DESC LIMIT 1";

const OLDEST: &str = "
SELECT epoch, seq, logged_at FROM living_map_snapshots
WHERE epoch = $1 AND state_version = $2 AND seq >= $3 AND state IS NOT NULL ORDER BY seq LIMIT 1";

#[async_trait]
impl Snapshots for Postgres {
    async fn save(&self, snapshot: &NewSnapshot) -> Result<bool, HistoryError> {
        let query = sqlx::query(SAVE)
            .bind(snapshot.id)
            .bind(snapshot.logged_at)
            .bind(String::from_utf8_lossy(&snapshot.data).into_owned())
            .bind(&snapshot.version)
            .bind(i32::try_from(snapshot.data.len()).unwrap_or(i32::MAX))
            .bind(snapshot.saved_at)
            .bind(epoch_to_sql(snapshot.cursor.epoch))
            .bind(seq_to_sql(snapshot.cursor.seq))
            .bind(snapshot.state.to_vec())
            .bind(snapshot.state_version);
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected() > 0)
    }

    async fn list(&self, after: Option<PagePosition>, limit: u32) -> Result<SnapshotPage, HistoryError> {
        let limit = limit.max(1);
        let (time, id) = after.map_or((LAST, Uuid::max()), |after| (after.timestamp, after.id));
        let query = sqlx::query(LIST).bind(time).bind(id).bind(i64::from(limit) + 1);
        let mut rows = within!(self.readers, self.config.read_timeout, fetch_all, query)?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let items = rows.iter().map(listed).collect::<sqlx::Result<_>>().map_err(classify)?;
        Ok(SnapshotPage { items, has_more })
    }

    async fn get(&self, id: Uuid) -> Result<Option<Bytes>, HistoryError> {
        let query = sqlx::query("SELECT snapshot_data::text FROM living_map_snapshots WHERE id = $1").bind(id);
        let row = within!(self.readers, self.config.read_timeout, fetch_optional, query)?;
        row.map(|row| row.try_get::<String, _>(0).map(Bytes::from)).transpose().map_err(classify)
    }

    async fn state_at(
        &self,
        epoch: Epoch,
        version: i32,
        seq: u64,
        time: Option<DateTime<Utc>>,
    ) -> Result<Option<SavedState>, HistoryError> {
        let query = sqlx::query(STATE).bind(epoch_to_sql(epoch)).bind(version).bind(seq_to_sql(seq));
        let query = query.bind(time.unwrap_or(LAST));
        let row = within!(self.readers, self.config.read_timeout, fetch_optional, query)?;
        let read = |row: PgRow| {
            let (cursor, logged_at) = place(&row)?;
            Ok(SavedState { cursor, logged_at, bytes: row.try_get::<Vec<u8>, _>(3)?.into() })
        };
        row.map(read).transpose().map_err(classify)
    }

    async fn oldest_state(
        &self,
        epoch: Epoch,
        version: i32,
        seq: u64,
    ) -> Result<Option<(Cursor, DateTime<Utc>)>, HistoryError> {
        let query = sqlx::query(OLDEST).bind(epoch_to_sql(epoch)).bind(version).bind(seq_to_sql(seq));
        let row = within!(self.readers, self.config.read_timeout, fetch_optional, query)?;
        row.as_ref().map(place).transpose().map_err(classify)
    }

    async fn saved(&self) -> Result<Vec<SavedPlace>, HistoryError> {
        let sql = "SELECT epoch, seq, logged_at, id FROM living_map_snapshots WHERE epoch IS NOT NULL AND logged_at IS NOT NULL \
            ORDER BY logged_at DESC, seq DESC";
        let rows = within!(self.readers, self.config.read_timeout, fetch_all, sqlx::query(sql))?;
        rows.iter().map(saved_place).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn delete(&self, ids: &[Uuid]) -> Result<u64, HistoryError> {
        let query = sqlx::query("DELETE FROM living_map_snapshots WHERE id = ANY($1)").bind(ids);
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected())
    }
}

/// Behind every time that is stored.
const LAST: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(time) => time,
    None => DateTime::UNIX_EPOCH,
};

fn listed(row: &PgRow) -> sqlx::Result<SavedSnapshot> {
    let generated_at = row.try_get(3)?;
    Ok(SavedSnapshot {
        id: row.try_get(0)?,
        cursor: cursor_from_sql(row.try_get(1)?, row.try_get(2)?),
        generated_at,
        saved_at: row.try_get(4).unwrap_or(generated_at),
        version: row.try_get(5)?,
        size_bytes: row.try_get::<Option<i32>, _>(6)?.and_then(|size| u64::try_from(size).ok()),
    })
}

fn saved_place(row: &PgRow) -> sqlx::Result<SavedPlace> {
    let (cursor, logged_at) = place(row)?;
    Ok(SavedPlace { id: row.try_get(3)?, cursor, logged_at })
}

fn place(row: &PgRow) -> sqlx::Result<(Cursor, DateTime<Utc>)> {
    let cursor = cursor_from_sql(row.try_get(0)?, row.try_get(1)?).ok_or(sqlx::Error::RowNotFound)?;
    Ok((cursor, row.try_get(2)?))
}
