//! The differences between the databases: locking, upserts, plan hints, storage formats.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::driver::Driver;
use super::values::Values;
use super::{Session, SqlStore};
use crate::history::lessons::LessonQuery;
use crate::history::type_filter::TypeFilter;
use crate::history::{AggregateQuery, HistoryQuery, InsertCounts, Result};
use crate::model::LogEntry;

/// Comparison of event types in the order of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeOrder {
    pub greater: &'static str,
    /// Behind `ORDER BY event_type`.
    pub using: &'static str,
    /// The order is that of bytes, so the index also finds a range of bytes.
    pub bytes: bool,
}

/// A database that can store history.
#[async_trait]
pub trait Dialect: Driver + Values {
    /// State that only this database needs.
    type Engine: Send + Sync;

    /// `postgres` or `sqlite`.
    const KIND: &'static str;
    /// Fails if the database is unavailable. Depends on no table, which may be locked.
    const PING: &'static str;
    /// The current time by the database's clock.
    const NOW: &'static str;
    /// Behind a number of microseconds that is added to a time.
    const MICROSECONDS: &'static str = "";
    /// Behind a subquery whose rows are updated: rows locked by other transactions are left out.
    const SKIP_LOCKED: &'static str = "";
    /// In front of a column that must not be looked up in an index.
    const UNINDEXED: &'static str = "";
    /// Behind an expression that is to be ordered by bytes.
    const BYTE_ORDER: &'static str = "";
    /// The operators that compare text by bytes: at or above, and below.
    const BYTE_RANGE: (&'static str, &'static str);
    /// Values in one list. A longer list takes several statements.
    const LIST_VALUES: usize;
    /// True if a list is one argument, so that the text of a statement does not depend on its length.
    const LISTS_ARE_ARRAYS: bool;
    /// Saved snapshots that one statement deletes.
    const SNAPSHOTS_DELETED_AT_ONCE: usize;
    /// True if tables may have been adopted from another service, with rows that it wrote.
    const ADOPTS_TABLES: bool;
    /// When the log took an event, as an expression on its row.
    const LOGGED_AT: &'static str;
    /// Deletes rows from the beginning of the log `$1` that it took before `$2`: looks at `$3` rows at most.
    const DELETE_FROM_LOG: &'static str;
    /// Inserts a snapshot whose packed form is `$3`.
    const SAVE_SNAPSHOT: &'static str;
    /// The packed form of the snapshot `$1`.
    const SNAPSHOT: &'static str;
    /// Inserts or updates the state of a version of a lesson, whose words for full-text search are `$10`.
    const PUT_LESSON: &'static str;
    /// Locks all versions of the lesson `$1` for the rest of the transaction, where other transactions can write meanwhile.
    const LOCK_LESSON: Option<&'static str> = None;
    /// Indexes the words `$2` of the lesson `$1`, where [`Dialect::PUT_LESSON`] does not.
    const INDEX_LESSON: Option<&'static str> = None;

    /// Size of a row's values as the database returned them, in bytes.
    fn row_bytes(row: &Self::Row) -> usize;

    /// The text of stored JSON.
    fn json(row: &Self::Row, column: usize) -> sqlx::Result<Option<&[u8]>>;

    /// A snapshot in the form that is stored.
    async fn pack(snapshot: Bytes) -> sqlx::Result<Vec<u8>> {
        Ok(snapshot.into())
    }

    /// The snapshot of a stored form.
    async fn unpack(stored: Vec<u8>) -> sqlx::Result<Bytes> {
        Ok(stored.into())
    }

    async fn close(store: &SqlStore<Self>);

    /// Inserts entries that are not there yet, in one transaction.
    async fn write(store: &SqlStore<Self>, entries: &[LogEntry]) -> Result<InsertCounts>;

    /// Inserts entries at the end of the table log, in one transaction that fails if another process has acquired its lock.
    async fn append(store: &SqlStore<Self>, entries: &[LogEntry]) -> Result<InsertCounts> {
        // the system releases the lock of a process only when it ends
        Self::write(store, entries).await
    }

    /// Like [`Dialect::write`]; an entry replaces a row of it that another service has written, where there can be such rows.
    async fn write_after_absence(store: &SqlStore<Self>, entries: &[LogEntry]) -> Result<InsertCounts> {
        Self::write(store, entries).await
    }

    /// An estimate of the number of rows that match, where counting them takes too long; 0 without one.
    async fn estimate(session: &mut Session<Self>, query: &HistoryQuery, types: &TypeFilter) -> sqlx::Result<u64>;

    /// Appends the token of `event_type` at `index`, from 0.
    fn push_token(sql: &mut QueryBuilder<Self>, index: usize);

    /// Appends the bucket of an event, to be read by [`Dialect::bucket`].
    fn push_bucket(sql: &mut QueryBuilder<Self>, query: &AggregateQuery);

    /// The number of a bucket, from 0.
    fn bucket(row: &Self::Row, column: usize, query: &AggregateQuery) -> sqlx::Result<i64>;

    /// Deletes at most `limit` rows older than `before`; the number deleted.
    async fn delete_before(session: &mut Session<Self>, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64>;

    /// Returns the space of deleted rows to the operating system, where the database does not do so by itself.
    async fn release_space(_session: &mut Session<Self>) -> sqlx::Result<()> {
        Ok(())
    }

    /// Appends, behind the columns of a lesson, how well it matches the search words, and the tables and conditions for it.
    fn push_lesson_search(sql: &mut QueryBuilder<Self>, query: &LessonQuery);
}
