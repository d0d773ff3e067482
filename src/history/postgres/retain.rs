//! Deleting what is old, a little at a time. A trigger notes from where on a log is complete.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use crate::history::retention::{Sweep, Swept};
use crate::history::stored::{epoch_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::Epoch;

/// One step in the index for each.
const EPOCHS: &str = "
WITH RECURSIVE epochs (epoch) AS (
    SELECT min(epoch) FROM living_map_history WHERE seq IS NOT NULL
    UNION ALL
    SELECT (SELECT min(epoch) FROM living_map_history WHERE epoch > epochs.epoch AND seq IS NOT NULL)
    FROM epochs WHERE epochs.epoch IS NOT NULL
)
SELECT epoch FROM epochs WHERE epoch IS NOT NULL";

/// The newest event of the table log stays; those of other logs need not.
macro_rules! not_the_newest {
    () => {
        "(epoch IS DISTINCT FROM (SELECT epoch FROM living_map_table_log)
            OR seq < (SELECT max(seq) FROM living_map_history WHERE epoch = $1 AND seq IS NOT NULL))"
    };
}

/// From the beginning of a log: looks at `$3` rows at most.
const DELETE_FROM_LOG: &str = concat!(
    "
DELETE FROM living_map_history WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM (
        SELECT ctid, logged_at FROM living_map_history
        WHERE epoch = $1 AND seq IS NOT NULL AND ",
    not_the_newest!(),
    "
        ORDER BY seq LIMIT $3
    ) AS oldest
    WHERE logged_at < $2
))"
);

/// Rows locked by others are left for the next time: nobody waits for us, and we wait for nobody. Rows from before there
/// was a log are as old as their adoption: a server that takes an old one's place deletes nothing of it at its first
/// start, when whoever put it there may still think about `HISTORY_RETENTION_DAYS`.
const DELETE_ADOPTED: &str = r#"
DELETE FROM living_map_history WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM living_map_history
    WHERE "timestamp" < $1 AND epoch IS NULL AND (SELECT min(installed_on) FROM living_map_migrations) < $1
    ORDER BY "timestamp" LIMIT $2
    FOR UPDATE SKIP LOCKED
))"#;

const LOOK_AT: &str = concat!(
    "
SELECT seq, event_type, logged_at < $3 FROM living_map_history
WHERE epoch = $1 AND seq > $2 AND ",
    not_the_newest!(),
    "
ORDER BY seq LIMIT $4"
);

const DELETE_POSITIONS: &str = "DELETE FROM living_map_history WHERE epoch = $1 AND seq = ANY ($2)";

/// Statements that deleting or sweeping once is at most, beside one for each log.
pub const STATEMENTS: usize = 3;

pub async fn epochs(connection: &mut PgConnection) -> sqlx::Result<Vec<Epoch>> {
    let epochs: Vec<i64> = sqlx::query_scalar(EPOCHS).fetch_all(connection).await?;
    Ok(epochs.into_iter().map(epoch_from_sql).collect())
}

/// Deletes at most `limit` rows; the number deleted.
pub async fn delete_before(connection: &mut PgConnection, before: DateTime<Utc>, limit: u32) -> sqlx::Result<u64> {
    let limit = u64::from(limit);
    let mut deleted = 0;
    for epoch in epochs(connection).await? {
        if deleted < limit {
            let rows = (limit - deleted).cast_signed();
            let query = sqlx::query(DELETE_FROM_LOG).bind(epoch_to_sql(epoch)).bind(before).bind(rows);
            deleted += connection.execute(query).await?.rows_affected();
        }
    }
    if deleted < limit {
        let query = sqlx::query(DELETE_ADOPTED).bind(before).bind((limit - deleted).cast_signed());
        deleted += connection.execute(query).await?.rows_affected();
    }
    Ok(deleted)
}

pub async fn sweep(connection: &mut PgConnection, sweep: &Sweep<'_>) -> sqlx::Result<Swept> {
    let epoch = epoch_to_sql(sweep.epoch);
    let query = sqlx::query(LOOK_AT).bind(epoch).bind(seq_to_sql(sweep.after)).bind(sweep.before);
    let rows = connection.fetch_all(query.bind(i64::from(sweep.limit.max(1)))).await?;
    let (mut last, mut going) = (None, Vec::new());
    for row in rows {
        // the log's time is in order: behind the first that is young enough all are
        if row.try_get::<Option<bool>, _>(2)? == Some(false) {
            break;
        }
        let seq: i64 = row.try_get(0)?;
        last = Some(seq.unsigned_abs());
        if (sweep.goes)(row.try_get(1)?) {
            going.push(seq);
        }
    }
    let mut deleted = 0;
    if !going.is_empty() {
        let query = sqlx::query(DELETE_POSITIONS).bind(epoch).bind(going);
        deleted = connection.execute(query).await?.rows_affected();
    }
    Ok(Swept { last, deleted })
}
