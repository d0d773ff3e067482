//! Which event types are recorded: there are few, so a pattern is compared with them and not with every row.

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Executor, QueryBuilder, Row};

use crate::history::HistoryQuery;
use crate::history::type_filter::{MAX_TYPES, TypeFilter};

/// The conditions of a query's pattern. With wildcards it is looked up what is recorded.
pub async fn filter(connection: &mut SqliteConnection, query: &HistoryQuery) -> sqlx::Result<TypeFilter> {
    let Some(pattern) = &query.event_type else { return Ok(TypeFilter::Any) };
    let filter = TypeFilter::of(pattern);
    let TypeFilter::Shaped(shape) = &filter else { return Ok(filter) };
    let types = recorded(connection, shape.range.as_ref()).await?;
    Ok(if types.len() > MAX_TYPES { filter } else { TypeFilter::among(pattern, types) })
}

/// The types in a range, or all, and perhaps one behind it; one more than [`MAX_TYPES`] at most. Each is one step in the
/// index.
async fn recorded(connection: &mut SqliteConnection, range: Option<&(String, String)>) -> sqlx::Result<Vec<String>> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "WITH RECURSIVE types (event_type) AS (SELECT min(event_type) FROM living_map_history",
    );
    if let Some((from, _)) = range {
        sql.push(" WHERE event_type >= ").push_bind(from.clone());
    }
    sql.push(
        " UNION ALL SELECT (SELECT min(history.event_type) FROM living_map_history AS history
            WHERE history.event_type > types.event_type)
        FROM types WHERE types.event_type IS NOT NULL",
    );
    if let Some((_, to)) = range {
        sql.push(" AND types.event_type < ").push_bind(to.clone());
    }
    sql.push(") SELECT event_type FROM types WHERE event_type IS NOT NULL LIMIT ");
    sql.push_bind(i64::try_from(MAX_TYPES + 1).unwrap_or(i64::MAX));
    let rows = connection.fetch_all(sql.build()).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
