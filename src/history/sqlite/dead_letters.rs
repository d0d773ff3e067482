//! Dead letters.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, QueryBuilder, Row};
use uuid::Uuid;

use super::Sqlite;
use super::code::classify;
use super::read::{push_type, time};
use crate::history::HistoryError;
use crate::history::dead_letters::{
    DeadLetter, DeadLetterPage, DeadLetterQuery, DeadLetterStatus, DeadLetterStore, MessageOrigin, StoredDeadLetter,
};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::history::type_filter::TypeFilter;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, processor, event_type, origin_stream, origin_seq, epoch, seq, logged_at, error, attempts, status,
                first_failed_at, last_failed_at, next_at, published, version, ",
            $rest
        )
    };
}

const KEEP: &str = "
INSERT INTO dead_letters (id, processor, event_type, body, raw, origin_stream, origin_seq, epoch, seq, logged_at, error,
    attempts, status, first_failed_at, last_failed_at, next_at, published, version)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";

const LIST: &str = select!("NULL, NULL FROM dead_letters WHERE true");
const ONE: &str = select!("body, raw FROM dead_letters WHERE id = ?");
const DUE: &str = select!("body, raw FROM dead_letters WHERE next_at <= ? ORDER BY next_at LIMIT ?");
const UNPUBLISHED: &str =
    select!("body, raw FROM dead_letters WHERE status = 'dead' AND NOT published ORDER BY first_failed_at LIMIT ?");
const EXPIRED: &str = select!(
    "body, raw FROM dead_letters WHERE first_failed_at < ? AND status <> 'retrying' ORDER BY first_failed_at, id LIMIT ?"
);

const CHANGE: &str = "
UPDATE dead_letters SET error = ?3, attempts = ?4, status = ?5, last_failed_at = ?6, next_at = ?7, published = ?8,
    version = version + 1
WHERE id = ?1 AND version = ?2";

#[async_trait]
impl DeadLetterStore for Sqlite {
    async fn insert(&self, stored: &StoredDeadLetter) -> Result<bool, HistoryError> {
        let letter = &stored.letter;
        let query = sqlx::query(KEEP)
            .bind(letter.id)
            .bind(&letter.processor)
            .bind(&letter.subject)
            .bind(stored.body.to_vec())
            .bind(stored.raw.as_deref())
            .bind(&letter.origin.stream)
            .bind(seq_to_sql(letter.origin.seq))
            .bind(letter.origin.cursor.map(|cursor| epoch_to_sql(cursor.epoch)))
            .bind(letter.origin.cursor.map(|cursor| seq_to_sql(cursor.seq)))
            .bind(letter.origin.logged_at.timestamp_micros())
            .bind(&letter.error)
            .bind(letter.attempts)
            .bind(letter.status.as_str())
            .bind(letter.first_failed_at.timestamp_micros())
            .bind(letter.last_failed_at.timestamp_micros())
            .bind(letter.next_at.map(|at| at.timestamp_micros()))
            .bind(letter.published)
            .bind(letter.version);
        Ok(self.writer.execute(query).await.map_err(classify)?.rows_affected() > 0)
    }

    async fn get(&self, id: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError> {
        let row = self.readers.fetch_optional(sqlx::query(ONE).bind(id)).await.map_err(classify)?;
        row.as_ref().map(kept).transpose().map_err(classify)
    }

    async fn list(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, HistoryError> {
        let limit = query.limit.max(1);
        let mut sql = QueryBuilder::new(LIST);
        push_type(&mut sql, &query.subject.as_ref().map_or(TypeFilter::Any, TypeFilter::of));
        if let Some(status) = query.status {
            sql.push(" AND status = ").push_bind(status.as_str());
        }
        if let Some(since) = query.since {
            sql.push(" AND first_failed_at >= ").push_bind(since.timestamp_micros());
        }
        if let Some(until) = query.until {
            sql.push(" AND first_failed_at < ").push_bind(until.timestamp_micros());
        }
        if let Some(after) = query.after {
            sql.push(" AND (first_failed_at, id) < (").push_bind(after.timestamp.timestamp_micros());
            sql.push(", ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY first_failed_at DESC, id DESC LIMIT ").push_bind(i64::from(limit) + 1);
        let mut rows = self.readers.fetch_all(sql.build()).await.map_err(classify)?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let items = rows.iter().map(letter).collect::<sqlx::Result<_>>().map_err(classify)?;
        Ok(DeadLetterPage { items, has_more })
    }

    async fn due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        let query = sqlx::query(DUE).bind(now.timestamp_micros()).bind(limit);
        let rows = self.readers.fetch_all(query).await.map_err(classify)?;
        rows.iter().map(kept).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn unpublished(&self, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        let rows = self.readers.fetch_all(sqlx::query(UNPUBLISHED).bind(limit)).await.map_err(classify)?;
        rows.iter().map(kept).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn update(&self, letter: &DeadLetter) -> Result<bool, HistoryError> {
        let query = sqlx::query(CHANGE)
            .bind(letter.id)
            .bind(letter.version)
            .bind(&letter.error)
            .bind(letter.attempts)
            .bind(letter.status.as_str())
            .bind(letter.last_failed_at.timestamp_micros())
            .bind(letter.next_at.map(|at| at.timestamp_micros()))
            .bind(letter.published);
        Ok(self.writer.execute(query).await.map_err(classify)?.rows_affected() > 0)
    }

    async fn count(&self, status: DeadLetterStatus) -> Result<u64, HistoryError> {
        let query = sqlx::query_scalar("SELECT count(*) FROM dead_letters WHERE status = ?").bind(status.as_str());
        let count: i64 = query.fetch_one(&self.readers).await.map_err(classify)?;
        Ok(count.unsigned_abs())
    }

    async fn expired(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        let query = sqlx::query(EXPIRED).bind(before.timestamp_micros()).bind(limit);
        let rows = self.readers.fetch_all(query).await.map_err(classify)?;
        rows.iter().map(kept).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn delete(&self, letters: &[(Uuid, i64)]) -> Result<u64, HistoryError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(classify)?;
        let mut removed = 0;
        for (id, version) in letters {
            let query = sqlx::query("DELETE FROM dead_letters WHERE id = ? AND version = ?").bind(id).bind(version);
            removed += transaction.execute(query).await.map_err(classify)?.rows_affected();
        }
        transaction.commit().await.map_err(classify)?;
        Ok(removed)
    }
}

fn kept(row: &SqliteRow) -> sqlx::Result<StoredDeadLetter> {
    let raw: Option<Vec<u8>> = row.try_get(17)?;
    Ok(StoredDeadLetter { letter: letter(row)?, body: row.try_get::<Vec<u8>, _>(16)?.into(), raw: raw.map(Into::into) })
}

fn letter(row: &SqliteRow) -> sqlx::Result<DeadLetter> {
    let status = row.try_get::<&str, _>(10)?.parse().map_err(|error: String| sqlx::Error::Decode(error.into()))?;
    let next_at: Option<i64> = row.try_get(13)?;
    Ok(DeadLetter {
        id: row.try_get(0)?,
        processor: row.try_get(1)?,
        subject: row.try_get(2)?,
        origin: MessageOrigin {
            stream: row.try_get(3)?,
            seq: row.try_get::<i64, _>(4)?.unsigned_abs(),
            cursor: cursor_from_sql(row.try_get(5)?, row.try_get(6)?),
            logged_at: time(row, 7)?,
        },
        error: row.try_get(8)?,
        attempts: row.try_get(9)?,
        status,
        first_failed_at: time(row, 11)?,
        last_failed_at: time(row, 12)?,
        next_at: next_at.and_then(DateTime::from_timestamp_micros),
        published: row.try_get(14)?,
        version: row.try_get(15)?,
    })
}
