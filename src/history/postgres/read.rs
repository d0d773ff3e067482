//! Questions, as SQL. Values are bound; the text is ours alone.

use serde_json::Value;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::types::Json;
use sqlx::{Executor, QueryBuilder};

use super::row::{PAGE, record};
use crate::history::HistoryQuery;
use crate::history::total::Rows;
use crate::history::type_filter::{Dots, Shape, TypeFilter};
use crate::model::EntityType;

const ORDER: &str = r#" ORDER BY "timestamp" DESC, id DESC"#;

/// What is held of an epoch.
pub const HELD: &str = "
SELECT greatest(min(seq), (SELECT complete_from FROM living_map_history_complete WHERE epoch = $1)), max(seq)
FROM living_map_history WHERE epoch = $1 AND seq IS NOT NULL";

const DOTS: &str = " AND length(event_type) - length(replace(event_type, '.', ''))";

/// Parts of a question whose statement is kept: an entity has a few names. One of more is prepared each time, which is one
/// more round trip.
const KEPT_PARTS: usize = 4;

pub async fn page(connection: &mut PgConnection, query: &HistoryQuery, types: &TypeFilter) -> sqlx::Result<Rows> {
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
            sql.push(if index > 0 { " UNION ALL (" } else { "(" });
            push_page(&mut sql, query, types, wanted.saturating_add(offset));
            sql.push(")");
        }
        sql.push(") AS found").push(ORDER).push(" LIMIT ").push_bind(wanted);
    }
    if offset > 0 {
        sql.push(" OFFSET ").push_bind(offset);
    }
    // the text depends on the number of parts: only that of the usual questions is worth keeping
    let mut rows = connection.fetch_all(sql.build().persistent(parts.len() <= KEPT_PARTS)).await?;
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Ok(Rows { records: rows.iter().map(record).collect::<Result<_, _>>()?, has_more })
}

fn push_page(sql: &mut QueryBuilder<Postgres>, query: &HistoryQuery, types: &TypeFilter, limit: i64) {
    sql.push(PAGE);
    push_filters(sql, query, types);
    if let Some(after) = query.after {
        sql.push(r#" AND ("timestamp", id) < ("#).push_bind(after.timestamp);
        sql.push(", ").push_bind(after.id).push(")");
    }
    sql.push(ORDER).push(" LIMIT ").push_bind(limit);
}

/// Matching rows, counted to `cap` + 1 at most.
pub async fn count(
    connection: &mut PgConnection,
    query: &HistoryQuery,
    types: &TypeFilter,
    cap: u32,
) -> sqlx::Result<u64> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT FROM living_map_history WHERE true");
    push_filters(&mut sql, query, types);
    sql.push(" LIMIT ").push_bind(i64::from(cap) + 1).push(") AS capped");
    let rows: i64 = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(rows.unsigned_abs())
}

/// What the planner thinks how many rows match: it knows the table's size and the values' frequencies.
pub async fn estimate(connection: &mut PgConnection, query: &HistoryQuery, types: &TypeFilter) -> sqlx::Result<u64> {
    let mut sql = QueryBuilder::new("EXPLAIN (FORMAT JSON) SELECT FROM living_map_history WHERE true");
    push_filters(&mut sql, query, types);
    let Json(plan): Json<Value> = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_u64).unwrap_or(0))
}

pub fn push_filters(sql: &mut QueryBuilder<Postgres>, query: &HistoryQuery, types: &TypeFilter) {
    if let Some(since) = query.since {
        sql.push(r#" AND "timestamp" >= "#).push_bind(since);
    }
    if let Some(until) = query.until {
        sql.push(r#" AND "timestamp" < "#).push_bind(until);
    }
    push_type(sql, types);
    match &query.entity_ids[..] {
        [] => {}
        [only] => {
            sql.push(" AND entity_id = ").push_bind(only.clone());
        }
        names => {
            sql.push(" AND entity_id = ANY(").push_bind(names.to_vec()).push(")");
        }
    }
    if let Some(kind) = query.entity_type {
        sql.push(" AND entity_type = ANY(").push_bind(spellings(kind)).push(")");
    }
    if let Some(source) = &query.source_service {
        sql.push(" AND source_service = ").push_bind(source.clone());
    }
}

/// The condition on the column `event_type`, of any table.
pub fn push_type(sql: &mut QueryBuilder<Postgres>, types: &TypeFilter) {
    match types {
        TypeFilter::Any => {}
        TypeFilter::Exactly(event_type) => {
            sql.push(" AND event_type = ").push_bind(event_type.clone());
        }
        TypeFilter::OneOf(types) => {
            sql.push(" AND event_type = ANY(").push_bind(types.clone()).push(")");
        }
        TypeFilter::Shaped(shape) => push_shape(sql, shape),
    }
}

fn push_shape(sql: &mut QueryBuilder<Postgres>, shape: &Shape) {
    if let Some((from, to)) = &shape.range {
        // the operators that compare bytes, in any locale, and that a text_pattern_ops index serves
        sql.push(" AND event_type ~>=~ ").push_bind(from.clone());
        sql.push(" AND event_type ~<~ ").push_bind(to.clone());
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
        // split_part counts from 1
        let place = i32::try_from(index + 1).unwrap_or(i32::MAX);
        sql.push(" AND split_part(event_type, '.', ").push_bind(place);
        sql.push(") = ").push_bind(token.clone());
    }
}

/// A type's name as others may have written it.
fn spellings(kind: EntityType) -> Vec<String> {
    let name = kind.as_str();
    let capital = name[..1].to_ascii_uppercase() + &name[1..];
    vec![name.to_owned(), name.to_ascii_uppercase(), capital]
}
