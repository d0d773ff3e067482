//! Deleting what is old, a little at a time.

use chrono::{DateTime, Utc};
use sqlx::Executor;
use sqlx::postgres::PgConnection;

/// From the beginning of the table log: looks at `$3` rows at most, and never at the newest.
const DELETE_FROM_LOG: &str = "
DELETE FROM living_map_history WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM (
        SELECT ctid, logged_at FROM living_map_history
        WHERE epoch = $1 AND seq < (SELECT max(seq) FROM living_map_history WHERE epoch = $1)
        ORDER BY seq LIMIT $3
    ) AS oldest
    WHERE logged_at < $2
))";

/// Rows locked by others are left for the next time: nobody waits for us, and we wait for nobody. Rows from before there
/// was a log are as old as their adoption: a server that takes an old one's place deletes nothing of it at its first
/// start, when whoever put it there may still think about `HISTORY_RETENTION_DAYS`.
const DELETE_OTHERS: &str = r#"
DELETE FROM living_map_history WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM living_map_history
    WHERE "timestamp" < $2 AND ($1::bigint IS NULL OR epoch IS DISTINCT FROM $1)
        AND (epoch IS NOT NULL OR (SELECT min(installed_on) FROM living_map_migrations) < $2)
    ORDER BY "timestamp" LIMIT $3
    FOR UPDATE SKIP LOCKED
))"#;

/// Deletes at most `limit` rows; the number deleted.
pub async fn delete_before(connection: &mut PgConnection, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64> {
    let epoch: Option<i64> =
        sqlx::query_scalar("SELECT epoch FROM living_map_table_log").fetch_optional(&mut *connection).await?;
    let limit = u64::from(limit);
    let mut deleted = 0;
    if let Some(epoch) = epoch {
        let query = sqlx::query(DELETE_FROM_LOG).bind(epoch).bind(before).bind(limit.cast_signed());
        deleted += connection.execute(query).await?.rows_affected();
    }
    if deleted < limit {
        let query = sqlx::query(DELETE_OTHERS).bind(epoch).bind(before).bind((limit - deleted).cast_signed());
        deleted += connection.execute(query).await?.rows_affected();
    }
    Ok(deleted)
}
