//! Dead letters.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Executor, QueryBuilder, Row};
use tokio::time::timeout;
use uuid::Uuid;

use super::Postgres;
use super::connect::{patience, settle, within};
use super::read::push_type;
use super::sqlstate::classify;
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
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT (id) DO NOTHING";

const LIST: &str = select!("NULL, NULL FROM dead_letters WHERE true");
const ONE: &str = select!("body, raw FROM dead_letters WHERE id = $1");
const DUE: &str = select!("body, raw FROM dead_letters WHERE next_at <= $1 ORDER BY next_at LIMIT $2");
const UNPUBLISHED: &str =
    select!("body, raw FROM dead_letters WHERE status = 'dead' AND NOT published ORDER BY first_failed_at LIMIT $1");
const EXPIRED: &str = select!(
    "body, raw FROM dead_letters WHERE first_failed_at < $1 AND status <> 'retrying' ORDER BY first_failed_at, id LIMIT $2"
);

const CHANGE: &str = "
UPDATE dead_letters SET error = $3, attempts = $4, status = $5, last_failed_at = $6, next_at = $7, published = $8,
    version = version + 1
WHERE id = $1 AND version = $2";

const REMOVE: &str = "
DELETE FROM dead_letters USING unnest($1::uuid[], $2::bigint[]) AS gone(id, version)
WHERE dead_letters.id = gone.id AND dead_letters.version = gone.version";

#[async_trait]
impl DeadLetterStore for Postgres {
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
            .bind(letter.origin.logged_at)
            .bind(&letter.error)
            .bind(letter.attempts.cast_signed())
            .bind(letter.status.as_str())
            .bind(letter.first_failed_at)
            .bind(letter.last_failed_at)
            .bind(letter.next_at)
            .bind(letter.published)
            .bind(letter.version);
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected() > 0)
    }

    async fn get(&self, id: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError> {
        let query = sqlx::query(ONE).bind(id);
        let row = within!(self.readers, self.config.read_timeout, fetch_optional, query)?;
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
            sql.push(" AND first_failed_at >= ").push_bind(since);
        }
        if let Some(until) = query.until {
            sql.push(" AND first_failed_at < ").push_bind(until);
        }
        if let Some(after) = query.after {
            sql.push(" AND (first_failed_at, id) < (").push_bind(after.timestamp);
            sql.push(", ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY first_failed_at DESC, id DESC LIMIT ").push_bind(i64::from(limit) + 1);
        let mut rows = within!(self.readers, self.config.read_timeout, fetch_all, sql.build())?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let items = rows.iter().map(letter).collect::<sqlx::Result<_>>().map_err(classify)?;
        Ok(DeadLetterPage { items, has_more })
    }

    async fn due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        let query = sqlx::query(DUE).bind(now).bind(i64::from(limit));
        let rows = within!(self.readers, self.config.read_timeout, fetch_all, query)?;
        rows.iter().map(kept).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn unpublished(&self, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        let query = sqlx::query(UNPUBLISHED).bind(i64::from(limit));
        let rows = within!(self.readers, self.config.read_timeout, fetch_all, query)?;
        rows.iter().map(kept).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn update(&self, letter: &DeadLetter) -> Result<bool, HistoryError> {
        let query = sqlx::query(CHANGE)
            .bind(letter.id)
            .bind(letter.version)
            .bind(&letter.error)
            .bind(letter.attempts.cast_signed())
            .bind(letter.status.as_str())
            .bind(letter.last_failed_at)
            .bind(letter.next_at)
            .bind(letter.published);
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected() > 0)
    }

    async fn count(&self, status: DeadLetterStatus) -> Result<u64, HistoryError> {
        let query = sqlx::query("SELECT count(*) FROM dead_letters WHERE status = $1").bind(status.as_str());
        let row = within!(self.readers, self.config.read_timeout, fetch_one, query)?;
        Ok(row.try_get::<i64, _>(0).map_err(classify)?.unsigned_abs())
    }

    async fn expired(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        let query = sqlx::query(EXPIRED).bind(before).bind(i64::from(limit));
        let rows = within!(self.readers, self.config.read_timeout, fetch_all, query)?;
        rows.iter().map(kept).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn delete(&self, letters: &[(Uuid, i64)]) -> Result<u64, HistoryError> {
        let (ids, versions): (Vec<Uuid>, Vec<i64>) = letters.iter().copied().unzip();
        let query = sqlx::query(REMOVE).bind(ids).bind(versions);
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected())
    }
}

fn kept(row: &PgRow) -> sqlx::Result<StoredDeadLetter> {
    let raw: Option<Vec<u8>> = row.try_get(17)?;
    Ok(StoredDeadLetter { letter: letter(row)?, body: row.try_get::<Vec<u8>, _>(16)?.into(), raw: raw.map(Into::into) })
}

fn letter(row: &PgRow) -> sqlx::Result<DeadLetter> {
    let status = row.try_get::<&str, _>(10)?.parse().map_err(|error: String| sqlx::Error::Decode(error.into()))?;
    Ok(DeadLetter {
        id: row.try_get(0)?,
        processor: row.try_get(1)?,
        subject: row.try_get(2)?,
        origin: MessageOrigin {
            stream: row.try_get(3)?,
            seq: row.try_get::<i64, _>(4)?.unsigned_abs(),
            cursor: cursor_from_sql(row.try_get(5)?, row.try_get(6)?),
            logged_at: row.try_get(7)?,
        },
        error: row.try_get(8)?,
        attempts: row.try_get::<i32, _>(9)?.unsigned_abs(),
        status,
        first_failed_at: row.try_get(11)?,
        last_failed_at: row.try_get(12)?,
        next_at: row.try_get(13)?,
        published: row.try_get(14)?,
        version: row.try_get(15)?,
    })
}
