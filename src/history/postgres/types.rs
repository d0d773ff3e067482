//! Which event types are recorded: there are few, so a pattern is compared with them and not with every row.

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Executor, QueryBuilder, Row};

use crate::history::HistoryQuery;
use crate::history::type_filter::{MAX_TYPES, TypeFilter};

/// The order that an index has event types in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeOrder {
    /// That of bytes, as in our own index.
    Bytes,
    /// That of the database's locale, as in one that was adopted.
    Locale,
}

const OPERATOR_CLASSES: &str = "
SELECT opcname::text FROM pg_index
    JOIN pg_opclass ON pg_opclass.oid = indclass[0]
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = 'living_map_history'::regclass AND indisvalid AND indpred IS NULL AND attname = 'event_type'";

impl TypeOrder {
    /// That of an index that is there; none when there is none.
    pub async fn find(connection: &mut PgConnection) -> sqlx::Result<Option<Self>> {
        let rows = connection.fetch_all(OPERATOR_CLASSES).await?;
        let classes: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?;
        let has = |name: &str| classes.iter().any(|class| class == name);
        Ok(match () {
            () if has("text_pattern_ops") => Some(Self::Bytes),
            () if has("text_ops") => Some(Self::Locale),
            () => None,
        })
    }

    const fn behind(self) -> &'static str {
        match self {
            Self::Bytes => " ~>~ ",
            Self::Locale => " > ",
        }
    }

    const fn order(self) -> &'static str {
        match self {
            Self::Bytes => " ORDER BY history.event_type USING ~<~ LIMIT 1",
            Self::Locale => " ORDER BY history.event_type LIMIT 1",
        }
    }
}

/// The conditions of a query's pattern. With wildcards it is looked up what is recorded, where an index knows that.
pub async fn filter(
    connection: &mut PgConnection,
    query: &HistoryQuery,
    order: Option<TypeOrder>,
) -> sqlx::Result<TypeFilter> {
    let Some(pattern) = &query.event_type else { return Ok(TypeFilter::Any) };
    let filter = TypeFilter::of(pattern);
    let (TypeFilter::Shaped(shape), Some(order)) = (&filter, order) else { return Ok(filter) };
    let range = shape.range.as_ref().filter(|_| order == TypeOrder::Bytes);
    let types = recorded(connection, order, range).await?;
    Ok(if types.len() > MAX_TYPES { filter } else { TypeFilter::among(pattern, types) })
}

/// The types in a range, or all, and perhaps one behind it; one more than [`MAX_TYPES`] at most. Each is one step in the
/// index.
async fn recorded(
    connection: &mut PgConnection,
    order: TypeOrder,
    range: Option<&(String, String)>,
) -> sqlx::Result<Vec<String>> {
    const FROM: &str = "SELECT history.event_type FROM living_map_history AS history WHERE history.event_type";
    let mut sql = QueryBuilder::<Postgres>::new("WITH RECURSIVE types (event_type) AS ((");
    sql.push(FROM);
    match range {
        Some((from, _)) => sql.push(" ~>=~ ").push_bind(from.clone()),
        None => sql.push(" IS NOT NULL"),
    };
    sql.push(order.order()).push(") UNION ALL SELECT (").push(FROM).push(order.behind()).push("types.event_type");
    sql.push(order.order()).push(") FROM types WHERE types.event_type IS NOT NULL");
    if let Some((_, to)) = range {
        sql.push(" AND types.event_type ~<~ ").push_bind(to.clone());
    }
    sql.push(") SELECT event_type FROM types WHERE event_type IS NOT NULL LIMIT ");
    sql.push_bind(i64::try_from(MAX_TYPES + 1).unwrap_or(i64::MAX));
    let rows = connection.fetch_all(sql.build()).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
