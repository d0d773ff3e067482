//! Saved snapshots.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Sqlite;
use super::code::classify;
use super::read::time;
use crate::history::snapshots::{NewSnapshot, SavedPlace, SavedSnapshot, SavedState, SnapshotPage, Snapshots};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::history::{HistoryError, PagePosition};
use crate::model::{Cursor, Epoch};

const SAVE: &str = "
INSERT INTO living_map_snapshots
    (id, generated_at, snapshot_data, version, size_bytes, created_at, epoch, seq, logged_at, state, state_version)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?2, ?9, ?10)
ON CONFLICT DO NOTHING";

const LIST: &str = "
SELECT id, epoch, seq, generated_at, created_at, version, size_bytes FROM living_map_snapshots
WHERE (generated_at, id) < (?, ?) ORDER BY generated_at DESC, id DESC LIMIT ?";

const STATE: &str = "
SELECT epoch, seq, logged_at, state FROM living_map_snapshots
WHERE epoch = ? AND state_version = ? AND seq <= ? AND logged_at <= ? ORDER BY seq DESC LIMIT 1";

const OLDEST: &str = "
SELECT epoch, seq, logged_at FROM living_map_snapshots
WHERE epoch = ? AND state_version = ? AND seq >= ? ORDER BY seq LIMIT 1";

/// As in the wire's snapshots: about as much time as it saves.
const LEVEL: i32 = 3;

#[async_trait]
impl Snapshots for Sqlite {
    async fn save(&self, snapshot: &NewSnapshot) -> Result<bool, HistoryError> {
        let data = snapshot.data.clone();
        let size = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let compressed = tokio::task::spawn_blocking(move || zstd::bulk::compress(&data, LEVEL)).await;
        let compressed = compressed.map_err(std::io::Error::other).flatten().map_err(|error| classify(error.into()))?;
        let query = sqlx::query(SAVE)
            .bind(snapshot.id)
            .bind(snapshot.logged_at.timestamp_micros())
            .bind(compressed)
            .bind(&snapshot.version)
            .bind(size)
            .bind(snapshot.saved_at.timestamp_micros())
            .bind(epoch_to_sql(snapshot.cursor.epoch))
            .bind(seq_to_sql(snapshot.cursor.seq))
            .bind(snapshot.state.to_vec())
            .bind(snapshot.state_version);
        Ok(self.writer.execute(query).await.map_err(classify)?.rows_affected() > 0)
    }

    async fn list(&self, after: Option<PagePosition>, limit: u32) -> Result<SnapshotPage, HistoryError> {
        let limit = limit.max(1);
        let (time, id) = after.map_or((i64::MAX, Uuid::max()), |after| (after.timestamp.timestamp_micros(), after.id));
        let query = sqlx::query(LIST).bind(time).bind(id).bind(i64::from(limit) + 1);
        let mut rows = self.readers.fetch_all(query).await.map_err(classify)?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let items = rows.iter().map(listed).collect::<sqlx::Result<_>>().map_err(classify)?;
        Ok(SnapshotPage { items, has_more })
    }

    async fn get(&self, id: Uuid) -> Result<Option<Bytes>, HistoryError> {
        let query = sqlx::query_scalar("SELECT snapshot_data FROM living_map_snapshots WHERE id = ?").bind(id);
        let data: Option<Vec<u8>> = query.fetch_optional(&self.readers).await.map_err(classify)?;
        let Some(data) = data else { return Ok(None) };
        let plain = tokio::task::spawn_blocking(move || zstd::decode_all(&*data)).await;
        let plain = plain.map_err(std::io::Error::other).flatten().map_err(|error| classify(error.into()))?;
        Ok(Some(plain.into()))
    }

    async fn state_at(
        &self,
        epoch: Epoch,
        version: i32,
        seq: u64,
        time: Option<DateTime<Utc>>,
    ) -> Result<Option<SavedState>, HistoryError> {
        let query = sqlx::query(STATE).bind(epoch_to_sql(epoch)).bind(version).bind(seq_to_sql(seq));
        let query = query.bind(time.map_or(i64::MAX, |time| time.timestamp_micros()));
        let row = self.readers.fetch_optional(query).await.map_err(classify)?;
        let read = |row: SqliteRow| {
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
        let row = self.readers.fetch_optional(query).await.map_err(classify)?;
        row.as_ref().map(place).transpose().map_err(classify)
    }

    async fn saved(&self) -> Result<Vec<SavedPlace>, HistoryError> {
        let sql = "SELECT epoch, seq, logged_at, id FROM living_map_snapshots ORDER BY logged_at DESC, seq DESC";
        let rows = self.readers.fetch_all(sqlx::query(sql)).await.map_err(classify)?;
        rows.iter().map(saved_place).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn delete(&self, ids: &[Uuid]) -> Result<u64, HistoryError> {
        let mut deleted = 0;
        for id in ids {
            // one at a time: nobody can write meanwhile
            let query = sqlx::query("DELETE FROM living_map_snapshots WHERE id = ?").bind(id);
            deleted += self.writer.execute(query).await.map_err(classify)?.rows_affected();
        }
        Ok(deleted)
    }
}

fn listed(row: &SqliteRow) -> sqlx::Result<SavedSnapshot> {
    Ok(SavedSnapshot {
        id: row.try_get(0)?,
        cursor: cursor_from_sql(row.try_get(1)?, row.try_get(2)?),
        generated_at: time(row, 3)?,
        saved_at: time(row, 4)?,
        version: row.try_get(5)?,
        size_bytes: row.try_get::<Option<i64>, _>(6)?.and_then(|size| u64::try_from(size).ok()),
    })
}

fn saved_place(row: &SqliteRow) -> sqlx::Result<SavedPlace> {
    let (cursor, logged_at) = place(row)?;
    Ok(SavedPlace { id: row.try_get(3)?, cursor, logged_at })
}

fn place(row: &SqliteRow) -> sqlx::Result<(Cursor, DateTime<Utc>)> {
    let cursor = cursor_from_sql(row.try_get(0)?, row.try_get(1)?).ok_or(sqlx::Error::RowNotFound)?;
    Ok((cursor, time(row, 2)?))
}
