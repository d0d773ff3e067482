//! The history store over SQL, generic over the [`Dialect`] of the database.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, QueryBuilder};
use uuid::Uuid;

use self::bounded::{BoundedRead, ReadBounds, read_bounded};
pub use self::dialect::{Dialect, TypeOrder};
pub use self::driver::{Answer, Driver, Rows};
use self::events::EventReader;
pub use self::session::{Session, SessionPool, Work};
use self::values::{Arg, Column, SqlQuery, Timestamp};
use super::stored::{cursor_from_sql, epoch_from_sql, epoch_to_sql, seq_to_sql};
use super::total::TotalCache;
use super::type_filter::TypeFilter;
use super::{
    Aggregate, AggregateQuery, History, HistoryConfig, HistoryError, HistoryPage, HistoryQuery, HistoryRow,
    InsertCounts, LogRange, Page, Purge, Purged, Result, TableLogStore,
};
use crate::model::{Cursor, Epoch, LogEntry};

mod adopted;
mod bases;
mod bounded;
mod dead_letters;
mod dialect;
mod driver;
pub mod events;
pub mod leases;
mod lessons;
pub mod logs;
mod outbox;
mod session;
mod snapshots;
pub mod values;

/// Time that the client waits beyond the database's own limit for a statement: after this the connection is dead.
const GRACE: Duration = Duration::from_secs(2);

/// Statements of the largest deletion, beside one for each log.
const DELETE_STATEMENTS: usize = 3;

/// The pools of one database.
pub struct Pools<DB: Dialect> {
    pub writers: SessionPool<DB>,
    pub readers: SessionPool<DB>,
    /// For leases, which must not wait behind other writes where the database has more than one writer.
    pub leases: SessionPool<DB>,
    /// For reads that a write depends on.
    pub lookups: SessionPool<DB>,
}

/// One database.
pub struct SqlStore<DB: Dialect> {
    pub config: HistoryConfig,
    pub pools: Pools<DB>,
    pub engine: DB::Engine,
    /// The order of the index on event types; none without such an index.
    type_order: Option<TypeOrder>,
    totals: TotalCache,
}

/// Reads a value from a row.
pub trait ReadRow<DB: Dialect, T>: Fn(&DB::Row) -> sqlx::Result<T> {}

impl<DB: Dialect, T, F: Fn(&DB::Row) -> sqlx::Result<T>> ReadRow<DB, T> for F {}

/// Time that the client waits for `statements` statements, each limited to `each` by the database.
fn allowance(each: Duration, statements: usize) -> Duration {
    each.saturating_mul(u32::try_from(statements).unwrap_or(u32::MAX)).saturating_add(GRACE)
}

/// The database did not `answer` or `connect` in time.
pub fn timed_out<DB: Driver>(action: &str) -> HistoryError {
    let error = io::Error::new(io::ErrorKind::TimedOut, format!("{} did not {action} in time", DB::NAME));
    HistoryError::Unavailable(error.into())
}

/// A statement with the words of the dialect in place of `{now}`, `{microseconds}` and `{skip_locked}`.
fn timed<'q, DB: Dialect>(template: &'static str) -> SqlQuery<'q, DB> {
    let sql = template.replace("{now}", DB::NOW).replace("{microseconds}", DB::MICROSECONDS);
    sqlx::query(AssertSqlSafe(sql.replace("{skip_locked}", DB::SKIP_LOCKED)))
}

/// Microseconds to be added to a time; half of what fits, so that the sum does not overflow.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

impl<DB: Dialect> SqlStore<DB> {
    pub fn new(config: &HistoryConfig, pools: Pools<DB>, type_order: Option<TypeOrder>, engine: DB::Engine) -> Self {
        Self { config: config.clone(), pools, engine, type_order, totals: TotalCache::new(config) }
    }

    /// Does `work` that writes with `statements` statements.
    pub async fn write_with<T>(&self, statements: usize, work: impl Work<DB, T>) -> Result<T> {
        self.pools.writers.with(allowance(self.config.write_timeout, statements), work).await
    }

    /// Does `work` that reads with `statements` statements.
    async fn read_with<T>(&self, statements: usize, work: impl Work<DB, T>) -> Result<T> {
        self.pools.readers.with(allowance(self.config.read_timeout, statements), work).await
    }

    /// Does `work` with `statements` statements in a transaction, which is rolled back when it fails.
    pub async fn transaction<T>(&self, statements: usize, work: impl Work<DB, T>) -> Result<T> {
        self.write_with(statements, async |session| session.transaction(work).await).await
    }

    /// Runs one statement that writes; the number of rows it changed.
    async fn execute(&self, query: SqlQuery<'_, DB>) -> Result<u64> {
        self.write_with(1, async |session| session.execute(query).await).await
    }

    /// Runs one statement that writes; true if it changed a row.
    async fn changes(&self, query: SqlQuery<'_, DB>) -> Result<bool> {
        Ok(self.execute(query).await? > 0)
    }

    /// The rows of one statement in a session of `pool`, which the database limits to `limit`.
    async fn rows(&self, pool: &SessionPool<DB>, limit: Duration, query: SqlQuery<'_, DB>) -> Result<Vec<DB::Row>> {
        pool.with(allowance(limit, 1), async |session| session.fetch_all(query).await).await
    }

    /// Reads rows.
    async fn fetch_all<T>(&self, query: SqlQuery<'_, DB>, read: impl ReadRow<DB, T>) -> Result<Vec<T>> {
        let rows = self.rows(&self.pools.readers, self.config.read_timeout, query).await?;
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(DB::classify)
    }

    /// Reads at most one row.
    async fn fetch_optional<T>(&self, query: SqlQuery<'_, DB>, read: impl ReadRow<DB, T>) -> Result<Option<T>> {
        self.fetch_all(query, read).await.map(|mut rows| rows.pop())
    }

    /// Reads rows up to `bounds`.
    async fn fetch_bounded<T>(
        &self,
        query: SqlQuery<'_, DB>,
        bounds: ReadBounds,
        read: impl ReadRow<DB, T>,
    ) -> Result<Page<T>> {
        let reading = async |session: &mut Session<DB>| {
            let BoundedRead { page, is_unread } = read_bounded::<DB, T>(session, query, bounds, read).await?;
            Ok((page, is_unread))
        };
        self.pools.readers.with_unread(allowance(self.config.read_timeout, 1), reading).await
    }

    /// Reads one page of at most `limit` rows with a statement for one row more.
    async fn fetch_page<T>(&self, query: SqlQuery<'_, DB>, limit: u32, read: impl ReadRow<DB, T>) -> Result<Page<T>> {
        let bounds = ReadBounds { rows: limit as usize, bytes: self.config.page_bytes };
        self.fetch_bounded(query, bounds, read).await
    }

    /// Reads the first rows of a statement for a background task, which calls again for the others.
    async fn fetch_batch<T>(&self, query: SqlQuery<'_, DB>, read: impl ReadRow<DB, T>) -> Result<Vec<T>> {
        let bounds = ReadBounds { rows: usize::MAX, bytes: self.config.batch_bytes };
        self.fetch_bounded(query, bounds, read).await.map(|page| page.items)
    }

    /// A page and, if all its rows were read, its total in the same session: a second one would also have to be acquired and
    /// tested. True if rows were left unread.
    async fn page(&self, session: &mut Session<DB>, query: &HistoryQuery) -> sqlx::Result<(PageRead, bool)> {
        let mut reader = EventReader::<DB>::new(session, self.type_order);
        let types = reader.type_filter(query).await?;
        if types.is_empty() {
            return Ok((PageRead::Complete(HistoryPage::EMPTY), false));
        }
        let BoundedRead { page, is_unread } = reader.page(query, &types, self.config.page_bytes).await?;
        if is_unread && DB::UNREAD_ROWS_BLOCK {
            return Ok((PageRead::WithoutTotal(page, types), true));
        }
        let total = reader.total(query, &types, self.config.count_cap);
        Ok((PageRead::Complete(self.totals.complete(query, page, total).await?), false))
    }
}

/// A page that was read, with or without its total.
enum PageRead {
    Complete(HistoryPage),
    WithoutTotal(Page<HistoryRow>, TypeFilter),
}

#[async_trait]
impl<DB: Dialect> History for SqlStore<DB>
where
    Self: TableLogStore,
{
    async fn write(&self, entries: &[LogEntry]) -> Result<InsertCounts> {
        if entries.is_empty() { Ok(InsertCounts::default()) } else { DB::write(self, entries).await }
    }

    async fn append(&self, entries: &[LogEntry]) -> Result<InsertCounts> {
        if entries.is_empty() { Ok(InsertCounts::default()) } else { DB::append(self, entries).await }
    }

    async fn write_after_absence(&self, entries: &[LogEntry]) -> Result<InsertCounts> {
        if entries.is_empty() { Ok(InsertCounts::default()) } else { DB::write_after_absence(self, entries).await }
    }

    async fn newest_adopted(&self, before: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let newest = |row: &DB::Row| Column::<Option<Timestamp>>::read(row, 0);
        let newest = self.fetch_optional(sqlx::query(events::NEWEST_ADOPTED).arg(Timestamp(before)), newest).await?;
        Ok(newest.flatten().map(|newest| newest.0))
    }

    async fn positions(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>> {
        let mut known = HashMap::new();
        let read = |row: &DB::Row| Ok((row.read(0)?, cursor_from_sql(row.read(1)?, row.read(2)?)));
        for ids in ids.chunks(DB::LIST_VALUES) {
            let mut sql = QueryBuilder::<DB>::new("SELECT id, epoch, seq FROM living_map_history WHERE id");
            DB::push_any(&mut sql, ids);
            let query = sql.build().persistent(DB::LISTS_ARE_ARRAYS);
            let rows = self.rows(&self.pools.lookups, self.config.write_timeout, query).await?;
            known.extend(rows.iter().map(read).collect::<sqlx::Result<Vec<_>>>().map_err(DB::classify)?);
        }
        Ok(known)
    }

    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage> {
        // the event types, the page, its total, and an estimate of the total
        let limit = allowance(self.config.read_timeout, 4);
        let reading = async |session: &mut Session<DB>| self.page(session, query).await;
        let (page, types) = match self.pools.readers.with_unread(limit, reading).await? {
            PageRead::Complete(page) => return Ok(page),
            PageRead::WithoutTotal(page, types) => (page, types),
        };
        let completing = async |session: &mut Session<DB>| {
            let mut reader = EventReader::<DB>::new(session, self.type_order);
            self.totals.complete(query, page, reader.total(query, &types, self.config.count_cap)).await
        };
        self.read_with(2, completing).await
    }

    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>> {
        let query = events::log::<DB>().arg(epoch_to_sql(epoch)).arg(seq_to_sql(after)).arg(i64::from(limit));
        self.fetch_batch(query, events::entry::<DB>).await
    }

    async fn log_range(&self, epoch: Epoch) -> Result<Option<LogRange>> {
        let query = sqlx::query(logs::HELD).arg(epoch_to_sql(epoch));
        Ok(self.fetch_optional(query, logs::held::<DB>).await?.flatten())
    }

    async fn delete_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.write_with(DELETE_STATEMENTS, async |session| DB::delete_before(session, before, limit).await).await
    }

    async fn purge(&self, purge: &Purge<'_>) -> Result<Purged> {
        self.write_with(DELETE_STATEMENTS, async |session| logs::purge::<DB>(session, purge).await).await
    }

    async fn epochs(&self) -> Result<Vec<Epoch>> {
        self.fetch_all(sqlx::query(logs::EPOCHS), |row| row.read(0).map(epoch_from_sql)).await
    }

    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate> {
        let order = self.type_order;
        self.read_with(2, async |session| EventReader::<DB>::new(session, order).aggregate(query).await).await
    }

    async fn ping(&self) -> Result<()> {
        let ping = async |session: &mut Session<DB>| session.fetch_all(sqlx::query(DB::PING)).await;
        self.pools.readers.with(self.config.test_timeout, ping).await.map(drop)
    }

    fn kind(&self) -> &'static str {
        DB::KIND
    }

    async fn close(&self) {
        DB::close(self).await;
    }
}
