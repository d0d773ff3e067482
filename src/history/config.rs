//! Configuration of the history database.

use std::fmt;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use crate::config::defaults;
use crate::model::Compatibility;

/// A pooler such as `PgBouncer` between this server and `PostgreSQL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pooler {
    /// No pooler
    None,
    /// Pooler that assigns a connection of the database to each connection
    Session,
    /// Pooler that assigns a connection of the database to each transaction
    Transaction,
}

impl fmt::Display for Pooler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Session => "session",
            Self::Transaction => "transaction",
        })
    }
}

/// Connections, timeouts and sizes of the database. Every limit exists so that a slow or unavailable database costs a bounded
/// time.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct HistoryConfig {
    /// Connections that write, at least 1. `SQLite` always has one.
    #[arg(skip = 4_u32)]
    pub writer_connections: u32,
    /// Database connections for reading.
    #[arg(id = "DATABASE_READERS", env, long = "database-readers", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=200))]
    pub reader_connections: u32,
    /// Pooler such as `PgBouncer` in front of `PostgreSQL`, by its mode. `session` sends no parameters that a pooler rejects when it
    /// connects. `transaction` needs no state of a connection between transactions, at the cost of more round trips.
    #[arg(id = "DATABASE_POOLER", env, long = "database-pooler", value_enum, default_value = "none")]
    pub pooler: Pooler,
    /// Name of the setting of [`Self::pooler`].
    #[arg(skip = "DATABASE_POOLER")]
    pub pooler_setting: &'static str,
    /// Duration of the lock of the table log behind a pooler in transaction mode, where it is a lease: for so long after a crash no
    /// other process can write it.
    #[arg(skip = Duration::from_secs(5))]
    pub table_log_lease: Duration,
    /// Longest wait of [`super::open`] for the database.
    #[arg(skip = Duration::from_secs(10))]
    pub connect_timeout: Duration,
    /// Longest wait of a call for a free connection, including the time to open one.
    #[arg(skip = Duration::from_secs(3))]
    pub acquire_timeout: Duration,
    /// Longest time of one query.
    #[arg(skip = Duration::from_secs(10))]
    pub read_timeout: Duration,
    /// Longest time of one writing statement on `PostgreSQL`; on `SQLite`, longest wait for another process that writes.
    #[arg(skip = Duration::from_secs(30))]
    pub write_timeout: Duration,
    /// Longest time of a statement about a lease on `PostgreSQL`, and longest wait for its connection before; less than a
    /// third of the shortest lease.
    #[arg(skip = Duration::from_secs(1))]
    pub lease_timeout: Duration,
    /// A connection idle for longer is tested before it is used.
    #[arg(skip = Duration::from_secs(1))]
    pub test_idle_after: Duration,
    /// Longest time of that test before the connection is closed.
    #[arg(skip = Duration::from_secs(1))]
    pub test_timeout: Duration,
    /// Rows in one statement; a larger batch is several statements in one transaction.
    #[arg(skip = 1_000_usize)]
    pub statement_rows: usize,
    /// JSON and raw bytes in one statement, in bytes; `PostgreSQL` accepts at most 1 GiB.
    #[arg(skip = 8_usize << 20)]
    pub statement_bytes: usize,
    /// Bytes of the rows on a page of a list, as the database returns them; a page has at least one row.
    #[arg(skip = 16_usize << 20)]
    pub page_bytes: usize,
    /// Bytes of stored events that a reader takes from the database or from JetStream at a time: the map, time travel, replay,
    /// the history writer, the learner, other tasks in the background; at least one event. JetStream's readers have twice
    /// its `max_payload` at least.
    ///
    /// Beyond: the reader takes the others afterwards.
    #[arg(id = "READ_BATCH_BYTES", env, long = "read-batch-bytes", default_value_t = 8 << 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..=1 << 30))]
    pub batch_bytes: usize,
    /// Totals up to this many rows are exact.
    #[arg(skip = 10_000_u32)]
    pub count_cap: u32,
    /// Lifetime of a cached total.
    #[arg(skip = Duration::from_secs(3))]
    pub count_ttl: Duration,
    /// Cached totals.
    #[arg(skip = 256_usize)]
    pub count_cache: usize,
    /// Names under which the sources of events are stored.
    #[arg(skip)]
    pub compatibility: Compatibility,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        defaults()
    }
}
