//! The `SQLite` dialect.

use std::sync::LazyLock;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteConnection, SqliteRow, SqliteTypeInfo, SqliteValueRef};
use sqlx::{AssertSqlSafe, Decode, Encode, Executor, QueryBuilder, Row, Sqlite, Type, TypeInfo, ValueRef};

use super::{SqliteEngine, SqliteStore};
use crate::history::lessons::LessonQuery;
use crate::history::sql::logs::{deletable, delete_from_logs};
use crate::history::sql::values::{Args, BindsList, Column, SqlQuery, Timestamp};
use crate::history::sql::{Answer, Dialect, Driver, Rows, Session};
use crate::history::stored::{InsertRow, epoch_to_sql, seq_to_sql};
use crate::history::total::is_unfiltered;
use crate::history::type_filter::TypeFilter;
use crate::history::{AggregateQuery, HistoryQuery, InsertCounts, Result};
use crate::model::{Compatibility, EntityType, LogEntry};

/// Primary result codes that say: these values cannot be stored, now or later. Everything else (busy, locked, full, I/O,
/// read-only, corrupt, a missing table) is about the database.
///
/// See <https://www.sqlite.org/rescode.html>.
const DATA_CODES: &[i32] = &[
    18, // TOOBIG
    19, // CONSTRAINT
    20, // MISMATCH
];

/// Rows in one statement that inserts, largest first; the last is 1. The sizes are few, so that each statement is prepared
/// once.
const SIZES: [usize; 3] = [128, 16, 1];

const COLUMNS: &str = r#"id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, notes, epoch, seq, logged_at"#;

/// The statements for [`SIZES`].
static STATEMENTS: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|size| {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; size].join(", ");
        format!("INSERT INTO living_map_history ({COLUMNS}) VALUES {rows} ON CONFLICT (id) DO NOTHING")
    })
});

/// About how many rows there are: rowids ascend, and the oldest rows are deleted first.
const EXTENT: &str =
    "SELECT (SELECT max(rowid) FROM living_map_history) - (SELECT min(rowid) FROM living_map_history) + 1";

/// The zstd level of stored snapshots, as on the wire: takes about as much time as it saves.
const LEVEL: i32 = 3;

impl Driver for Sqlite {
    const CLIENT_TIMEOUTS: bool = false;
    const UNREAD_ROWS_BLOCK: bool = false;
    // SQLITE_INTERRUPT
    const INTERRUPTED: &'static str = "9";
    // takes the write lock first: taken later, it could fail without waiting
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    fn execute<'e>(on: &'e mut SqliteConnection, query: SqlQuery<'e, Self>) -> Answer<'e, u64> {
        Box::pin(async { Ok(on.execute(query).await?.rows_affected()) })
    }

    fn fetch_all<'e>(on: &'e mut SqliteConnection, query: SqlQuery<'e, Self>) -> Answer<'e, Vec<SqliteRow>> {
        on.fetch_all(query)
    }

    fn fetch<'e>(on: &'e mut SqliteConnection, query: SqlQuery<'e, Self>) -> Rows<'e, Self> {
        on.fetch(query)
    }

    fn command<'e>(on: &'e mut SqliteConnection, sql: &str) -> Answer<'e, ()> {
        let sql = AssertSqlSafe(sql.to_owned());
        Box::pin(async { on.execute(sql).await.map(drop) })
    }

    /// The low byte of an extended code is its primary code.
    fn is_data_error(code: &str) -> bool {
        code.parse::<i32>().is_ok_and(|code| DATA_CODES.contains(&(code & 0xff)))
    }
}

#[async_trait]
impl Dialect for Sqlite {
    type Engine = SqliteEngine;

    const KIND: &'static str = "sqlite";
    // reads the file, unlike a ping of the connection
    const PING: &'static str = "PRAGMA schema_version";
    // in microseconds, of which the last three digits are always 0
    const NOW: &'static str = "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)";
    const UNINDEXED: &'static str = "+";
    const BYTE_RANGE: (&'static str, &'static str) = (" >= ", " < ");
    // SQLite takes at most 32,766 values
    const LIST_VALUES: usize = 1_000;
    const LISTS_ARE_ARRAYS: bool = false;
    // nothing else can write meanwhile
    const SNAPSHOTS_DELETED_AT_ONCE: usize = 1;
    const ADOPTS_TABLES: bool = false;
    const LOGGED_AT: &'static str = "logged_at";
    const DELETE_FROM_LOG: &'static str = concat!(
        "DELETE FROM living_map_history WHERE rowid IN (
            SELECT rowid FROM (SELECT rowid, logged_at FROM living_map_history WHERE ",
        deletable!(),
        " ORDER BY seq LIMIT $3) WHERE logged_at < $2)"
    );
    const SAVE_SNAPSHOT: &'static str = "
INSERT INTO living_map_snapshots (id, generated_at, snapshot_data, version, size_bytes, created_at, epoch, seq, logged_at,
    state, state_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $2, $9, $10)
ON CONFLICT DO NOTHING";
    const SNAPSHOT: &'static str = "SELECT snapshot_data FROM living_map_snapshots WHERE id = $1";
    const PUT_LESSON: &'static str = "
INSERT INTO agent_lesson_states (lesson_key, root_key, version, agent_id, rule, signature, status, ts, lesson)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (lesson_key) DO UPDATE SET status = excluded.status, lesson = excluded.lesson";
    // the words of a version do not change
    const INDEX_LESSON: Option<&'static str> = Some(
        "
INSERT INTO agent_lesson_search (rowid, words)
SELECT id, $2 FROM agent_lesson_states
WHERE lesson_key = $1 AND NOT EXISTS (SELECT 1 FROM agent_lesson_search WHERE rowid = agent_lesson_states.id)",
    );

    /// Numbers count as nothing; they cannot be decoded once their bytes were.
    fn row_bytes(row: &SqliteRow) -> usize {
        let bytes = |column: usize| {
            let value = row.try_get_raw(column).ok()?;
            let is_sized = matches!(value.type_info().name(), "TEXT" | "BLOB");
            is_sized.then(|| <&[u8] as Decode<'_, Self>>::decode(value).ok().map(<[u8]>::len)).flatten()
        };
        (0..row.len()).filter_map(bytes).sum()
    }

    fn json(row: &SqliteRow, column: usize) -> sqlx::Result<Option<&[u8]>> {
        row.try_get::<Option<&str>, _>(column).map(|text| text.map(str::as_bytes))
    }

    async fn pack(snapshot: Bytes) -> sqlx::Result<Vec<u8>> {
        let compressed = tokio::task::spawn_blocking(move || zstd::bulk::compress(&snapshot, LEVEL)).await;
        Ok(compressed.map_err(std::io::Error::other).flatten()?)
    }

    async fn unpack(stored: Vec<u8>) -> sqlx::Result<Bytes> {
        let snapshot = tokio::task::spawn_blocking(move || zstd::decode_all(&*stored)).await;
        Ok(snapshot.map_err(std::io::Error::other).flatten()?.into())
    }

    async fn close(store: &SqliteStore) {
        // the writer last: it moves the write-ahead log into the file
        store.pools.readers.close().await;
        store.pools.writers.close().await;
        drop(store.engine.high_water_mark().take());
    }

    async fn write(store: &SqliteStore, entries: &[LogEntry]) -> Result<InsertCounts> {
        let inserting =
            async |transaction: &mut Session<Self>| insert(transaction, entries, store.config.compatibility).await;
        let inserted = store.transaction(1, inserting).await?;
        if let (Some(mark), Some(last)) = (&*store.engine.high_water_mark(), entries.last()) {
            mark.record(last.cursor);
        }
        Ok(InsertCounts { inserted, duplicates: entries.len() as u64 - inserted, paired: 0 })
    }

    async fn estimate(session: &mut Session<Self>, query: &HistoryQuery, _: &TypeFilter) -> sqlx::Result<u64> {
        if !is_unfiltered(query) {
            return Ok(0);
        }
        let extent: Option<i64> = session.fetch_one(sqlx::query(EXTENT)).await?.read(0)?;
        Ok(extent.unwrap_or(0).unsigned_abs())
    }

    fn push_token(sql: &mut QueryBuilder<Self>, index: usize) {
        // the tokens as a JSON array
        sql.push(r#"json_extract('[' || replace(json_quote(event_type), '.', '","') || ']', "#);
        sql.push_bind(format!("$[{index}]")).push(")");
    }

    fn push_bucket(sql: &mut QueryBuilder<Self>, query: &AggregateQuery) {
        // never negative: nothing before the origin is counted
        sql.push(r#"("timestamp" - "#).push_bind(Timestamp(query.origin)).push(") / ").push_bind(query.bucket_micros());
    }

    fn bucket(row: &SqliteRow, column: usize, _: &AggregateQuery) -> sqlx::Result<i64> {
        row.try_get(column)
    }

    async fn delete_before(session: &mut Session<Self>, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64> {
        let deleting = async |session: &mut Session<Self>| delete_from_logs::<Self>(session, before, limit).await;
        let deleted = session.transaction(deleting).await?;
        Self::release_space(session).await?;
        Ok(deleted)
    }

    /// Keeps some free pages, which new rows need.
    async fn release_space(session: &mut Session<Self>) -> sqlx::Result<()> {
        const KEPT_PAGES: i64 = 4_096;
        let free: i64 = session.fetch_one(sqlx::query("PRAGMA freelist_count")).await?.read(0)?;
        if free > KEPT_PAGES {
            // in bounded steps: nothing else can write meanwhile
            session.execute(sqlx::query("PRAGMA incremental_vacuum(1024)")).await?;
        }
        Ok(())
    }

    fn push_lesson_search(sql: &mut QueryBuilder<Self>, query: &LessonQuery) {
        match &query.words {
            Some(words) => {
                // the better a row matches, the lower is its bm25
                sql.push("coalesce(-found.rank, 0.0) AS relevance FROM agent_lesson_states AS state ");
                sql.push(if query.unrelated { "LEFT JOIN" } else { "JOIN" });
                sql.push(" (SELECT rowid, rank FROM agent_lesson_search WHERE agent_lesson_search MATCH ");
                sql.push_bind(words.to_fts5()).push(") AS found ON found.rowid = state.id")
            }
            None => sql.push("0.0 AS relevance FROM agent_lesson_states AS state"),
        };
        sql.push(" WHERE true");
    }
}

/// Inserts entries that are not there yet; the number of those.
async fn insert(
    transaction: &mut Session<Sqlite>,
    entries: &[LogEntry],
    compatibility: Compatibility,
) -> sqlx::Result<u64> {
    let (mut inserted, mut rest) = (0, entries);
    for (size, statement) in SIZES.iter().zip(&*STATEMENTS) {
        while let Some((entries, others)) = rest.split_at_checked(*size) {
            let mut query = sqlx::query(AssertSqlSafe(statement.as_str()));
            for row in entries.iter().map(|entry| InsertRow::new(entry, compatibility)) {
                let (entry, event) = (row.entry, &row.entry.event);
                query = query
                    .args((event.id, Timestamp(event.timestamp), event.event_type.as_str(), row.payload))
                    .args((row.source, event.entity_id.as_deref()))
                    .args((event.entity_type.map(EntityType::as_str), event.trace_id.as_deref()))
                    .args((event.idempotency_key.as_deref(), row.envelope, entry.raw.as_deref(), row.notes))
                    .args((epoch_to_sql(entry.cursor.epoch), seq_to_sql(entry.cursor.seq), Timestamp(entry.logged_at)));
            }
            inserted += transaction.execute(query).await?;
            rest = others;
        }
    }
    Ok(inserted)
}

impl<T> BindsList<T> for Sqlite
where
    T: Clone + Encode<'static, Self> + Type<Self>,
{
    fn push_any(sql: &mut QueryBuilder<Self>, values: &[T]) {
        let mut list = sql.push(" IN (").separated(", ");
        for value in values {
            list.push_bind(value.clone());
        }
        sql.push(")");
    }
}

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(ty)
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'_, Sqlite>>::encode(self.0.timestamp_micros(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Timestamp {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let micros = <i64 as Decode<'r, Sqlite>>::decode(value)?;
        DateTime::from_timestamp_micros(micros).map(Self).ok_or_else(|| "a time out of range".into())
    }
}
