//! The durable record of every event: `PostgreSQL` or `SQLite`, one trait, one shared test suite.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::subject::Pattern;
use crate::model::{Cursor, EntityType, Epoch, LogEntry};

pub mod aggregate;
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

pub use aggregate::{Aggregate, AggregateQuery, GroupBy};
pub use config::HistoryConfig;
pub use dead_letters::DeadLetterStore;
pub use leases::Leases;
pub use lessons::Lessons;
pub use outbox::Outbox;
pub use retention::{Sweep, Swept};
pub use snapshots::Snapshots;
pub use storage::{Storage, StorageConfig};

/// Why the record could not answer.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database is away or too slow; the same call may succeed later.
    #[error("the database is not available: {0}")]
    Unavailable(sqlx::Error),
    /// It did not finish in the time that one question may take ([`HistoryConfig::read_timeout`]): a smaller question
    /// may be answered.
    #[error("the database took too long: {0}")]
    TooSlow(sqlx::Error),
    /// The database refused what it was given.
    #[error("the database refused the operation: {0}")]
    Refused(sqlx::Error),
    /// Its schema could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// The outcome of a call to the database.
pub type Result<T, E = HistoryError> = std::result::Result<T, E>;

impl HistoryError {
    /// What a database's error is about: `is_about_data` knows its codes, `interrupted` is that of a time limit.
    fn of(error: sqlx::Error, is_about_data: impl Fn(&str) -> bool, interrupted: &str) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() == Some(interrupted) {
            return Self::TooSlow(error);
        }
        let about_data = match &error {
            sqlx::Error::Database(_) => code.is_some_and(|code| is_about_data(&code)),
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::InvalidArgument(_) => true,
            _ => false,
        };
        if about_data { Self::Refused(error) } else { Self::Unavailable(error) }
    }

    /// Whether a write failed because another event is at one of its positions: there is a second writer, or a write
    /// that seemed to have failed came through after all.
    #[must_use]
    pub fn is_position_taken(&self) -> bool {
        let Self::Refused(sqlx::Error::Database(error)) = self else { return false };
        error.is_unique_violation()
            && (error.constraint() == Some(postgres::POSITION_KEY) || error.message().contains(sqlite::POSITION_KEY))
    }
}

/// Why the record could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no database that can be used; what was expected. The URL itself is not repeated: it may hold a
    /// password.
    #[error("{0}")]
    Url(String),
    /// The database is away, refused us, or could not be migrated.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// One database, by what is kept in it: each concern has a trait of its own, and one value implements them all.
#[derive(Clone)]
pub struct Database {
    /// Every event.
    pub history: Arc<dyn History>,
    /// Saved snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// What could not be processed.
    pub dead_letters: Arc<dyn DeadLetterStore>,
    /// Who does what one server does for all.
    pub leases: Arc<dyn Leases>,
    /// What was learned.
    pub lessons: Arc<dyn Lessons>,
    /// What webhooks are to be told.
    pub outbox: Arc<dyn Outbox>,
}

impl Database {
    fn of(database: impl History + Snapshots + DeadLetterStore + Leases + Lessons + Outbox) -> Self {
        let database = Arc::new(database);
        Self {
            history: Arc::clone(&database) as _,
            snapshots: Arc::clone(&database) as _,
            dead_letters: Arc::clone(&database) as _,
            leases: Arc::clone(&database) as _,
            lessons: Arc::clone(&database) as _,
            outbox: database,
        }
    }
}

/// Opens the database at `url` (`postgres://…`, `postgresql://…` or `sqlite://<path>`) and brings its schema up to date.
///
/// # Errors
/// When the URL is no such URL, and when the database does not answer within [`HistoryConfig::connect_timeout`], refuses
/// us or cannot be migrated. It does not wait for a database that is away.
pub async fn open(url: &str, config: &HistoryConfig) -> Result<Database, OpenError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Ok(Database::of(postgres::open(url, config).await?)),
        Some("sqlite") => Ok(Database::of(sqlite::open(url, config).await?)),
        _ => Err(OpenError::Url("expected a URL that begins with postgres://, postgresql:// or sqlite://".into())),
    }
}

/// A stored event, as a page shows it: without what only a replay needs, and its payload as the text that the database has,
/// since reading and writing it again would cost several times what finding it does.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its place in a log; none for a row adopted from the service we replace.
    pub cursor: Option<Cursor>,
    /// Its id.
    pub id: Uuid,
    /// The producer's time.
    pub timestamp: DateTime<Utc>,
    /// Its subject.
    pub event_type: String,
    /// What happened, in the normal form of JSON.
    pub payload: Box<RawValue>,
    /// Who sent it.
    pub source_service: Option<String>,
    /// The entity it is about, by the name the producer used.
    pub entity_id: Option<String>,
    /// As stored: it may be one that the map does not know.
    pub entity_type: Option<String>,
}

/// Which events are wanted; all filters must hold.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Producer's time, inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Producer's time, exclusive.
    pub until: Option<DateTime<Utc>>,
    /// Subject, with wildcards.
    pub event_type: Option<Pattern>,
    /// Any of these names (an entity's canonical id and its aliases).
    pub entity_ids: Vec<String>,
    /// Entity type.
    pub entity_type: Option<EntityType>,
    /// Who sent it.
    pub source_service: Option<String>,
    /// Keyset paging: continue after this place.
    pub after: Option<PagePosition>,
    /// Rows to skip; for clients of the old service, bounded by the caller.
    pub offset: u64,
    /// Rows wanted, at least 1.
    pub limit: u32,
}

impl HistoryQuery {
    /// One question for each of several names, none otherwise.
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

/// The place of a row in the order of pages: newest producer's time first, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagePosition {
    /// The row's producer's time.
    pub timestamp: DateTime<Utc>,
    /// The row's id.
    pub id: Uuid,
}

/// One page, newest first.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The rows.
    pub records: Vec<Record>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
    /// How many rows there are on all pages.
    pub total: Total,
}

impl HistoryPage {
    /// Where nothing matches.
    pub const EMPTY: Self = Self { records: Vec::new(), has_more: false, total: Total { rows: 0, exact: true } };
}

/// How many rows there are, and whether that is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Rows.
    pub rows: u64,
    /// False when it is the database's estimate or a capped count.
    pub exact: bool,
}

/// What became of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that were new.
    pub inserted: u64,
    /// Entries whose event was there already.
    pub duplicates: u64,
}

/// What the record holds of one log, as a log: without what retention has left of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Every event from this position on is there. Before it some may be, and others were deleted. It may be behind
    /// `last`, where the newest one was deleted.
    pub first: u64,
    /// The newest.
    pub last: u64,
}

/// The durable record. All methods may be called from any task; a write is durable when it returns.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Writes a batch in one transaction. Idempotent: an event whose id is there already is left as it is.
    async fn write(&self, entries: &[LogEntry]) -> Result<Written, HistoryError>;

    /// Which of these events are there already, and where (`None`: adopted, without a place in a log).
    async fn known(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError>;

    /// A page of events, newest first. Must not scan the whole table on each call, neither for its rows nor for its total.
    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryError>;

    /// Events of `epoch` after position `after`, in the log's order, at most `limit`. Whoever needs each of them asks
    /// [`History::held`] afterwards: from its `first` on none is missing.
    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>, HistoryError>;

    /// What is held of `epoch`; none when there is nothing.
    async fn held(&self, epoch: Epoch) -> Result<Option<Held>, HistoryError>;

    /// The epoch of the table log in this database, made at first use and the same until [`History::renew_table_log`].
    async fn table_epoch(&self) -> Result<Epoch, HistoryError>;

    /// Makes this process the one writer of the table log, or confirms that it still is: true if so, false if another
    /// process is. It stays so until [`History::close`] or the end of the process.
    async fn lock_table_log(&self) -> Result<bool, HistoryError>;

    /// Why this database is another copy of the table log than the one that was written last, as far as can be told: it was
    /// restored from a backup, moved, or put back to an older state. None when it is the same. To be asked by the one
    /// writer.
    async fn table_log_copied(&self) -> Result<Option<String>, HistoryError>;

    /// Gives the table log a new identity, with all that is held of it: its events, saved snapshots and dead letters keep
    /// their positions, in the new epoch. For the one writer, before it writes.
    async fn renew_table_log(&self) -> Result<Epoch, HistoryError>;

    /// How many events match in each bucket of time, by group. Looks at every event that matches, so it may be
    /// [`HistoryError::TooSlow`].
    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate, HistoryError>;

    /// Deletes at most `limit` events older than `before`; the number deleted.
    ///
    /// Events of a log go from its beginning, by the time the log took them; the newest one of the table log stays, so
    /// that positions are not used again. Those without a place in a log go by producer's time.
    async fn delete_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, HistoryError>;

    /// Looks at some events of a log, and deletes those of the classes that go; see [`Sweep`].
    async fn sweep(&self, sweep: &Sweep<'_>) -> Result<Swept, HistoryError>;

    /// The logs that have events here, oldest or newest first.
    async fn epochs(&self) -> Result<Vec<Epoch>, HistoryError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), HistoryError>;

    /// `postgres` or `sqlite`.
    fn kind(&self) -> &'static str;

    /// Closes the connections, finishing what is under way.
    async fn close(&self);
}

#[cfg(test)]
mod tests;
