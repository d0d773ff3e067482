//! Settings of the record.

use std::time::Duration;

/// How the databases are used. Every limit is there so that a slow or absent database costs a bounded time.
#[derive(Debug, Clone)]
pub struct HistoryConfig {
    /// Connections that write, at least 1. `SQLite` always has one.
    pub writer_connections: u32,
    /// Connections that read, at least 1.
    pub reader_connections: u32,
    /// How long [`super::open`] waits for the database.
    pub connect_timeout: Duration,
    /// How long a call waits for a free connection, including the time to make one.
    pub acquire_timeout: Duration,
    /// How long one question may take the database.
    pub read_timeout: Duration,
    /// How long one writing statement may run on `PostgreSQL`; on `SQLite`, how long it waits for another process that
    /// writes.
    pub write_timeout: Duration,
    /// How long a statement about a lease may run on `PostgreSQL`, and how long it waits for its connection before; less
    /// than a third of the shortest lease.
    pub lease_timeout: Duration,
    /// A connection idle for longer is tested before it is used.
    pub test_idle_after: Duration,
    /// How long that test may take before the connection is given up.
    pub test_timeout: Duration,
    /// Rows in one statement; a larger batch is several statements in one transaction.
    pub statement_rows: usize,
    /// JSON and raw bytes in one statement, in bytes; `PostgreSQL` takes at most 1 GiB.
    pub statement_bytes: usize,
    /// Up to this many rows a total is counted exactly.
    pub count_cap: u32,
    /// How long a total is remembered.
    pub count_ttl: Duration,
    /// How many totals are remembered at most.
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
