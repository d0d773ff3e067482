//! Reading events. Values are bound; the text of a statement contains only our own words.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Error, QueryBuilder};

use super::bounded::{BoundedRead, ReadBounds, read_bounded};
use super::values::{Arg, Column, SqlQuery, Timestamp, push_any_if, push_if};
use super::{Dialect, Session, TypeOrder};
use crate::history::aggregate::{Aggregate, AggregateQuery, BucketCount, LARGEST, TOTALS};
use crate::history::stored::{cursor_from_sql, entity_type, normal_text, read_json, read_notes, stored_text};
use crate::history::type_filter::{Dots, MAX_TYPES, Shape, TypeFilter};
use crate::history::{HistoryQuery, HistoryRow, Total};
use crate::model::compatibility::{source_of_stored, stored_names};
use crate::model::{EntityType, Event, LogEntry};

/// Columns for [`record`], in front of filters.
const PAGE: &str = r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, epoch, seq, notes
    FROM living_map_history WHERE true"#;

/// The time of the newest row that another service wrote before `$1`.
pub const NEWEST_ADOPTED: &str =
    r#"SELECT max("timestamp") FROM living_map_history WHERE epoch IS NULL AND "timestamp" < $1"#;

const ORDER: &str = r#" ORDER BY "timestamp" DESC, id DESC"#;

const DOTS: &str = " AND length(event_type) - length(replace(event_type, '.', ''))";

/// Parts of a query whose statement is kept prepared: an entity has a few names. A statement of more parts is prepared at
/// each use, which is one more round trip.
const KEPT_PARTS: usize = 4;

/// Reads events in one session.
pub struct EventReader<'c, DB: Dialect> {
    session: &'c mut Session<DB>,
    /// The order of the index on event types; none without such an index.
    type_order: Option<TypeOrder>,
}

impl<'c, DB: Dialect> EventReader<'c, DB> {
    pub fn new(session: &'c mut Session<DB>, type_order: Option<TypeOrder>) -> Self {
        Self { session, type_order }
    }

    /// A page of at most `bytes` bytes, without its total.
    pub async fn page(
        &mut self,
        query: &HistoryQuery,
        types: &TypeFilter,
        bytes: usize,
    ) -> sqlx::Result<BoundedRead<HistoryRow>> {
        let limit = query.limit.max(1);
        let wanted = i64::from(limit) + 1;
        let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
        let mut sql = QueryBuilder::new("");
        let parts = types.parts(query);
        if let [(query, types)] = &parts[..] {
            push_page::<DB>(&mut sql, query, types, wanted);
        } else {
            sql.push("SELECT * FROM (");
            for (index, (query, types)) in parts.iter().enumerate() {
                sql.push(if index > 0 { " UNION ALL SELECT * FROM (" } else { "SELECT * FROM (" });
                push_page(&mut sql, query, types, wanted.saturating_add(offset));
                sql.push(") AS part");
            }
            sql.push(") AS found").push(ORDER).push(" LIMIT ").arg(wanted);
        }
        if offset > 0 {
            sql.push(" OFFSET ").arg(offset);
        }
        let query = sql.build().persistent(parts.len() <= KEPT_PARTS);
        read_bounded::<DB, _>(self.session, query, ReadBounds { rows: limit as usize, bytes }, record::<DB>).await
    }

    /// The number of rows that match, an estimate if there are more than `cap` or counting them takes too long.
    pub async fn total(&mut self, query: &HistoryQuery, types: &TypeFilter, cap: u32) -> sqlx::Result<Total> {
        let counting = async |session: &mut Session<DB>| count(session, query, types, cap).await;
        let rows = match self.session.attempt(counting).await {
            Ok(rows) if rows <= u64::from(cap) => return Ok(Total { rows, exact: true }),
            Ok(rows) => rows,
            // many rows to look at, few that match; the connection can be used again
            Err(Error::Database(error)) if DB::CLIENT_TIMEOUTS && error.code().as_deref() == Some(DB::INTERRUPTED) => 0,
            Err(error) => return Err(error),
        };
        let estimate = DB::estimate(self.session, query, types).await?;
        Ok(Total { rows: estimate.max(rows), exact: false })
    }

    /// The conditions of a query's pattern. One with wildcards is compared with the stored types, which are few, where an index
    /// has them.
    pub async fn type_filter(&mut self, query: &HistoryQuery) -> sqlx::Result<TypeFilter> {
        let Some(pattern) = &query.event_type else { return Ok(TypeFilter::Any) };
        let filter = TypeFilter::of(pattern);
        let (TypeFilter::Shaped(shape), Some(order)) = (&filter, self.type_order) else { return Ok(filter) };
        let range = shape.range.as_ref().filter(|_| order.bytes);
        let types = self.stored_types(order, range).await?;
        Ok(if types.len() > MAX_TYPES { filter } else { TypeFilter::among(pattern, types) })
    }

    /// The stored types in a range, or all, and perhaps one above it; at most [`MAX_TYPES`] + 1. Each is one step in the index.
    async fn stored_types(&mut self, order: TypeOrder, range: Option<&(String, String)>) -> sqlx::Result<Vec<String>> {
        const FROM: &str =
            "SELECT (SELECT history.event_type FROM living_map_history AS history WHERE history.event_type";
        let TypeOrder { greater, using, .. } = order;
        let (at_or_above, below) = DB::BYTE_RANGE;
        let next = |sql: &mut QueryBuilder<DB>| {
            sql.push(" ORDER BY history.event_type").push(using).push(" LIMIT 1)");
        };
        let mut sql = QueryBuilder::<DB>::new("WITH RECURSIVE types (event_type) AS (");
        sql.push(FROM);
        match range {
            Some((from, _)) => sql.push(at_or_above).arg(from.as_str()),
            None => sql.push(" IS NOT NULL"),
        };
        next(&mut sql);
        sql.push(" UNION ALL ").push(FROM).push(greater).push("types.event_type");
        next(&mut sql);
        sql.push(" FROM types WHERE types.event_type IS NOT NULL");
        if let Some((_, to)) = range {
            sql.push(" AND types.event_type").push(below).arg(to.as_str());
        }
        sql.push(") SELECT event_type FROM types WHERE event_type IS NOT NULL LIMIT ");
        sql.push("").arg(i64::try_from(MAX_TYPES + 1).unwrap_or(i64::MAX));
        let rows = self.session.fetch_all(sql.build()).await?;
        rows.iter().map(|row| row.read(0)).collect()
    }

    /// Counts events over time, in one statement.
    pub async fn aggregate(&mut self, query: &AggregateQuery) -> sqlx::Result<Aggregate> {
        let within = query.within();
        let types = self.type_filter(&within).await?;
        if types.is_empty() {
            return Ok(Aggregate::default());
        }
        let mut sql = QueryBuilder::<DB>::new("WITH counted AS MATERIALIZED (SELECT ");
        sql.push(query.group_by.as_str()).push(DB::BYTE_ORDER).push(" AS key, ");
        DB::push_bucket(&mut sql, query);
        sql.push(" AS bucket, count(*) AS events FROM living_map_history WHERE true");
        push_filters(&mut sql, &within, &types);
        sql.push(TOTALS).arg(i64::from(query.groups.max(1))).push(LARGEST);
        let rows = self.session.fetch_all(sql.build()).await?;
        let counted = |row: &DB::Row| {
            let (rank, key, events, groups) = (row.read(0)?, row.read(1)?, row.read(3)?, row.read(4)?);
            Ok(BucketCount { rank, key, bucket: DB::bucket(row, 2, query)?, events, groups })
        };
        let counted: Vec<BucketCount> = rows.iter().map(counted).collect::<sqlx::Result<_>>()?;
        Ok(Aggregate::of(counted, query.buckets()))
    }
}

/// The number of rows that match, counted to `cap` + 1 at most.
async fn count<DB: Dialect>(
    session: &mut Session<DB>,
    query: &HistoryQuery,
    types: &TypeFilter,
    cap: u32,
) -> sqlx::Result<u64> {
    let mut sql = QueryBuilder::<DB>::new("SELECT count(*) FROM (SELECT 1 FROM living_map_history WHERE true");
    push_filters(&mut sql, query, types);
    sql.push(" LIMIT ").arg(i64::from(cap) + 1).push(") AS capped");
    let rows: i64 = session.fetch_optional(sql.build()).await?.map_or(Ok(0), |row| row.read(0))?;
    Ok(rows.unsigned_abs())
}

fn push_page<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &HistoryQuery, types: &TypeFilter, limit: i64) {
    sql.push(PAGE);
    push_filters(sql, query, types);
    if let Some(after) = query.after {
        sql.push(r#" AND ("timestamp", id) < ("#).arg(Timestamp(after.timestamp));
        sql.push(", ").arg(after.id).push(")");
    }
    sql.push(ORDER).push(" LIMIT ").arg(limit);
}

/// Appends the conditions of a query, except its page.
pub fn push_filters<DB: Dialect>(sql: &mut QueryBuilder<DB>, query: &HistoryQuery, types: &TypeFilter) {
    push_if(sql, r#" AND "timestamp" >= "#, query.since.map(Timestamp));
    push_if(sql, r#" AND "timestamp" < "#, query.until.map(Timestamp));
    push_type(sql, types);
    push_any_if(sql, " AND entity_id", &query.entity_ids);
    push_any_if(sql, " AND entity_type", &query.entity_type.map(spellings::<DB>).unwrap_or_default());
    push_any_if(sql, " AND source_service", &query.source_service.as_deref().map(stored_names).unwrap_or_default());
}

/// Appends the condition on the column `event_type`, of any table.
pub fn push_type<DB: Dialect>(sql: &mut QueryBuilder<DB>, types: &TypeFilter) {
    match types {
        TypeFilter::Any => {}
        TypeFilter::Exactly(event_type) => {
            sql.push(" AND event_type = ").arg(event_type.as_str());
        }
        TypeFilter::OneOf(types) => {
            // not by the index where the database would then sort the rows of all these types
            DB::push_any(sql.push(" AND ").push(DB::UNINDEXED).push("event_type"), types);
        }
        TypeFilter::Shaped(shape) => push_shape(sql, shape),
    }
}

fn push_shape<DB: Dialect>(sql: &mut QueryBuilder<DB>, shape: &Shape) {
    if let Some((from, to)) = &shape.range {
        let (at_or_above, below) = DB::BYTE_RANGE;
        sql.push(" AND event_type").push(at_or_above).arg(from.as_str());
        sql.push(" AND event_type").push(below).arg(to.as_str());
    }
    if let Some((operator, dots)) = shape.dots.map(Dots::condition) {
        sql.push(DOTS).push(operator).arg(dots);
    }
    for (index, token) in &shape.tokens {
        sql.push(" AND ");
        DB::push_token(sql, *index);
        sql.push(" = ").arg(token.as_str());
    }
}

/// The stored names of a type: other services may have written `AGENT` or `Agent`.
fn spellings<DB: Dialect>(kind: EntityType) -> Vec<String> {
    let name = kind.as_str();
    if !DB::ADOPTS_TABLES {
        return vec![name.to_owned()];
    }
    let capital = name[..1].to_ascii_uppercase() + &name[1..];
    vec![name.to_owned(), name.to_ascii_uppercase(), capital]
}

/// Events of the log `$1` after position `$2`, for [`entry`].
pub fn log<'q, DB: Dialect>() -> SqlQuery<'q, DB> {
    sqlx::query(AssertSqlSafe(format!(
        r#"SELECT id, "timestamp", event_type, payload, source_service, entity_id, entity_type, trace_id,
    idempotency_key, envelope, raw, epoch, seq, {}, notes FROM living_map_history
    WHERE epoch = $1 AND seq > $2 ORDER BY seq LIMIT $3"#,
        DB::LOGGED_AT
    )))
}

fn record<DB: Dialect>(row: &DB::Row) -> sqlx::Result<HistoryRow> {
    let cursor = cursor_from_sql(row.read(7)?, row.read(8)?);
    let payload = DB::json(row, 3)?.unwrap_or(b"null");
    // a row without a position in a log was written by another service
    let payload = if cursor.is_some() { stored_text(payload) } else { normal_text(payload) };
    let payload = payload.map_err(|error| sqlx::Error::Decode(error.into()))?;
    let (timestamp, event_type) = (time::<DB>(row, 1)?, Column::<Option<String>>::read(row, 2)?.unwrap_or_default());
    let (id, source_service, entity_id, entity_type) = (row.read(0)?, row.read(4)?, row.read(5)?, row.read(6)?);
    let notes = read_notes(DB::json(row, 9)?);
    Ok(HistoryRow { cursor, id, timestamp, event_type, payload, source_service, entity_id, entity_type, notes })
}

/// A row that has a position in a log.
pub fn entry<DB: Dialect>(row: &DB::Row) -> sqlx::Result<LogEntry> {
    let cursor = cursor_from_sql(row.read(11)?, row.read(12)?).ok_or(sqlx::Error::RowNotFound)?;
    let raw: Option<Vec<u8>> = row.read(10)?;
    Ok(LogEntry { cursor, logged_at: time::<DB>(row, 13)?, event: event::<DB>(row)?, raw: raw.map(Into::into) })
}

fn event<DB: Dialect>(row: &DB::Row) -> sqlx::Result<Event> {
    let object = |json: &[u8]| match read_json(json) {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    let kind: Option<String> = row.read(6)?;
    let event_type = Column::<Option<String>>::read(row, 2)?.unwrap_or_default();
    let source: Option<String> = row.read(4)?;
    Ok(Event {
        id: row.read(0)?,
        timestamp: time::<DB>(row, 1)?,
        payload: DB::json(row, 3)?.map_or(Value::Null, read_json),
        source_service: source.map(|stored| source_of_stored(&event_type, stored)),
        event_type,
        entity_id: row.read(5)?,
        entity_type: entity_type(kind.as_deref()),
        trace_id: row.read(7)?,
        idempotency_key: row.read(8)?,
        envelope: DB::json(row, 9)?.map(object),
        notes: read_notes(DB::json(row, 14)?),
    })
}

/// The time in a column.
pub fn time<DB: Dialect>(row: &DB::Row, column: usize) -> sqlx::Result<DateTime<Utc>> {
    Column::<Timestamp>::read(row, column).map(|time| time.0)
}
