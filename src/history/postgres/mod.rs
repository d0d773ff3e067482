//! The record in `PostgreSQL`.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{Connection, Executor, Row};
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use self::connect::{patience, settle};
use self::sqlstate::{QUERY_CANCELED, classify};
use self::types::TypeOrder;
use super::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use super::total::Totals;
use super::type_filter::TypeFilter;
use super::{
    Aggregate, AggregateQuery, Held, History, HistoryConfig, HistoryError, HistoryPage, HistoryQuery, OpenError, Sweep,
    Swept, Total, Written,
};
use crate::model::{Cursor, Epoch, LogEntry};

mod aggregate;
mod connect;
mod dead_letters;
mod leases;
mod lessons;
mod outbox;
mod read;
mod retain;
mod row;
mod snapshots;
mod sqlstate;
mod table_log;
mod types;
mod write;

/// The constraint that no two events are at one position.
pub const POSITION_KEY: &str = "living_map_history_position_key";

/// Readers have small, selective questions with skewed values: a plan made for the value at hand beats a plan made for any,
/// and code that is compiled for one question costs more than it saves. With PostgreSQL's own 4 MB, a day of a large network
/// that is counted by entity goes over the disk.
const READER_SETTINGS: &str = "SELECT set_config('statement_timeout', $1, false), \
    set_config('plan_cache_mode', 'force_custom_plan', false), set_config('default_transaction_read_only', 'on', false), \
    set_config('jit', 'off', false), set_config('work_mem', greatest(setting::int, 32768)::text, false) \
    FROM pg_settings WHERE name = 'work_mem'";

/// A writer that vanished in a transaction must not keep its locks.
const WRITER_SETTINGS: &str = "SELECT set_config('statement_timeout', $1, false), \
    set_config('idle_in_transaction_session_timeout', $1, false)";

/// The server notices within half a minute that the holder of the lock has vanished; without this, after two hours.
const LOCK_SETTINGS: &str = "SELECT set_config('tcp_keepalives_idle', '10', false), \
    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)";

/// Names the advisory lock of the table log; any number that nobody else uses ("living-m" in ASCII).
const TABLE_LOG_LOCK: i64 = 0x6c69_7669_6e67_2d6d;

pub struct Postgres {
    config: HistoryConfig,
    options: PgConnectOptions,
    writers: PgPool,
    readers: PgPool,
    /// One connection: a lease must not wait behind what is written.
    leases: PgPool,
    totals: Totals,
    /// The order that an index has event types in.
    types: Option<TypeOrder>,
    /// The connection that holds the lock of the table log.
    lock: Mutex<Option<PgConnection>>,
}

impl Postgres {
    pub async fn open(url: &str, config: &HistoryConfig) -> Result<Self, OpenError> {
        let options = connect::options(url)?;
        let mut connection = connect::connect(&options, config.connect_timeout).await?;
        let mut migrator = sqlx::migrate!("migrations/postgres");
        // the database may be shared with programs that keep their own list under sqlx's usual name
        migrator.dangerous_set_table_name("living_map_migrations");
        migrator.run_direct(None, &mut connection, false).await.map_err(HistoryError::Migration)?;
        let types = TypeOrder::find(&mut connection).await.map_err(classify)?;
        // it has done its work: that it cannot say good-bye does not matter
        let _ = connection.close().await;
        let pool = |connections, settings, limit| connect::pool(&options, config, connections, settings, limit);
        Ok(Self {
            writers: pool(config.writer_connections, WRITER_SETTINGS, config.write_timeout),
            readers: pool(config.reader_connections, READER_SETTINGS, config.read_timeout),
            leases: pool(1, WRITER_SETTINGS, config.lease_timeout),
            totals: Totals::new(config),
            types,
            lock: Mutex::default(),
            config: config.clone(),
            options,
        })
    }

    /// A page and its total over one connection: two would be one more to give out, and to test when it comes back.
    async fn page(&self, connection: &mut PgConnection, query: &HistoryQuery) -> sqlx::Result<HistoryPage> {
        let types = types::filter(connection, query, self.types).await?;
        if types.is_empty() {
            return Ok(HistoryPage::EMPTY);
        }
        let rows = read::page(connection, query, &types).await?;
        self.totals.complete(query, rows, self.count_or_estimate(connection, query, &types)).await
    }

    async fn count_or_estimate(
        &self,
        connection: &mut PgConnection,
        query: &HistoryQuery,
        types: &TypeFilter,
    ) -> sqlx::Result<Total> {
        let cap = self.config.count_cap;
        let rows = match read::count(connection, query, types, cap).await {
            Ok(rows) if rows <= u64::from(cap) => return Ok(Total { rows, exact: true }),
            Ok(rows) => rows,
            // many rows to look at, few that match
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(QUERY_CANCELED) => 0,
            Err(error) => return Err(error),
        };
        let estimate = read::estimate(connection, query, types).await?;
        Ok(Total { rows: estimate.max(rows), exact: false })
    }
}

#[async_trait]
impl History for Postgres {
    async fn write(&self, entries: &[LogEntry]) -> Result<Written, HistoryError> {
        if entries.is_empty() {
            return Ok(Written::default());
        }
        let batch = write::Batch::new(entries, &self.config);
        let limit = patience(self.config.write_timeout, batch.statements());
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let outcome = timeout(limit, batch.write(&mut connection)).await;
        settle(connection, outcome)
    }

    async fn known(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError> {
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let query = sqlx::query("SELECT id, epoch, seq FROM living_map_history WHERE id = ANY($1)").bind(ids);
        let outcome = timeout(patience(self.config.write_timeout, 1), connection.fetch_all(query)).await;
        let rows = settle(connection, outcome)?;
        let known =
            |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, cursor_from_sql(row.try_get(1)?, row.try_get(2)?)));
        rows.iter().map(known).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        // the types there are, the page, its total, and that as an estimate
        let outcome = timeout(patience(self.config.read_timeout, 4), self.page(&mut connection, query)).await;
        settle(connection, outcome)
    }

    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>, HistoryError> {
        let query = sqlx::query(row::LOG).bind(epoch_to_sql(epoch)).bind(seq_to_sql(after)).bind(i64::from(limit));
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        let outcome = timeout(patience(self.config.read_timeout, 1), connection.fetch_all(query)).await;
        let rows = settle(connection, outcome)?;
        rows.iter().map(row::entry).collect::<Result<_, _>>().map_err(classify)
    }

    async fn held(&self, epoch: Epoch) -> Result<Option<Held>, HistoryError> {
        let query = sqlx::query(read::HELD);
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        let fetching = connection.fetch_one(query.bind(epoch_to_sql(epoch)));
        let outcome = timeout(patience(self.config.read_timeout, 1), fetching).await;
        let row = settle(connection, outcome)?;
        let seq = |column: usize| row.try_get::<Option<i64>, _>(column).map_err(classify);
        Ok(seq(0)?.zip(seq(1)?).map(|(first, last)| Held { first: first.unsigned_abs(), last: last.unsigned_abs() }))
    }

    async fn table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.epoch().await
    }

    async fn lock_table_log(&self) -> Result<bool, HistoryError> {
        let mut lock = self.lock.lock().await;
        if let Some(mut connection) = lock.take()
            && timeout(self.config.test_timeout, connection.ping()).await.is_ok_and(|pong| pong.is_ok())
        {
            *lock = Some(connection);
            return Ok(true);
        }
        let mut connection = connect::connect(&self.options, self.config.acquire_timeout).await?;
        let locking = async {
            connection.execute(LOCK_SETTINGS).await?;
            let query = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(TABLE_LOG_LOCK);
            query.fetch_one(&mut connection).await
        };
        let outcome = timeout(self.config.acquire_timeout, locking).await;
        let locked = outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(classify)?;
        if locked {
            *lock = Some(connection);
        }
        Ok(locked)
    }

    async fn table_log_copied(&self) -> Result<Option<String>, HistoryError> {
        self.copied().await
    }

    async fn renew_table_log(&self) -> Result<Epoch, HistoryError> {
        self.renew().await
    }

    async fn delete_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, HistoryError> {
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let deleting = retain::delete_before(&mut connection, before, limit);
        let outcome = timeout(patience(self.config.write_timeout, retain::STATEMENTS), deleting).await;
        settle(connection, outcome)
    }

    async fn sweep(&self, sweep: &Sweep<'_>) -> Result<Swept, HistoryError> {
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let sweeping = retain::sweep(&mut connection, sweep);
        let outcome = timeout(patience(self.config.write_timeout, retain::STATEMENTS), sweeping).await;
        settle(connection, outcome)
    }

    async fn epochs(&self) -> Result<Vec<Epoch>, HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        let outcome = timeout(patience(self.config.read_timeout, 1), retain::epochs(&mut connection)).await;
        settle(connection, outcome)
    }

    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate, HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        let counting = aggregate::aggregate(&mut connection, query, self.types);
        let outcome = timeout(patience(self.config.read_timeout, 2), counting).await;
        settle(connection, outcome)
    }

    async fn ping(&self) -> Result<(), HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        let outcome = timeout(self.config.test_timeout, connection.ping()).await;
        settle(connection, outcome)
    }

    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn close(&self) {
        drop(self.lock.lock().await.take());
        self.writers.close().await;
        self.readers.close().await;
        self.leases.close().await;
    }
}
