//! The record in an `SQLite` file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Executor, QueryBuilder, Row};
use uuid::Uuid;

use self::code::classify;
use self::witness::Witness;
use super::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use super::total::{Totals, is_unfiltered};
use super::type_filter::TypeFilter;
use super::{
    Aggregate, AggregateQuery, Held, History, HistoryConfig, HistoryError, HistoryPage, HistoryQuery, OpenError, Sweep,
    Swept, Total, Written,
};
use crate::model::{Cursor, Epoch, LogEntry};

mod aggregate;
mod code;
mod dead_letters;
mod file;
mod leases;
mod lessons;
mod limit;
mod outbox;
mod read;
mod retain;
mod snapshots;
mod table_log;
mod types;
mod witness;
mod write;

/// How `SQLite` names the constraint that no two events are at one position.
pub const POSITION_KEY: &str = "living_map_history.epoch, living_map_history.seq";

/// Ids asked for in one statement; `SQLite` takes at most 32,766 values.
const IDS_PER_STATEMENT: usize = 1_000;

/// The log that `SQLite` writes ahead shrinks to this when it can, in bytes.
const WRITE_AHEAD_BYTES: &str = "67108864";

pub struct Sqlite {
    config: HistoryConfig,
    path: PathBuf,
    /// One connection: `SQLite` has one writer.
    writer: SqlitePool,
    readers: SqlitePool,
    inserts: write::Inserts,
    totals: Totals,
    /// The file whose lock makes us the writer of the table log.
    witness: Mutex<Option<Witness>>,
}

impl Sqlite {
    pub async fn open(url: &str, config: &HistoryConfig) -> Result<Self, OpenError> {
        let options = file::options(url)?.busy_timeout(config.write_timeout);
        let path = options.get_filename().to_owned();
        file::create(&path).map_err(|error| HistoryError::Unavailable(error.into()))?;
        let writing = options
            .clone()
            // an empty file only; others stay as they are
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
        let writer = pool(1, config.write_timeout)
            // a full disk ends a transaction without sqlx, which would refuse to begin another for ever
            .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
            .connect_with(writing)
            .await
            .map_err(classify)?;
        let mut migrator = sqlx::migrate!("migrations/sqlite");
        migrator.dangerous_set_table_name("living_map_migrations");
        migrator.run(&writer).await.map_err(HistoryError::Migration)?;
        Ok(Self {
            readers: limit::each_use(pool(config.reader_connections, config.acquire_timeout), config.read_timeout)
                .connect_lazy_with(options.read_only(true)),
            writer,
            path,
            inserts: write::Inserts::new(),
            totals: Totals::new(config),
            witness: Mutex::default(),
            config: config.clone(),
        })
    }

    async fn page(&self, query: &HistoryQuery) -> sqlx::Result<HistoryPage> {
        let mut connection = self.readers.acquire().await?;
        let types = types::filter(&mut connection, query).await?;
        if types.is_empty() {
            return Ok(HistoryPage::EMPTY);
        }
        let rows = read::page(&mut connection, query, &types).await?;
        self.totals.complete(query, rows, self.count(&mut connection, query, &types)).await
    }

    async fn count(
        &self,
        connection: &mut SqliteConnection,
        query: &HistoryQuery,
        types: &TypeFilter,
    ) -> sqlx::Result<Total> {
        let cap = self.config.count_cap;
        let rows = read::count(connection, query, types, cap).await?;
        let exact = rows <= u64::from(cap);
        if !exact && is_unfiltered(query) {
            return Ok(Total { rows: read::extent(connection).await?.max(rows), exact });
        }
        Ok(Total { rows, exact })
    }

    fn witness(&self) -> MutexGuard<'_, Option<Witness>> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl History for Sqlite {
    async fn write(&self, entries: &[LogEntry]) -> Result<Written, HistoryError> {
        if entries.is_empty() {
            return Ok(Written::default());
        }
        let mut connection = self.writer.acquire().await.map_err(classify)?;
        let written = self.inserts.write(&mut connection, entries).await.map_err(classify)?;
        self.note(entries);
        Ok(written)
    }

    async fn known(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        let mut known = HashMap::new();
        for ids in ids.chunks(IDS_PER_STATEMENT) {
            let mut sql = QueryBuilder::new("SELECT id, epoch, seq FROM living_map_history WHERE id IN (");
            let mut list = sql.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            sql.push(")");
            // its text depends on the number of ids: not worth keeping
            let rows = connection.fetch_all(sql.build().persistent(false)).await.map_err(classify)?;
            for row in rows {
                let column = |column| row.try_get::<Option<i64>, usize>(column);
                let cursor = column(1).and_then(|epoch| Ok(cursor_from_sql(epoch, column(2)?))).map_err(classify)?;
                known.insert(row.try_get(0).map_err(classify)?, cursor);
            }
        }
        Ok(known)
    }

    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryError> {
        self.page(query).await.map_err(classify)
    }

    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>, HistoryError> {
        let query = sqlx::query(read::LOG).bind(epoch_to_sql(epoch)).bind(seq_to_sql(after)).bind(i64::from(limit));
        let rows = self.readers.fetch_all(query).await.map_err(classify)?;
        rows.iter().map(read::entry).collect::<Result<_, _>>().map_err(classify)
    }

    async fn held(&self, epoch: Epoch) -> Result<Option<Held>, HistoryError> {
        read::held(&self.readers, epoch).await.map_err(classify)
    }

    async fn table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.epoch().await.map_err(classify)
    }

    async fn lock_table_log(&self) -> Result<bool, HistoryError> {
        self.take_lock()
    }

    async fn table_log_copied(&self) -> Result<Option<String>, HistoryError> {
        self.copied().await
    }

    async fn renew_table_log(&self) -> Result<Epoch, HistoryError> {
        self.renew().await
    }

    async fn delete_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, HistoryError> {
        let mut connection = self.writer.acquire().await.map_err(classify)?;
        retain::delete_before(&mut connection, before, limit).await.map_err(classify)
    }

    async fn sweep(&self, sweep: &Sweep<'_>) -> Result<Swept, HistoryError> {
        let mut connection = self.writer.acquire().await.map_err(classify)?;
        retain::sweep(&mut connection, sweep).await.map_err(classify)
    }

    async fn epochs(&self) -> Result<Vec<Epoch>, HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        retain::epochs(&mut connection).await.map_err(classify)
    }

    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate, HistoryError> {
        let mut connection = self.readers.acquire().await.map_err(classify)?;
        aggregate::aggregate(&mut connection, query).await.map_err(classify)
    }

    async fn ping(&self) -> Result<(), HistoryError> {
        // reads the file, unlike a ping of the connection
        sqlx::query_scalar::<_, i64>("PRAGMA schema_version").fetch_one(&self.readers).await.map_err(classify)?;
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn close(&self) {
        // the writer last: it folds the write-ahead log back into the file
        self.readers.close().await;
        self.writer.close().await;
        drop(self.witness().take());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::model::envelope;

    fn entry(seq: u64) -> LogEntry {
        let event = json!({"event_type": "agent.event.status", "payload": "x".repeat(20_000)});
        let event = envelope::publish(event, DateTime::UNIX_EPOCH).unwrap().event;
        LogEntry { cursor: Cursor { epoch: Epoch(1), seq }, logged_at: DateTime::UNIX_EPOCH, event, raw: None }
    }

    #[tokio::test]
    async fn a_full_disk_is_written_again_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/full.db", folder.path().display());
        let history = Sqlite::open(&url, &HistoryConfig::default()).await.unwrap();
        let limit = |pages: u32| {
            let pragma = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            history.writer.execute(pragma)
        };
        let empty: u32 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&history.writer).await.unwrap();
        limit(empty + 40).await.unwrap();
        let mut written = 0;
        let error = loop {
            match history.write(&[entry(written + 1)]).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 100, "the file has no limit");
        };
        assert!(matches!(error, HistoryError::Unavailable(_)), "{error}");
        assert_eq!(history.held(Epoch(1)).await.unwrap(), Some(Held { first: 1, last: written }));

        limit(1_000_000).await.unwrap();
        assert_eq!(history.write(&[entry(written + 1)]).await.unwrap().inserted, 1);
        history.close().await;
    }
}
