//! Questions, as SQL. Values are bound; the text is ours alone.

use serde_json::Value;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::types::Json;
use sqlx::{Executor, QueryBuilder};

use super::row::{PAGE, record};
use crate::history::type_filter::{Dots, Shape, TypeFilter};
use crate::history::{HistoryPage, HistoryQuery};
use crate::model::EntityType;

const ORDER: &str = r#" ORDER BY "timestamp" DESC, id DESC"#;

const DOTS: &str = " AND length(event_type) - length(replace(event_type, '.', ''))";

pub async fn page(connection: &mut PgConnection, query: &HistoryQuery) -> sqlx::Result<HistoryPage> {
    let limit = query.limit.max(1);
    let wanted = i64::from(limit) + 1;
    let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new("");
    let by_name = query.by_name();
    if by_name.is_empty() {
        push_page(&mut sql, query, wanted);
    } else {
        sql.push("SELECT * FROM (");
        for (index, query) in by_name.iter().enumerate() {
            sql.push(if index > 0 { " UNION ALL (" } else { "(" });
            push_page(&mut sql, query, wanted.saturating_add(offset));
            sql.push(")");
        }
        sql.push(") AS found").push(ORDER).push(" LIMIT ").push_bind(wanted);
    }
    if offset > 0 {
        sql.push(" OFFSET ").push_bind(offset);
    }
    // the text depends on the number of names: only that of the usual questions is worth keeping
    let mut rows = connection.fetch_all(sql.build().persistent(by_name.is_empty())).await?;
    let has_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Ok(HistoryPage { records: rows.iter().map(record).collect::<Result<_, _>>()?, has_more })
}

fn push_page(sql: &mut QueryBuilder<Postgres>, query: &HistoryQuery, limit: i64) {
    sql.push(PAGE);
    push_filters(sql, query);
    if let Some(after) = query.after {
        sql.push(r#" AND ("timestamp", id) < ("#).push_bind(after.timestamp);
        sql.push(", ").push_bind(after.id).push(")");
    }
    sql.push(ORDER).push(" LIMIT ").push_bind(limit);
}

/// Matching rows, counted to `cap` + 1 at most.
pub async fn count(connection: &mut PgConnection, query: &HistoryQuery, cap: u32) -> sqlx::Result<u64> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT FROM living_map_history WHERE true");
    push_filters(&mut sql, query);
    sql.push(" LIMIT ").push_bind(i64::from(cap) + 1).push(") AS capped");
    let rows: i64 = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(rows.unsigned_abs())
}

/// What the planner thinks how many rows match: it knows the table's size and the values' frequencies.
pub async fn estimate(connection: &mut PgConnection, query: &HistoryQuery) -> sqlx::Result<u64> {
    let mut sql = QueryBuilder::new("EXPLAIN (FORMAT JSON) SELECT FROM living_map_history WHERE true");
    push_filters(&mut sql, query);
    let Json(plan): Json<Value> = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_u64).unwrap_or(0))
}

fn push_filters(sql: &mut QueryBuilder<Postgres>, query: &HistoryQuery) {
    if let Some(since) = query.since {
        sql.push(r#" AND "timestamp" >= "#).push_bind(since);
    }
    if let Some(until) = query.until {
        sql.push(r#" AND "timestamp" < "#).push_bind(until);
    }
    match query.event_type.as_ref().map_or(TypeFilter::Any, TypeFilter::of) {
        TypeFilter::Any => {}
        TypeFilter::Exactly(event_type) => {
            sql.push(" AND event_type = ").push_bind(event_type);
        }
        TypeFilter::Shaped(shape) => push_shape(sql, shape),
    }
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

fn push_shape(sql: &mut QueryBuilder<Postgres>, shape: Shape) {
    if let Some((from, to)) = shape.range {
        // the operators that compare bytes, in any locale, and that a text_pattern_ops index serves
        sql.push(" AND event_type ~>=~ ").push_bind(from);
        sql.push(" AND event_type ~<~ ").push_bind(to);
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
    for (index, token) in shape.tokens {
        // split_part counts from 1
        let place = i32::try_from(index + 1).unwrap_or(i32::MAX);
        sql.push(" AND split_part(event_type, '.', ").push_bind(place);
        sql.push(") = ").push_bind(token);
    }
}

/// A type's name as others may have written it.
fn spellings(kind: EntityType) -> Vec<String> {
    let name = kind.as_str();
    let capital = name[..1].to_ascii_uppercase() + &name[1..];
    vec![name.to_owned(), name.to_ascii_uppercase(), capital]
}
