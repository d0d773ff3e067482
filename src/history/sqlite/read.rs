//! Questions, as SQL. Values are bound; the text is ours alone.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Executor, QueryBuilder, Row};

use crate::history::stored::{cursor_from_sql, entity_type, epoch_to_sql, hand_on, read_json};
use crate::history::total::Rows;
use crate::history::type_filter::{Dots, Shape, TypeFilter};
use crate::history::{Held, HistoryQuery, Record};
use crate::model::{Epoch, Event, LogEntry};

/// For [`record`], before filters.
const PAGE: &str = r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, epoch, seq
    FROM living_map_history WHERE true"#;

/// For [`entry`].
pub const LOG: &str = r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, logged_at FROM living_map_history
    WHERE epoch = ? AND seq > ? ORDER BY seq LIMIT ?"#;

const ORDER: &str = r#" ORDER BY "timestamp" DESC, id DESC"#;

const DOTS: &str = " AND length(event_type) - length(replace(event_type, '.', ''))";

/// An `event_type` as a JSON array of its tokens.
const TOKENS: &str = r#" AND json_extract('[' || replace(json_quote(event_type), '.', '","') || ']', "#;

pub async fn page(connection: &mut SqliteConnection, query: &HistoryQuery, types: &TypeFilter) -> sqlx::Result<Rows> {
    let limit = query.limit.max(1);
    let wanted = i64::from(limit) + 1;
    let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new("");
    let parts = types.parts(query);
    if let [(query, types)] = &parts[..] {
        push_page(&mut sql, query, types, wanted);
    } else {
        sql.push("SELECT * FROM (");
        for (index, (query, types)) in parts.iter().enumerate() {
            sql.push(if index > 0 { " UNION ALL SELECT * FROM (" } else { "SELECT * FROM (" });
            push_page(&mut sql, query, types, wanted.saturating_add(offset));
            sql.push(")");
        }
        sql.push(")").push(ORDER).push(" LIMIT ").push_bind(wanted);
    }
    sql.push(" OFFSET ").push_bind(offset);
    // the text depends on the number of parts: only that of the usual questions is worth keeping
    let mut rows = connection.fetch_all(sql.build().persistent(parts.len() == 1)).await?;
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Ok(Rows { records: rows.iter().map(record).collect::<Result<_, _>>()?, has_more })
}

fn push_page(sql: &mut QueryBuilder<Sqlite>, query: &HistoryQuery, types: &TypeFilter, limit: i64) {
    sql.push(PAGE);
    push_filters(sql, query, types);
    if let Some(after) = query.after {
        sql.push(r#" AND ("timestamp", id) < ("#).push_bind(after.timestamp.timestamp_micros());
        sql.push(", ").push_bind(after.id).push(")");
    }
    sql.push(ORDER).push(" LIMIT ").push_bind(limit);
}

/// Matching rows, counted to `cap` + 1 at most.
pub async fn count(
    connection: &mut SqliteConnection,
    query: &HistoryQuery,
    types: &TypeFilter,
    cap: u32,
) -> sqlx::Result<u64> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 FROM living_map_history WHERE true");
    push_filters(&mut sql, query, types);
    sql.push(" LIMIT ").push_bind(i64::from(cap) + 1).push(")");
    let rows: i64 = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(rows.unsigned_abs())
}

/// About how many rows there are: their numbers are given out in order and go from the oldest.
pub async fn extent(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let sql = "SELECT (SELECT max(rowid) FROM living_map_history) - (SELECT min(rowid) FROM living_map_history) + 1";
    let rows: Option<i64> = sqlx::query_scalar(sql).fetch_one(connection).await?;
    Ok(rows.unwrap_or(0).unsigned_abs())
}

/// What is held of `epoch`.
pub async fn held(pool: &SqlitePool, epoch: Epoch) -> sqlx::Result<Option<Held>> {
    // two questions, since only a single min or max is answered from the index
    let sql = "SELECT max((SELECT min(seq) FROM living_map_history WHERE epoch = ?1), \
        coalesce((SELECT complete_from FROM living_map_history_complete WHERE epoch = ?1), 0)), \
        (SELECT max(seq) FROM living_map_history WHERE epoch = ?1)";
    let row = pool.fetch_one(sqlx::query(sql).bind(epoch_to_sql(epoch))).await?;
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(first.zip(last).map(|(first, last)| Held { first: first.unsigned_abs(), last: last.unsigned_abs() }))
}

pub fn push_filters(sql: &mut QueryBuilder<Sqlite>, query: &HistoryQuery, types: &TypeFilter) {
    if let Some(since) = query.since {
        sql.push(r#" AND "timestamp" >= "#).push_bind(since.timestamp_micros());
    }
    if let Some(until) = query.until {
        sql.push(r#" AND "timestamp" < "#).push_bind(until.timestamp_micros());
    }
    push_type(sql, types);
    if !query.entity_ids.is_empty() {
        sql.push(" AND entity_id IN (");
        let mut ids = sql.separated(", ");
        for id in &query.entity_ids {
            ids.push_bind(id.clone());
        }
        sql.push(")");
    }
    if let Some(kind) = query.entity_type {
        sql.push(" AND entity_type = ").push_bind(kind.as_str());
    }
    if let Some(source) = &query.source_service {
        sql.push(" AND source_service = ").push_bind(source.clone());
    }
}

/// The condition on the column `event_type`, of any table.
pub fn push_type(sql: &mut QueryBuilder<Sqlite>, types: &TypeFilter) {
    match types {
        TypeFilter::Any => {}
        TypeFilter::Exactly(event_type) => {
            sql.push(" AND event_type = ").push_bind(event_type.clone());
        }
        TypeFilter::OneOf(types) => {
            // '+': not by the index, which would have every row of so many types sorted
            sql.push(" AND +event_type IN (");
            let mut list = sql.separated(", ");
            for event_type in types {
                list.push_bind(event_type.clone());
            }
            sql.push(")");
        }
        TypeFilter::Shaped(shape) => push_shape(sql, shape),
    }
}

fn push_shape(sql: &mut QueryBuilder<Sqlite>, shape: &Shape) {
    if let Some((from, to)) = &shape.range {
        sql.push(" AND event_type >= ").push_bind(from.clone());
        sql.push(" AND event_type < ").push_bind(to.clone());
    }
    match shape.dots {
        None => {}
        Some(Dots::Exactly(dots)) => {
            sql.push(DOTS).push(" = ").push_bind(dots);
        }
        Some(Dots::AtLeast(dots)) => {
            sql.push(DOTS).push(" >= ").push_bind(dots);
        }
    }
    for (index, token) in &shape.tokens {
        sql.push(TOKENS).push_bind(format!("$[{index}]"));
        sql.push(") = ").push_bind(token.clone());
    }
}

fn record(row: &SqliteRow) -> sqlx::Result<Record> {
    Ok(Record {
        id: row.try_get(0)?,
        timestamp: time(row, 1)?,
        event_type: row.try_get(2)?,
        payload: hand_on(row.try_get::<&str, _>(3)?.as_bytes()),
        source_service: row.try_get(4)?,
        entity_id: row.try_get(5)?,
        entity_type: row.try_get(6)?,
        cursor: cursor_from_sql(row.try_get(7)?, row.try_get(8)?),
    })
}

pub fn entry(row: &SqliteRow) -> sqlx::Result<LogEntry> {
    let raw: Option<Vec<u8>> = row.try_get(10)?;
    let cursor = cursor_from_sql(row.try_get(11)?, row.try_get(12)?).ok_or(sqlx::Error::RowNotFound)?;
    Ok(LogEntry { cursor, logged_at: time(row, 13)?, event: event(row)?, raw: raw.map(Into::into) })
}

fn event(row: &SqliteRow) -> sqlx::Result<Event> {
    let envelope: Option<&str> = row.try_get(9)?;
    Ok(Event {
        id: row.try_get(0)?,
        timestamp: time(row, 1)?,
        event_type: row.try_get(2)?,
        payload: read_json(row.try_get::<&str, _>(3)?.as_bytes()),
        source_service: row.try_get(4)?,
        entity_id: row.try_get(5)?,
        entity_type: entity_type(row.try_get(6)?),
        trace_id: row.try_get(7)?,
        idempotency_key: row.try_get(8)?,
        envelope: envelope.map(|text| match read_json(text.as_bytes()) {
            Value::Object(map) => map,
            other => Map::from_iter([("value".to_owned(), other)]),
        }),
    })
}

pub fn time(row: &SqliteRow, column: usize) -> sqlx::Result<DateTime<Utc>> {
    let micros: i64 = row.try_get(column)?;
    DateTime::from_timestamp_micros(micros).ok_or_else(|| sqlx::Error::Decode("a time out of range".into()))
}
