//! History: the durable table of all events, and the other tables of the database. `PostgreSQL` or `SQLite`, with one trait
//! for each kind of data and one shared test suite.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::subject::Pattern;
use crate::model::{Cursor, EntityType, Epoch, LogEntry, Notes};

pub mod adopted;
mod advice;
pub mod aggregate;
pub mod bases;
mod config;
pub mod dead_letters;
pub mod leases;
pub mod lessons;
pub mod outbox;
mod postgres;
pub mod retention;
pub mod snapshots;
mod sql;
mod sqlite;
mod storage;
mod stored;
mod total;
mod type_filter;

pub use adopted::AdoptedRows;
use advice::{MigrationWithAdvice, WithAdvice};
pub use aggregate::{Aggregate, AggregateQuery, GroupBy};
pub use config::{HistoryConfig, Pooler};
pub use dead_letters::DeadLetterStore;
pub use leases::Leases;
pub use lessons::Lessons;
pub use outbox::Outbox;
pub use retention::{Purge, Purged};
pub use snapshots::Snapshots;
pub use storage::{Storage, StorageConfig};

/// Error of a call to the database.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database is unavailable or too slow; the same call may succeed later.
    #[error("the database is not available: {}", WithAdvice(.0))]
    Unavailable(sqlx::Error),
    /// The query exceeded its time limit ([`HistoryConfig::read_timeout`]); a smaller one may succeed.
    #[error("the query took too long: {0}")]
    TooSlow(sqlx::Error),
    /// The database rejected the values it was given.
    #[error("the database rejected the operation: {0}")]
    Rejected(sqlx::Error),
    /// A migration of the schema failed.
    #[error("the database could not be migrated: {}", MigrationWithAdvice(.0))]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// The outcome of a call to the database.
pub type Result<T, E = HistoryError> = std::result::Result<T, E>;

impl HistoryError {
    /// Classifies an error of sqlx: `is_data_error` knows the codes of the database, `interrupted` is that of a time limit.
    fn of(error: sqlx::Error, is_data_error: impl Fn(&str) -> bool, interrupted: &str) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(interrupted) {
            return Self::TooSlow(error);
        }
        let rejected = match &error {
            sqlx::Error::Database(_) => code.is_some_and(|code| is_data_error(&code)),
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::InvalidArgument(_) => true,
            _ => false,
        };
        if rejected { Self::Rejected(error) } else { Self::Unavailable(error) }
    }

    /// True if a write failed because another event has one of its positions: there is a second writer, or a write that
    /// seemed to fail has succeeded.
    #[must_use]
    pub fn is_position_taken(&self) -> bool {
        let Self::Rejected(sqlx::Error::Database(error)) = self else { return false };
        error.is_unique_violation()
            && (error.constraint() == Some(postgres::POSITION_KEY) || error.message().contains(sqlite::POSITION_KEY))
    }
}

/// Error of [`open`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is invalid; the text says what was expected, without the URL, which may contain a password.
    #[error("{0}")]
    Url(String),
    /// The file of the database cannot be used; the text says why, and what to do.
    #[error("{0}")]
    File(String),
    /// There is a pooler in front of the database that the settings do not expect.
    #[error(
        "{setting}={declared}, but the transactions of one connection are executed on different connections of the database, as \
        by a pooler in transaction mode: set {setting}=transaction, see docs/operating.md#a-pooler-in-front-of-postgresql"
    )]
    Pooled {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        declared: Pooler,
    },
    /// The database is unavailable, rejected the connection, or could not be migrated.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// An open database: one trait object for each kind of data, all of the same store.
#[derive(Clone)]
pub struct Database {
    /// Events.
    pub history: Arc<dyn History>,
    /// Saved snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// Dead letters.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Leases.
    pub leases: Arc<dyn Leases>,
    /// Lessons.
    pub lessons: Arc<dyn Lessons>,
    /// Outbox of webhook messages.
    pub outbox: Arc<dyn Outbox>,
    /// Rows of another service.
    pub adopted: Arc<dyn AdoptedRows>,
}

impl Database {
    fn new(store: impl History + Snapshots + DeadLetterStore + Leases + Lessons + Outbox + AdoptedRows) -> Self {
        let store = Arc::new(store);
        Self {
            history: Arc::clone(&store) as _,
            snapshots: Arc::clone(&store) as _,
            dead_letters: Arc::clone(&store) as _,
            leases: Arc::clone(&store) as _,
            lessons: Arc::clone(&store) as _,
            outbox: Arc::clone(&store) as _,
            adopted: store,
        }
    }
}

/// Opens the database at `url` (`postgres://…`, `postgresql://…` or `sqlite://<path>`) and migrates its schema.
///
/// # Errors
/// If the URL is invalid, or if the database does not answer within [`HistoryConfig::connect_timeout`], rejects the
/// connection or cannot be migrated. Does not wait for an unavailable database.
pub async fn open(url: &str, config: &HistoryConfig) -> Result<Database, OpenError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Database::new(postgres::open(url, config).await?)),
        Some("sqlite") => Ok(Database::new(sqlite::open(url, config).await?)),
        _ => Err(unknown_scheme()),
    }
}

/// Validates a database URL, and the settings that depend on it, without connecting.
///
/// # Errors
/// As [`open`], for the URL and the settings alone.
pub fn check(url: &str, config: &HistoryConfig) -> Result<(), OpenError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => postgres::check(url, config),
        Some("sqlite") => sqlite::check(url, config),
        _ => Err(unknown_scheme()),
    }
}

fn unknown_scheme() -> OpenError {
    OpenError::Url("expected a URL that begins with postgres://, postgresql:// or sqlite://".into())
}

/// A stored event on a page: without the fields that only a replay needs, and with its payload as the stored text, since
/// parsing and writing it would cost several times as much as finding it.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// Position in a log; none for a row of the replaced service.
    pub cursor: Option<Cursor>,
    /// Id.
    pub id: Uuid,
    /// The producer's time.
    pub timestamp: DateTime<Utc>,
    /// Subject.
    pub event_type: String,
    /// Payload, in the normal form of JSON.
    pub payload: Box<RawValue>,
    /// Sending service.
    pub source_service: Option<String>,
    /// The entity it is about, by the name that the producer used.
    pub entity_id: Option<String>,
    /// Entity type as stored, possibly unknown to the map.
    pub entity_type: Option<String>,
    /// Repairs of what was sent.
    pub notes: Notes,
}

/// Query of events; all filters must match.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Producer's time, inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Producer's time, exclusive.
    pub until: Option<DateTime<Utc>>,
    /// Subject, with wildcards.
    pub event_type: Option<Pattern>,
    /// Names of an entity (its canonical id and its aliases), any of which matches.
    pub entity_ids: Vec<String>,
    /// Entity type.
    pub entity_type: Option<EntityType>,
    /// Sending service.
    pub source_service: Option<String>,
    /// Keyset paging: rows after this position.
    pub after: Option<PagePosition>,
    /// Number of rows to skip, for clients of the replaced service; bounded by the caller.
    pub offset: u64,
    /// Maximum number of rows, at least 1.
    pub limit: u32,
}

impl HistoryQuery {
    /// One query for each name if there are several, otherwise none.
    fn by_name(&self) -> Vec<Self> {
        let mut names: Vec<&String> = self.entity_ids.iter().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            return Vec::new();
        }
        names.into_iter().map(|name| Self { entity_ids: vec![name.clone()], ..self.clone() }).collect()
    }
}

/// Position of a row in the order of pages: newest producer's time first, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePosition {
    /// Producer's time.
    pub timestamp: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// True if more items follow the last one.
    pub has_more: bool,
}

/// One page, newest first.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// Rows.
    pub rows: Vec<HistoryRow>,
    /// True if more rows follow the last one.
    pub has_more: bool,
    /// Number of rows on all pages.
    pub total: Total,
}

impl HistoryPage {
    /// The page of a query that matches no row.
    pub const EMPTY: Self = Self { rows: Vec::new(), has_more: false, total: Total { rows: 0, exact: true } };
}

/// A number of rows, exact or estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Number of rows.
    pub rows: u64,
    /// False if it is an estimate of the database, a capped count, or a count that is up to
    /// [`HistoryConfig::count_ttl`] old.
    pub exact: bool,
}

/// Number of entries in a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InsertCounts {
    /// New entries.
    pub inserted: u64,
    /// Entries whose event was stored before.
    pub duplicates: u64,
    /// New entries that replaced the row of another service.
    pub paired: u64,
}

/// Longest time between an event in the log and the row of it that another service has written: both received it at the same
/// time, by clocks that may differ.
pub const PAIRING_WINDOW: TimeDelta = TimeDelta::seconds(5);

/// The range of positions of one log without gaps: without the remains before the range, which retention has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// First position from which no event is missing. Before it, some events were deleted. It is greater than `last` if the
    /// newest event was deleted.
    pub first: u64,
    /// Position of the newest event.
    pub last: u64,
}

/// Store of the table log: its epoch, the lock of its writer, and whether the database is another copy of it.
#[async_trait]
pub trait TableLogStore: Send + Sync {
    /// The epoch of the table log in this database, created at first use and constant until
    /// [`TableLogStore::change_table_epoch`].
    async fn table_epoch(&self) -> Result<Epoch>;

    /// Acquires the lock of the table log's writer, or checks that this process still holds it; false if another process
    /// holds it. The lock is held until [`History::close`] or the end of the process. Where it is a lease, one that was left
    /// behind by a process that was killed is waited for.
    async fn lock_table_log(&self) -> Result<bool>;

    /// The reason why this database seems to be another copy of the table log than the one that was written last: it was
    /// restored from a backup, moved, or reset to an older state. None if it is the same. Only for the writer.
    async fn table_log_copy(&self) -> Result<Option<String>>;

    /// Changes the epoch of the table log: events, saved snapshots and dead letters keep their positions, in the new epoch.
    /// Only for the writer, before it writes.
    async fn change_table_epoch(&self) -> Result<Epoch>;
}

/// History store: the durable table of all events. Methods may be called from any task; a write is durable when it returns.
#[async_trait]
pub trait History: TableLogStore + 'static {
    /// Inserts entries in one transaction. Idempotent: an event whose id exists is left unchanged.
    async fn write(&self, entries: &[LogEntry]) -> Result<InsertCounts>;

    /// Like [`History::write`], for events of which another service may have written rows while no server of ours ran. A row
    /// without a position in a log that has the same subject and payload, at most [`PAIRING_WINDOW`] from the event, becomes
    /// the event's row; each row once.
    async fn write_after_absence(&self, entries: &[LogEntry]) -> Result<InsertCounts>;

    /// The time of the newest row without a position in a log that is older than `before`; `None` if there is none.
    async fn newest_adopted(&self, before: DateTime<Utc>) -> Result<Option<DateTime<Utc>>>;

    /// Like [`History::write`], at the end of the table log. Fails if another process has acquired its lock: a paused process
    /// may not know that its own has expired.
    async fn append(&self, entries: &[LogEntry]) -> Result<InsertCounts> {
        self.write(entries).await
    }

    /// The positions of those of the events that are stored; `None` for one without a position in a log.
    async fn positions(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>>;

    /// A page of events, newest first, of at most [`HistoryConfig::page_bytes`]. Must not scan the whole table on each call, neither for the rows nor for the total.
    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage>;

    /// At most `limit` events of `epoch`, and at most [`HistoryConfig::batch_bytes`] but at least one, after position `after`, in the log's order. To be sure that none is missing, call
    /// [`History::log_range`] afterwards.
    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>>;

    /// The stored range of `epoch`; none without events.
    async fn log_range(&self, epoch: Epoch) -> Result<Option<LogRange>>;

    /// The number of events by bucket of time and group. Reads every matching event, so it may fail with
    /// [`HistoryError::TooSlow`].
    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate>;

    /// Deletes at most `limit` events older than `before`; returns the number deleted.
    ///
    /// Events of a log are deleted from its beginning, by the log's time. The newest event of the table log is kept, so that
    /// its position is not assigned again. Events without a position in a log are deleted by the producer's time.
    async fn delete_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// Examines the next events of a log, and deletes the expired ones.
    async fn purge(&self, purge: &Purge<'_>) -> Result<Purged>;

    /// The epochs of all logs with stored events.
    async fn epochs(&self) -> Result<Vec<Epoch>>;

    /// Checks that the database answers.
    async fn ping(&self) -> Result<()>;

    /// `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;

    /// Closes the connections after running calls have finished.
    async fn close(&self);
}

#[cfg(test)]
mod tests;
