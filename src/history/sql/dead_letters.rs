//! The dead-letter store.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::events::{push_type, time};
use super::values::{Arg, Args, Column, Timestamp, push_if, push_offset};
use super::{Dialect, SqlStore};
use crate::history::dead_letters::{
    DeadLetter, DeadLetterQuery, DeadLetterStatus, DeadLetterStore, MessageOrigin, StoredDeadLetter,
};
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::history::type_filter::TypeFilter;
use crate::history::{Page, Result};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, processor, event_type, origin_stream, origin_seq, epoch, seq, logged_at, error, attempts, status,
                first_failed_at, last_failed_at, next_at, published, version, ",
            $rest
        )
    };
}

const INSERT: &str = "
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

const UPDATE: &str = "
UPDATE dead_letters SET error = $3, attempts = $4, status = $5, last_failed_at = $6, next_at = $7, published = $8,
    version = version + 1
WHERE id = $1 AND version = $2";

/// Rows that one statement deletes; it takes two arguments for each.
const DELETED_AT_ONCE: usize = 1_000;

#[async_trait]
impl<DB: Dialect> DeadLetterStore for SqlStore<DB> {
    async fn insert(&self, stored: &StoredDeadLetter) -> Result<bool> {
        let (letter, origin) = (&stored.letter, &stored.letter.origin);
        let (epoch, seq) = origin.cursor.map(|cursor| (epoch_to_sql(cursor.epoch), seq_to_sql(cursor.seq))).unzip();
        let query = sqlx::query(INSERT)
            .args((letter.id, letter.processor.as_str(), letter.subject.as_str()))
            .args((&stored.body[..], stored.raw.as_deref(), origin.stream.as_str(), seq_to_sql(origin.seq)))
            .args((epoch, seq, Timestamp(origin.logged_at), letter.error.as_str(), letter.attempts.cast_signed()))
            .args((letter.status.as_str(), Timestamp(letter.first_failed_at), Timestamp(letter.last_failed_at)))
            .args((letter.next_at.map(Timestamp), letter.published, letter.version));
        self.changes(query).await
    }

    async fn get(&self, id: Uuid) -> Result<Option<StoredDeadLetter>> {
        self.fetch_optional(sqlx::query(ONE).arg(id), stored::<DB>).await
    }

    async fn list(&self, query: &DeadLetterQuery) -> Result<Page<DeadLetter>> {
        let limit = query.limit.max(1);
        let mut sql = QueryBuilder::<DB>::new(LIST);
        push_type(&mut sql, &query.subject.as_ref().map_or(TypeFilter::Any, TypeFilter::of));
        push_if(&mut sql, " AND status = ", query.status.map(DeadLetterStatus::as_str));
        push_if(&mut sql, " AND first_failed_at >= ", query.since.map(Timestamp));
        push_if(&mut sql, " AND first_failed_at < ", query.until.map(Timestamp));
        if let Some(after) = query.after {
            sql.push(" AND (first_failed_at, id) < (").arg(Timestamp(after.timestamp));
            sql.push(", ").arg(after.id).push(")");
        }
        sql.push(" ORDER BY first_failed_at DESC, id DESC LIMIT ").arg(i64::from(limit) + 1);
        push_offset(&mut sql, query.offset);
        self.fetch_page(sql.build(), limit, letter::<DB>).await
    }

    async fn due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>> {
        self.fetch_batch(sqlx::query(DUE).arg(Timestamp(now)).arg(i64::from(limit)), stored::<DB>).await
    }

    async fn unpublished(&self, limit: u32) -> Result<Vec<StoredDeadLetter>> {
        self.fetch_batch(sqlx::query(UNPUBLISHED).arg(i64::from(limit)), stored::<DB>).await
    }

    async fn update(&self, letter: &DeadLetter) -> Result<bool> {
        let query = sqlx::query(UPDATE)
            .args((letter.id, letter.version, letter.error.as_str(), letter.attempts.cast_signed()))
            .args((letter.status.as_str(), Timestamp(letter.last_failed_at)))
            .args((letter.next_at.map(Timestamp), letter.published));
        self.changes(query).await
    }

    async fn count(&self, status: DeadLetterStatus) -> Result<u64> {
        let query = sqlx::query("SELECT count(*) FROM dead_letters WHERE status = $1").arg(status.as_str());
        let count = self.fetch_optional(query, |row| Column::<i64>::read(row, 0)).await?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    async fn expired(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>> {
        self.fetch_batch(sqlx::query(EXPIRED).arg(Timestamp(before)).arg(i64::from(limit)), stored::<DB>).await
    }

    async fn delete(&self, letters: &[(Uuid, i64)]) -> Result<u64> {
        let mut deleted = 0;
        for letters in letters.chunks(DELETED_AT_ONCE) {
            let mut sql = QueryBuilder::<DB>::new("DELETE FROM dead_letters WHERE (id, version) IN (VALUES ");
            for (index, (id, version)) in letters.iter().enumerate() {
                sql.push(if index > 0 { ", (" } else { "(" }).arg(*id).push(", ").arg(*version).push(")");
            }
            // one letter after each successful retry: the only text that is worth keeping
            deleted += self.execute(sql.push(")").build().persistent(letters.len() == 1)).await?;
        }
        Ok(deleted)
    }
}

fn stored<DB: Dialect>(row: &DB::Row) -> sqlx::Result<StoredDeadLetter> {
    let (body, raw): (Vec<u8>, Option<Vec<u8>>) = (row.read(16)?, row.read(17)?);
    Ok(StoredDeadLetter { letter: letter::<DB>(row)?, body: body.into(), raw: raw.map(Into::into) })
}

fn letter<DB: Dialect>(row: &DB::Row) -> sqlx::Result<DeadLetter> {
    let (stream, seq) = (row.read(3)?, Column::<i64>::read(row, 4)?.unsigned_abs());
    let (cursor, logged_at) = (cursor_from_sql(row.read(5)?, row.read(6)?), time::<DB>(row, 7)?);
    let status: String = row.read(10)?;
    Ok(DeadLetter {
        id: row.read(0)?,
        processor: row.read(1)?,
        subject: row.read(2)?,
        origin: MessageOrigin { stream, seq, cursor, logged_at },
        error: row.read(8)?,
        attempts: Column::<i32>::read(row, 9)?.unsigned_abs(),
        status: status.parse().map_err(|error: String| sqlx::Error::Decode(error.into()))?,
        first_failed_at: time::<DB>(row, 11)?,
        last_failed_at: time::<DB>(row, 12)?,
        next_at: Column::<Option<Timestamp>>::read(row, 13)?.map(|time| time.0),
        published: row.read(14)?,
        version: row.read(15)?,
    })
}
