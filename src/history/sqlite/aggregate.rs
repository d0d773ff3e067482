//! Counting over time, in one statement.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Executor, QueryBuilder, Row};

use super::read::push_filters;
use super::types;
use crate::history::aggregate::{Aggregate, AggregateQuery, Counted, LARGEST, TOTALS};

pub async fn aggregate(connection: &mut SqliteConnection, query: &AggregateQuery) -> sqlx::Result<Aggregate> {
    let within = query.within();
    let types = types::filter(connection, &within).await?;
    if types.is_empty() {
        return Ok(Aggregate::default());
    }
    let mut sql = QueryBuilder::new("WITH counted AS MATERIALIZED (SELECT ");
    // never negative: nothing before the origin is counted
    sql.push(query.group_by.as_str()).push(r#" AS key, ("timestamp" - "#);
    sql.push_bind(query.origin.timestamp_micros()).push(") / ");
    sql.push_bind(i64::try_from(query.bucket_micros()).unwrap_or(i64::MAX));
    sql.push(" AS bucket, count(*) AS events FROM living_map_history WHERE true");
    push_filters(&mut sql, &within, &types);
    sql.push(TOTALS).push_bind(i64::from(query.groups.max(1))).push(LARGEST);
    let rows = connection.fetch_all(sql.build()).await?;
    let counted = |row: &SqliteRow| {
        Ok(Counted {
            rank: row.try_get(0)?,
            key: row.try_get(1)?,
            bucket: row.try_get(2)?,
            events: row.try_get(3)?,
            groups: row.try_get(4)?,
        })
    };
    let counted: Vec<Counted> = rows.iter().map(counted).collect::<sqlx::Result<_>>()?;
    Ok(Aggregate::of(counted, query.buckets()))
}
