//! Counting over time, in one statement: by group and bucket, then the largest groups by name and the others together.

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, QueryBuilder, Row};

use super::read::push_filters;
use super::types::{self, TypeOrder};
use crate::history::aggregate::{Aggregate, AggregateQuery, Counted};

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
    let groups = i64::from(query.groups.max(1));
    let mut sql = QueryBuilder::new("WITH counted AS MATERIALIZED (SELECT ");
    sql.push(query.group_by.as_str()).push(" AS key, date_bin(");
    sql.push_bind(PgInterval { months: 0, days: 0, microseconds: width }).push(r#", "timestamp", "#);
    sql.push_bind(query.origin).push(") AS bucket, count(*) AS events FROM living_map_history WHERE true");
    push_filters(&mut sql, &within, &types);
    sql.push(
        r#" GROUP BY 1, 2),
        totals AS (SELECT *, sum(events) OVER (PARTITION BY key) AS total FROM counted),
        ranked AS (SELECT *, dense_rank() OVER (ORDER BY total DESC, key COLLATE "C" NULLS LAST) AS rank FROM totals),
        named AS (SELECT *, rank > "#,
    );
    sql.push_bind(groups).push(
        " AS is_other, max(rank) OVER () AS last FROM ranked)
        SELECT CASE WHEN NOT is_other THEN rank END AS place, CASE WHEN NOT is_other THEN key END, bucket,
            sum(events)::bigint, last
        FROM named GROUP BY 1, 2, 3, 5 ORDER BY 1 NULLS LAST",
    );
    let rows = connection.fetch_all(sql.build()).await?;
    let counted = |row: &PgRow| {
        let bucket: DateTime<Utc> = row.try_get(2)?;
        Ok(Counted {
            rank: row.try_get(0)?,
            key: row.try_get(1)?,
            bucket: (bucket - query.origin).num_microseconds().unwrap_or(-1) / width,
            events: row.try_get(3)?,
            other_groups: row.try_get::<i64, _>(4)? - groups,
        })
    };
    let counted: Vec<Counted> = rows.iter().map(counted).collect::<sqlx::Result<_>>()?;
    Ok(Aggregate::of(counted, query.buckets()))
}
