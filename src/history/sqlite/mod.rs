//! The history store in an `SQLite` file.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::TryFutureExt;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite};

use self::file::HighWaterMark;
use super::sql::{Driver, Pools, SessionPool, SqlStore, TypeOrder};
use super::{HistoryConfig, HistoryError, OpenError, Pooler};

mod dialect;
mod file;
mod table_log;

/// Validates a URL, and that no pooler is expected, without connecting.
pub(super) fn check(url: &str, config: &HistoryConfig) -> Result<(), OpenError> {
    if config.pooler != Pooler::None {
        let setting = config.pooler_setting;
        return Err(OpenError::Url(format!(
            "{setting}={}: an SQLite file has no pooler in front of it",
            config.pooler
        )));
    }
    file::options(url).map(drop)
}

/// The name, in `SQLite`, of the constraint that no two events have the same position.
pub const POSITION_KEY: &str = "living_map_history.epoch, living_map_history.seq";

/// Steps of `SQLite`'s virtual machine between two looks at the clock: less than a millisecond.
const STEPS: i32 = 10_000;

/// Rows that wait between `SQLite`'s thread and the task that reads them: each may have a large payload.
const WAITING_ROWS: usize = 16;

/// The write-ahead log is truncated to this size when it can be, in bytes.
const WRITE_AHEAD_BYTES: &str = "67108864";

pub type SqliteStore = SqlStore<Sqlite>;

/// State beside the pools.
pub struct SqliteEngine {
    /// The file, without symbolic links.
    path: PathBuf,
    /// The file as the URL names it.
    given: PathBuf,
    /// In the file whose lock makes this process the writer of the table log.
    high_water_mark: Mutex<Option<HighWaterMark>>,
}

impl SqliteEngine {
    fn high_water_mark(&self) -> MutexGuard<'_, Option<HighWaterMark>> {
        self.high_water_mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn open(url: &str, config: &HistoryConfig) -> Result<SqliteStore, OpenError> {
    check(url, config)?;
    let options = file::options(url)?.busy_timeout(config.write_timeout).row_buffer_size(WAITING_ROWS);
    let given = options.get_filename().to_owned();
    let path = file::find(&given)?;
    let options = options.filename(&path);
    let writing = options
        .clone()
        // takes effect on an empty file only
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        // in WAL mode less would lose acknowledged events when the power fails
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", WRITE_AHEAD_BYTES);
    let pool = |connections: u32, acquire_timeout| {
        SqlitePoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(acquire_timeout)
            .test_before_acquire(false)
            // a connection to a file does not go stale
            .idle_timeout(None)
            .max_lifetime(None)
    };
    // one connection: SQLite has one writer
    let writers = pool(1, config.write_timeout)
        // a full disk ends a transaction without sqlx, which would then refuse to begin another one
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        .connect_with(writing)
        .await
        .map_err(Sqlite::classify)?;
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name("living_map_migrations");
    migrator.run(&writers).await.map_err(HistoryError::Migration)?;
    let readers = limit_each_use(pool(config.reader_connections, config.acquire_timeout), config.read_timeout)
        .connect_lazy_with(options.read_only(true));
    let (writers, readers) = (SessionPool::of_connections(writers), SessionPool::of_connections(readers));
    let pools = Pools { leases: writers.clone(), writers, lookups: readers.clone(), readers };
    let engine = SqliteEngine { path, given, high_water_mark: Mutex::default() };
    let type_order = TypeOrder { greater: " > ", using: "", bytes: true };
    Ok(SqlStore::new(config, pools, Some(type_order), engine))
}

/// Interrupts what a connection does longer than `limit` after it was acquired: `SQLite` has no time limit for statements, and
/// a scan must not keep a thread and a connection for ever.
fn limit_each_use(pool: PoolOptions<Sqlite>, limit: Duration) -> PoolOptions<Sqlite> {
    pool.after_connect(move |connection, _| Box::pin(from_now(connection, limit)))
        .before_acquire(move |connection, _| Box::pin(from_now(connection, limit).map_ok(|()| true)))
}

async fn from_now(connection: &mut SqliteConnection, limit: Duration) -> sqlx::Result<()> {
    let started = Instant::now();
    connection.lock_handle().await?.set_progress_handler(STEPS, move || started.elapsed() < limit);
    Ok(())
}
