//! Logs and their epochs; deleting old events. A trigger records from which position a log is complete.

use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;

use super::values::{Arg, Args, Column, Timestamp};
use super::{Dialect, Session};
use crate::history::LogRange;
use crate::history::retention::{Purge, Purged};
use crate::history::stored::{epoch_to_sql, new_epoch, seq_to_sql};
use crate::model::Epoch;

/// The logs that have events: one step in the index for each.
pub const EPOCHS: &str = "
WITH RECURSIVE epochs (epoch) AS (
    SELECT min(epoch) FROM living_map_history WHERE seq IS NOT NULL
    UNION ALL
    SELECT (SELECT min(epoch) FROM living_map_history WHERE epoch > epochs.epoch AND seq IS NOT NULL)
    FROM epochs WHERE epochs.epoch IS NOT NULL
)
SELECT epoch FROM epochs WHERE epoch IS NOT NULL";

/// For [`held`]. Three subqueries, since `SQLite` answers only a single min or max from the index.
pub const HELD: &str = "
SELECT (SELECT min(seq) FROM living_map_history WHERE epoch = $1 AND seq IS NOT NULL),
    (SELECT complete_from FROM living_map_history_complete WHERE epoch = $1),
    (SELECT max(seq) FROM living_map_history WHERE epoch = $1 AND seq IS NOT NULL)";

/// Rows of the log `$1`, except the newest event of the table log, so that its position is not given out again.
macro_rules! deletable {
    () => {
        "epoch = $1 AND seq IS NOT NULL AND ($1 IS DISTINCT FROM (SELECT epoch FROM living_map_table_log)
            OR seq < (SELECT max(seq) FROM living_map_history WHERE epoch = $1 AND seq IS NOT NULL))"
    };
}
pub(in crate::history) use deletable;

const CANDIDATES: &str = concat!(
    "SELECT seq, event_type, logged_at < $3 FROM living_map_history WHERE seq > $2 AND ",
    deletable!(),
    " ORDER BY seq LIMIT $4"
);

/// Deletes at most `limit` rows from the beginning of logs; the number deleted.
pub async fn delete_from_logs<DB: Dialect>(
    session: &mut Session<DB>,
    before: DateTime<Utc>,
    limit: u32,
) -> sqlx::Result<u64> {
    let limit = u64::from(limit);
    let mut deleted = 0;
    let rows = session.fetch_all(sqlx::query(EPOCHS)).await?;
    for row in &rows {
        if deleted < limit {
            let values = (Column::<i64>::read(row, 0)?, Timestamp(before), (limit - deleted).cast_signed());
            deleted += session.execute(sqlx::query(DB::DELETE_FROM_LOG).args(values)).await?;
        }
    }
    Ok(deleted)
}

/// Deletes those of the next events that have expired.
pub async fn purge<DB: Dialect>(session: &mut Session<DB>, purge: &Purge<'_>) -> sqlx::Result<Purged> {
    let epoch = epoch_to_sql(purge.epoch);
    let query = sqlx::query(CANDIDATES).arg(epoch).arg(seq_to_sql(purge.after)).arg(Timestamp(purge.before));
    let rows = session.fetch_all(query.arg(i64::from(purge.limit.max(1)))).await?;
    let (mut last, mut going) = (None, Vec::<i64>::new());
    for row in &rows {
        // the log's time is in order: all events behind the first that is young enough are too
        if Column::<Option<bool>>::read(row, 2)? == Some(false) {
            break;
        }
        let seq: i64 = row.read(0)?;
        last = Some(seq.unsigned_abs());
        if (purge.expired)(&Column::<String>::read(row, 1)?) {
            going.push(seq);
        }
    }
    let mut deleted = 0;
    for positions in going.chunks(DB::LIST_VALUES) {
        let mut sql = QueryBuilder::<DB>::new("DELETE FROM living_map_history WHERE epoch = ");
        sql.push("").arg(epoch).push(" AND seq");
        DB::push_any(&mut sql, positions);
        deleted += session.execute(sql.build().persistent(DB::LISTS_ARE_ARRAYS)).await?;
    }
    DB::release_space(session).await?;
    Ok(Purged { last, deleted })
}

/// A row of [`HELD`].
pub fn held<DB: Dialect>(row: &DB::Row) -> sqlx::Result<Option<LogRange>> {
    let number = |column| Column::<Option<i64>>::read(row, column);
    let (oldest, complete_from, newest) = (number(0)?, number(1)?, number(2)?);
    let first = oldest.map(|oldest| oldest.max(complete_from.unwrap_or(0)).unsigned_abs());
    Ok(first.zip(newest).map(|(first, newest)| LogRange { first, last: newest.unsigned_abs() }))
}

/// Every table that refers to a log.
const REFERENCES: [&str; 9] = [
    "UPDATE living_map_history SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_history_complete SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_snapshots SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_bases SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_bases SET carried_epoch = $1 WHERE carried_epoch = $2",
    "UPDATE dead_letters SET epoch = $1 WHERE epoch = $2",
    "UPDATE agent_lesson_positions SET epoch = $1 WHERE epoch = $2",
    "UPDATE webhook_position SET epoch = $1 WHERE epoch = $2",
    "UPDATE living_map_table_log SET epoch = $1 WHERE epoch = $2",
];

/// Gives the table log `old` a new epoch, to which everything that refers to it moves.
pub async fn change_epoch<DB: Dialect>(transaction: &mut Session<DB>, old: Epoch) -> sqlx::Result<Epoch> {
    let new = new_epoch();
    for statement in REFERENCES {
        transaction.execute(sqlx::query(statement).args((epoch_to_sql(new), epoch_to_sql(old)))).await?;
    }
    Ok(new)
}
