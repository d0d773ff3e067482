//! Deleting what is old, a little at a time.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Executor};

/// From the beginning of the table log: looks at `?3` rows at most, and never at the newest.
const DELETE_FROM_LOG: &str = "
DELETE FROM living_map_history WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, logged_at FROM living_map_history
        WHERE epoch = ?1 AND seq < (SELECT max(seq) FROM living_map_history WHERE epoch = ?1)
        ORDER BY seq LIMIT ?3
    )
    WHERE logged_at < ?2
)";

const DELETE_OTHERS: &str = r#"
DELETE FROM living_map_history WHERE rowid IN (
    SELECT rowid FROM living_map_history WHERE "timestamp" < ?2 AND epoch IS NOT ?1 ORDER BY "timestamp" LIMIT ?3
)"#;

/// Deletes at most `limit` rows; the number deleted.
pub async fn delete_before(connection: &mut SqliteConnection, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64> {
    let epoch: Option<i64> =
        sqlx::query_scalar("SELECT epoch FROM living_map_table_log").fetch_optional(&mut *connection).await?;
    let (limit, before) = (u64::from(limit), before.timestamp_micros());
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut deleted = 0;
    if let Some(epoch) = epoch {
        let query = sqlx::query(DELETE_FROM_LOG).bind(epoch).bind(before).bind(limit.cast_signed());
        deleted += transaction.execute(query).await?.rows_affected();
    }
    if deleted < limit {
        let query = sqlx::query(DELETE_OTHERS).bind(epoch).bind(before).bind((limit - deleted).cast_signed());
        deleted += transaction.execute(query).await?.rows_affected();
    }
    transaction.commit().await?;
    shrink(connection).await?;
    Ok(deleted)
}

/// Gives free pages back to the system, but keeps some: new rows need them.
async fn shrink(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    const KEPT_PAGES: i64 = 4_096;
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    if free > KEPT_PAGES {
        // in bounded steps: nobody can write meanwhile
        connection.execute("PRAGMA incremental_vacuum(1024)").await?;
    }
    Ok(())
}
