//! Counting over time, in one statement.

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, QueryBuilder, Row};

use super::read::push_filters;
use super::types::{self, TypeOrder};
use crate::history::aggregate::{Aggregate, AggregateQuery, Counted, LARGEST, TOTALS};

pub async fn aggregate(
    connection: &mut PgConnection,
    query: &AggregateQuery,
    order: Option<TypeOrder>,
) -> sqlx::Result<Aggregate> {
    let within = query.within();
    let types = types::filter(connection, &within, order).await?;
    if types.is_empty() {
        return Ok(Aggregate::default());
    }
    let width = i64::try_from(query.bucket_micros()).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new("WITH counted AS MATERIALIZED (SELECT ");
    // ordered by bytes, as in SQLite
    sql.push(query.group_by.as_str()).push(r#" COLLATE "C" AS key, date_bin("#);
    sql.push_bind(PgInterval { months: 0, days: 0, microseconds: width }).push(r#", "timestamp", "#);
    sql.push_bind(query.origin).push(") AS bucket, count(*) AS events FROM living_map_history WHERE true");
    push_filters(&mut sql, &within, &types);
    sql.push(TOTALS).push_bind(i64::from(query.groups.max(1))).push(LARGEST);
    let rows = connection.fetch_all(sql.build()).await?;
    let counted = |row: &PgRow| {
        let bucket: DateTime<Utc> = row.try_get(2)?;
        Ok(Counted {
            rank: row.try_get(0)?,
            key: row.try_get(1)?,
            bucket: (bucket - query.origin).num_microseconds().unwrap_or(-1) / width,
            events: row.try_get(3)?,
            groups: row.try_get(4)?,
        })
    };
    let counted: Vec<Counted> = rows.iter().map(counted).collect::<sqlx::Result<_>>()?;
    Ok(Aggregate::of(counted, query.buckets()))
}
