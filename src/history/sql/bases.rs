//! The bases of logs.

use sqlx::AssertSqlSafe;

use super::values::{Args, Column, Timestamp};
use super::{Dialect, Session};
use crate::history::bases::{Base, Bases};
use crate::history::snapshots::NewBase;
use crate::history::stored::{cursor_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::{Cursor, Epoch};

pub const BASES: &str = "
SELECT base.seq, base.number, base.carried_epoch, base.carried_seq, saved.logged_at
FROM living_map_bases AS base LEFT JOIN living_map_snapshots AS saved ON saved.epoch = base.epoch
    AND saved.state_version = base.state_version AND saved.seq = base.seq AND saved.state IS NOT NULL
WHERE base.epoch = $1 AND base.state_version BETWEEN $2 AND $3 ORDER BY base.number, base.state_version";

pub const CARRIED_FROM: &str = "
SELECT max(carried_seq) FROM living_map_bases
WHERE carried_epoch = $1 AND epoch <> $1 AND state_version BETWEEN $2 AND $3";

/// Nothing is inserted by a leader that another one has followed.
const INSERT: &str = "
INSERT INTO living_map_bases (epoch, state_version, number, seq, carried_epoch, carried_seq, token, decided_at)
SELECT CAST($1 AS bigint), CAST($2 AS integer), CAST($3 AS bigint), CAST($4 AS bigint), CAST($5 AS bigint), CAST($6 AS bigint),
    CAST($7 AS bigint), {now}
WHERE NOT EXISTS (SELECT 1 FROM living_map_leases WHERE name = $8 AND token > $7)
ON CONFLICT DO NOTHING";

/// Of the bases of one log the first and the newest count.
const DELETE_BETWEEN: &str =
    "DELETE FROM living_map_bases WHERE epoch = $1 AND state_version = $2 AND number > 0 AND number < $3";

/// Statements of [`insert`].
pub const INSERT_STATEMENTS: usize = 3;

/// Rows of [`BASES`] in the order of their numbers. Two releases may have stored the same number, each for itself.
pub fn bases<DB: Dialect>(epoch: Epoch, rows: &[DB::Row]) -> sqlx::Result<Option<Bases>> {
    let base = |row: &DB::Row| -> sqlx::Result<Base> {
        let seq: i64 = row.read(0)?;
        let number: i64 = row.read(1)?;
        Ok(Base {
            cursor: Cursor { epoch, seq: seq.unsigned_abs() },
            number: number.unsigned_abs(),
            carried: cursor_from_sql(row.read(2)?, row.read(3)?),
            logged_at: Column::<Option<Timestamp>>::read(row, 4)?.map(|time| time.0),
        })
    };
    let (Some(first), Some(newest)) = (rows.first(), rows.last()) else { return Ok(None) };
    Ok(Some(Bases { first: base(first)?, newest: base(newest)? }))
}

/// Inserts a base without its snapshot; false if there is one with this number, or a later leader.
pub async fn insert<DB: Dialect>(session: &mut Session<DB>, base: &NewBase) -> sqlx::Result<bool> {
    let (epoch, number) = (epoch_to_sql(base.cursor.epoch), seq_to_sql(base.number));
    let carried = base.carried.map(|carried| (epoch_to_sql(carried.epoch), seq_to_sql(carried.seq))).unzip();
    let sql = INSERT.replace("{now}", DB::NOW);
    let query = sqlx::query(AssertSqlSafe(sql))
        .args((epoch, base.state_version, number, seq_to_sql(base.cursor.seq)))
        .args((carried.0, carried.1, base.fence.token.map(seq_to_sql), base.fence.lease));
    if session.execute(query).await? == 0 {
        return Ok(false);
    }
    let query = sqlx::query(DELETE_BETWEEN).args((epoch, base.state_version, number));
    session.execute(query).await?;
    Ok(true)
}
