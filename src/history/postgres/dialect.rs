//! The `PostgreSQL` dialect.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgArgumentBuffer, PgConnection, PgRow, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Decode, Encode, Executor, Postgres, QueryBuilder, Row, Type, TypeInfo, ValueRef};

use super::insert::insert;
use super::table_log::check_token;
use super::{PostgresEngine, PostgresStore, pairing};
use crate::history::lessons::LessonQuery;
use crate::history::sql::events::{push_filters, time};
use crate::history::sql::logs::{deletable, delete_from_logs};
use crate::history::sql::values::{BindsList, SqlQuery, Timestamp};
use crate::history::sql::{Answer, Dialect, Driver, Rows, Session};
use crate::history::stored::{InsertRow, statements};
use crate::history::type_filter::TypeFilter;
use crate::history::{AggregateQuery, HistoryError, HistoryQuery, InsertCounts, Result};
use crate::model::LogEntry;

/// `SQLSTATE` classes that say: these values cannot be stored, now or later. Everything else (connections, resources,
/// shut-down, time limits, locks, privileges, even a table that is missing) is about the database: the same write succeeds
/// once that is mended, so no event may be given up for it.
///
/// See "`PostgreSQL` Error Codes" in its manual, appendix A.
const DATA_CLASSES: &[&str] = &[
    "21", // cardinality violation
    "22", // data exception
    "23", // integrity constraint violation
    "38", // external routine exception (a trigger)
    "39", // external routine invocation exception
    "44", // WITH CHECK OPTION violation
    "54", // program limit exceeded (an index row too large)
    "P0", // raised by PL/pgSQL (a trigger)
];

/// Rows locked by other transactions are left for the next time, so neither side waits. Adopted rows are as old as their
/// adoption: a server that replaces another service deletes nothing of it at its first start, while its operator may
/// still be deciding on `HISTORY_RETENTION_DAYS`.
const DELETE_ADOPTED: &str = r#"
DELETE FROM living_map_history WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM living_map_history
    WHERE "timestamp" < $1 AND epoch IS NULL AND (SELECT min(installed_on) FROM living_map_migrations) < $1
    ORDER BY "timestamp" LIMIT $2
    FOR UPDATE SKIP LOCKED
))"#;

impl Driver for Postgres {
    const CLIENT_TIMEOUTS: bool = true;
    const UNREAD_ROWS_BLOCK: bool = true;
    // "query canceled"
    const INTERRUPTED: &'static str = "57014";
    const BEGIN: &'static str = "BEGIN";

    fn execute<'e>(on: &'e mut PgConnection, query: SqlQuery<'e, Self>) -> Answer<'e, u64> {
        Box::pin(async { Ok(on.execute(query).await?.rows_affected()) })
    }

    fn fetch_all<'e>(on: &'e mut PgConnection, query: SqlQuery<'e, Self>) -> Answer<'e, Vec<PgRow>> {
        on.fetch_all(query)
    }

    fn fetch<'e>(on: &'e mut PgConnection, query: SqlQuery<'e, Self>) -> Rows<'e, Self> {
        on.fetch(query)
    }

    fn command<'e>(on: &'e mut PgConnection, sql: &str) -> Answer<'e, ()> {
        let sql = AssertSqlSafe(sql.to_owned());
        Box::pin(async { on.execute(sql).await.map(drop) })
    }

    fn is_data_error(code: &str) -> bool {
        code.get(..2).is_some_and(|class| DATA_CLASSES.contains(&class))
    }
}

#[async_trait]
impl Dialect for Postgres {
    type Engine = PostgresEngine;

    const KIND: &'static str = "postgres";
    const PING: &'static str = "SELECT 1";
    // `now()` is the beginning of the transaction
    const NOW: &'static str = "clock_timestamp()";
    const MICROSECONDS: &'static str = " * interval '1 microsecond'";
    const SKIP_LOCKED: &'static str = "FOR UPDATE SKIP LOCKED";
    const BYTE_ORDER: &'static str = r#" COLLATE "C""#;
    // these compare bytes in any locale, and a text_pattern_ops index serves them
    const BYTE_RANGE: (&'static str, &'static str) = (" ~>=~ ", " ~<~ ");
    const LIST_VALUES: usize = usize::MAX;
    const LISTS_ARE_ARRAYS: bool = true;
    const SNAPSHOTS_DELETED_AT_ONCE: usize = usize::MAX;
    const ADOPTS_TABLES: bool = true;
    const LOGGED_AT: &'static str = r#"coalesce(logged_at, created_at, "timestamp")"#;
    const DELETE_FROM_LOG: &'static str = concat!(
        "DELETE FROM living_map_history WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM (SELECT ctid, logged_at FROM living_map_history WHERE ",
        deletable!(),
        " ORDER BY seq LIMIT $3) AS oldest WHERE logged_at < $2))"
    );
    // an adopted table may require a value for `compressed`
    const SAVE_SNAPSHOT: &'static str = "
INSERT INTO living_map_snapshots (id, generated_at, snapshot_data, version, compressed, size_bytes, created_at, epoch, seq,
    logged_at, state, state_version)
VALUES ($1, $2, convert_from($3, 'UTF8')::jsonb, $4, false, $5, $6, $7, $8, $2, $9, $10)
ON CONFLICT DO NOTHING";
    const SNAPSHOT: &'static str =
        "SELECT convert_to(snapshot_data::text, 'UTF8') FROM living_map_snapshots WHERE id = $1";
    const PUT_LESSON: &'static str = "
INSERT INTO agent_lesson_states (lesson_key, root_key, version, agent_id, rule, signature, status, ts, lesson, search)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, to_tsvector('simple', $10))
ON CONFLICT (lesson_key) DO UPDATE SET status = excluded.status, lesson = excluded.lesson";
    // versions of a lesson are changed by one transaction at a time
    const LOCK_LESSON: Option<&'static str> = Some(
        "SELECT pg_advisory_xact_lock(hashtextextended(root_key, 0)) FROM agent_lesson_states WHERE lesson_key = $1",
    );

    fn row_bytes(row: &PgRow) -> usize {
        let bytes = |column: usize| row.try_get_raw(column).ok()?.as_bytes().ok().map(<[u8]>::len);
        (0..row.len()).filter_map(bytes).sum()
    }

    fn json(row: &PgRow, column: usize) -> sqlx::Result<Option<&[u8]>> {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(None);
        }
        // the binary form of jsonb begins with its version
        let version = usize::from(value.format() == PgValueFormat::Binary && value.type_info().name() == "JSONB");
        Ok(value.as_bytes().map_err(sqlx::Error::Decode)?.get(version..))
    }

    async fn close(store: &PostgresStore) {
        store.release_table_log().await;
        store.pools.writers.close().await;
        store.pools.readers.close().await;
        store.pools.leases.close().await;
    }

    async fn write(store: &PostgresStore, entries: &[LogEntry]) -> Result<InsertCounts> {
        write(store, entries, None).await
    }

    async fn append(store: &PostgresStore, entries: &[LogEntry]) -> Result<InsertCounts> {
        write(store, entries, store.table_log_token().await).await
    }

    async fn write_after_absence(store: &PostgresStore, entries: &[LogEntry]) -> Result<InsertCounts> {
        match pairing::write(store, entries).await {
            // another writer stored one of the entries meanwhile: now it is known
            Err(HistoryError::Rejected(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                pairing::write(store, entries).await
            }
            written => written,
        }
    }

    /// The planner knows the table's size and the values' frequencies.
    async fn estimate(session: &mut Session<Self>, query: &HistoryQuery, types: &TypeFilter) -> sqlx::Result<u64> {
        let mut sql = QueryBuilder::new("EXPLAIN (FORMAT JSON) SELECT FROM living_map_history WHERE true");
        push_filters(&mut sql, query, types);
        let Json(plan): Json<Value> = session.fetch_one(sql.build()).await?.try_get(0)?;
        Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_u64).unwrap_or(0))
    }

    fn push_token(sql: &mut QueryBuilder<Self>, index: usize) {
        // split_part counts from 1
        let place = i32::try_from(index + 1).unwrap_or(i32::MAX);
        sql.push("split_part(event_type, '.', ").push_bind(place).push(")");
    }

    fn push_bucket(sql: &mut QueryBuilder<Self>, query: &AggregateQuery) {
        sql.push("date_bin(").push_bind(PgInterval { months: 0, days: 0, microseconds: query.bucket_micros() });
        sql.push(r#", "timestamp", "#).push_bind(query.origin).push(")");
    }

    fn bucket(row: &PgRow, column: usize, query: &AggregateQuery) -> sqlx::Result<i64> {
        let begin = time::<Self>(row, column)?;
        Ok((begin - query.origin).num_microseconds().unwrap_or(-1) / query.bucket_micros())
    }

    async fn delete_before(session: &mut Session<Self>, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64> {
        let mut deleted = delete_from_logs::<Self>(session, before, limit).await?;
        if deleted < u64::from(limit) {
            let query = sqlx::query(DELETE_ADOPTED).bind(before).bind((u64::from(limit) - deleted).cast_signed());
            deleted += session.execute(query).await?;
        }
        Ok(deleted)
    }

    fn push_lesson_search(sql: &mut QueryBuilder<Self>, query: &LessonQuery) {
        match &query.words {
            Some(words) => {
                sql.push("ts_rank(search, to_tsquery('simple', ").push_bind(words.to_tsquery()).push("))::float8")
            }
            None => sql.push("0::float8"),
        };
        sql.push(" AS relevance FROM agent_lesson_states AS state WHERE true");
        if let Some(words) = query.words.as_ref().filter(|_| !query.unrelated) {
            sql.push(" AND search @@ to_tsquery('simple', ").push_bind(words.to_tsquery()).push(")");
        }
    }
}

/// Inserts entries that are not there yet, if the table log's lock still has `token`, where one is given.
async fn write(store: &PostgresStore, entries: &[LogEntry], token: Option<u64>) -> Result<InsertCounts> {
    let rows: Vec<InsertRow<'_>> =
        entries.iter().map(|entry| InsertRow::new(entry, store.config.compatibility)).collect();
    let ranges = statements(&rows, store.config.statement_rows.max(1), store.config.statement_bytes);
    let inserting = async |session: &mut Session<Postgres>| {
        if let Some(token) = token {
            check_token(session, token).await?;
        }
        let mut inserted = 0;
        for range in &ranges {
            inserted += insert(session, &rows[range.clone()]).await?;
        }
        Ok(inserted)
    };
    let inserted = match (ranges.len(), token) {
        // a statement is a transaction: no round trips to begin and to commit one
        (1, None) => store.write_with(1, inserting).await,
        (statements, _) => store.transaction(statements + 1, inserting).await,
    }?;
    Ok(InsertCounts { inserted, duplicates: rows.len() as u64 - inserted, paired: 0 })
}

impl<T> BindsList<T> for Postgres
where
    T: Clone + Encode<'static, Self> + Type<Self>,
    Vec<T>: Encode<'static, Self> + Type<Self>,
{
    fn push_any(sql: &mut QueryBuilder<Self>, values: &[T]) {
        match values {
            // unlike `ANY`, lets the planner take an index in its order
            [only] => sql.push(" = ").push_bind(only.clone()),
            _ => sql.push(" = ANY(").push_bind(values.to_vec()).push(")"),
        };
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <DateTime<Utc> as Encode<'_, Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

/// Limited to the years 1 to 9999, as everywhere: sqlx's own decoding panics at `infinity`, which adopted rows may have.
impl<'r> Decode<'r, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        const UNIX_OF_2000: i64 = 946_684_800_000_000;
        const YEAR_1: i64 = -62_135_596_800_000_000;
        const YEAR_9999_END: i64 = 253_402_300_799_999_999;
        let since_2000 = <i64 as Decode<'r, Postgres>>::decode(value)?;
        let micros = since_2000.saturating_add(UNIX_OF_2000).clamp(YEAR_1, YEAR_9999_END);
        DateTime::from_timestamp_micros(micros).map(Self).ok_or_else(|| "a time out of range".into())
    }
}
