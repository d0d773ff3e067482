//! Deleting what is old, a little at a time. A trigger notes from where on a log is complete.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Executor, QueryBuilder, Row};

use super::read::time;
use crate::history::retention::{Sweep, Swept};
use crate::history::stored::{epoch_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::Epoch;

/// One step in the index for each.
const EPOCHS: &str = "
WITH RECURSIVE epochs (epoch) AS (
    SELECT min(epoch) FROM living_map_history
    UNION ALL
    SELECT (SELECT min(epoch) FROM living_map_history WHERE epoch > epochs.epoch)
    FROM epochs WHERE epochs.epoch IS NOT NULL
)
SELECT epoch FROM epochs WHERE epoch IS NOT NULL";

/// The newest event of the table log stays; those of other logs need not.
macro_rules! not_the_newest {
    () => {
        "(?1 IS NOT (SELECT epoch FROM living_map_table_log)
            OR seq < (SELECT max(seq) FROM living_map_history WHERE epoch = ?1))"
    };
}

/// From the beginning of a log: looks at `?3` rows at most.
const DELETE_FROM_LOG: &str = concat!(
    "
DELETE FROM living_map_history WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, logged_at FROM living_map_history
        WHERE epoch = ?1 AND ",
    not_the_newest!(),
    "
        ORDER BY seq LIMIT ?3
    )
    WHERE logged_at < ?2
)"
);

const LOOK_AT: &str = concat!(
    "
SELECT seq, event_type, logged_at FROM living_map_history
WHERE epoch = ?1 AND seq > ?2 AND ",
    not_the_newest!(),
    "
ORDER BY seq LIMIT ?3"
);

/// Positions in one statement; `SQLite` takes at most 32,766 values.
const POSITIONS: usize = 1_000;

pub async fn epochs(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Epoch>> {
    let epochs: Vec<i64> = sqlx::query_scalar(EPOCHS).fetch_all(connection).await?;
    Ok(epochs.into_iter().map(epoch_from_sql).collect())
}

/// Deletes at most `limit` rows; the number deleted.
pub async fn delete_before(connection: &mut SqliteConnection, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64> {
    let (limit, before) = (u64::from(limit), before.timestamp_micros());
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut deleted = 0;
    for epoch in epochs(&mut transaction).await? {
        if deleted < limit {
            let rows = (limit - deleted).cast_signed();
            let query = sqlx::query(DELETE_FROM_LOG).bind(epoch_to_sql(epoch)).bind(before).bind(rows);
            deleted += transaction.execute(query).await?.rows_affected();
        }
    }
    transaction.commit().await?;
    shrink(connection).await?;
    Ok(deleted)
}

pub async fn sweep(connection: &mut SqliteConnection, sweep: &Sweep<'_>) -> sqlx::Result<Swept> {
    let epoch = epoch_to_sql(sweep.epoch);
    let query = sqlx::query(LOOK_AT).bind(epoch).bind(seq_to_sql(sweep.after)).bind(i64::from(sweep.limit.max(1)));
    let rows = connection.fetch_all(query).await?;
    let (mut last, mut going) = (None, Vec::<i64>::new());
    for row in &rows {
        // the log's time is in order: behind the first that is young enough all are
        if time(row, 2)? >= sweep.before {
            break;
        }
        let seq: i64 = row.try_get(0)?;
        last = Some(seq.unsigned_abs());
        if (sweep.goes)(row.try_get(1)?) {
            going.push(seq);
        }
    }
    let mut deleted = 0;
    for positions in going.chunks(POSITIONS) {
        let mut sql = QueryBuilder::new("DELETE FROM living_map_history WHERE epoch = ");
        sql.push_bind(epoch).push(" AND seq IN (");
        let mut list = sql.separated(", ");
        for seq in positions {
            list.push_bind(*seq);
        }
        sql.push(")");
        // its text depends on the number of positions: not worth keeping
        deleted += connection.execute(sql.build().persistent(false)).await?.rows_affected();
    }
    shrink(connection).await?;
    Ok(Swept { last, deleted })
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
