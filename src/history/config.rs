//! Settings of the history store.

use std::time::Duration;

/// Limits of the use of the database. They bound the time that a slow or unavailable database costs.
#[derive(Debug, Clone)]
pub struct HistoryConfig {
    /// Maximum number of connections that write, at least 1. `SQLite` always has one.
    pub writer_connections: u32,
    /// Maximum number of connections that read, at least 1.
    pub reader_connections: u32,
    /// Timeout of [`super::open`].
    pub connect_timeout: Duration,
    /// Timeout of acquiring a connection from the pool, including the time to open one.
    pub acquire_timeout: Duration,
    /// Time limit of one query.
    pub read_timeout: Duration,
    /// Time limit of one writing statement on `PostgreSQL`; on `SQLite`, of waiting for another process that writes.
    pub write_timeout: Duration,
    /// Time limit of one lease operation on `PostgreSQL`, and before it of acquiring its connection; less than a third of
    /// the shortest lease.
    pub lease_timeout: Duration,
    /// A connection that was idle for longer is tested before use.
    pub test_idle_after: Duration,
    /// Timeout of that test, after which the connection is closed.
    pub test_timeout: Duration,
    /// Maximum number of rows in one statement; a larger batch takes several statements in one transaction.
    pub statement_rows: usize,
    /// Maximum size of the JSON and raw bytes in one statement, in bytes; `PostgreSQL` accepts at most 1 GiB.
    pub statement_bytes: usize,
    /// Maximum number of rows that are counted exactly for a total.
    pub count_cap: u32,
    /// Time for which a total is cached.
    pub count_ttl: Duration,
    /// Maximum number of cached totals.
    pub count_cache: usize,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            writer_connections: 4,
            reader_connections: 8,
            connect_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            lease_timeout: Duration::from_secs(1),
            test_idle_after: Duration::from_secs(1),
            test_timeout: Duration::from_secs(1),
            statement_rows: 1_000,
            statement_bytes: 8 << 20,
            count_cap: 10_000,
            count_ttl: Duration::from_secs(3),
            count_cache: 256,
        }
    }
}
