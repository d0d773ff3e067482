//! The outbox of webhook messages.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::QueryBuilder;

use super::events::time;
use super::values::{Arg, Args, Column};
use super::{Dialect, Session, SqlStore, micros, timed};
use crate::history::Result;
use crate::history::outbox::{ClaimedMessage, Outbox, OutboxBacklog, OutboxCheckpoint, OutboxMessage};
use crate::history::stored::{epoch_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::Cursor;

const CHECKPOINT: &str = "SELECT epoch, seq, state, version, changed_at, {now} FROM webhook_position";

const INSERT_CHECKPOINT: &str = "
INSERT INTO webhook_position (singleton, epoch, seq, state, version, changed_at) VALUES (true, $1, $2, $3, $4 + 1, {now})
ON CONFLICT DO NOTHING";

const UPDATE_CHECKPOINT: &str = "
UPDATE webhook_position SET epoch = $1, seq = $2, state = $3, version = version + 1, changed_at = {now}
WHERE version = $4";

const INSERT_MESSAGE: &str = "
INSERT INTO webhook_outbox (id, destination, alert_id, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";

/// The oldest message about each alert, by the time at which its row is looked at.
const CLAIM: &str = "
UPDATE webhook_outbox SET attempts = attempts + 1, claimed_until = {now} + $2{microseconds}
WHERE id IN (
    SELECT mine.id FROM webhook_outbox AS mine
    WHERE mine.destination = $1 AND mine.status = 'waiting' AND mine.next_at <= {now}
        AND (mine.claimed_until IS NULL OR mine.claimed_until <= {now})
        AND NOT EXISTS (
            SELECT 1 FROM webhook_outbox AS earlier
            WHERE earlier.destination = $1 AND earlier.status = 'waiting' AND earlier.alert_id = mine.alert_id
                AND earlier.seq < mine.seq)
    ORDER BY mine.seq LIMIT $3 {skip_locked})
RETURNING id, destination, alert_id, body, attempts";

/// A message is not sent again: it has arrived, or it was given up.
const FINISH: &str = "
UPDATE webhook_outbox SET status = $3, error = $4, claimed_until = NULL, changed_at = {now}
WHERE id = $1 AND attempts = $2 AND status = 'waiting'";

const POSTPONE: &str = "
UPDATE webhook_outbox SET next_at = {now} + $4{microseconds}, error = $3, claimed_until = NULL, changed_at = {now}
WHERE id = $1 AND attempts = $2 AND status = 'waiting'";

const BACKLOG: &str = "
SELECT destination, count(*), min(created_at), (
    SELECT error FROM webhook_outbox AS failed
    WHERE failed.destination = pending.destination AND failed.status = 'waiting' AND failed.error IS NOT NULL
    ORDER BY changed_at DESC LIMIT 1)
FROM webhook_outbox AS pending WHERE status = 'waiting' GROUP BY destination ORDER BY destination";

#[async_trait]
impl<DB: Dialect> Outbox for SqlStore<DB> {
    async fn checkpoint(&self) -> Result<Option<OutboxCheckpoint>> {
        self.fetch_optional(timed(CHECKPOINT), checkpoint::<DB>).await
    }

    async fn advance(&self, version: i64, cursor: Cursor, state: &str, messages: &[OutboxMessage]) -> Result<bool> {
        let advance = async |transaction: &mut Session<DB>| {
            let values = (epoch_to_sql(cursor.epoch), seq_to_sql(cursor.seq), state, version);
            let query = timed(if version == 0 { INSERT_CHECKPOINT } else { UPDATE_CHECKPOINT }).args(values);
            if transaction.execute(query).await? == 0 {
                return Ok(false);
            }
            for message in messages {
                let values =
                    (message.id, message.destination.as_str(), message.alert_id.as_str(), message.body.as_str());
                transaction.execute(sqlx::query(INSERT_MESSAGE).args(values)).await?;
            }
            Ok(true)
        };
        self.transaction(messages.len() + 2, advance).await
    }

    async fn claim(&self, destination: &str, ttl: Duration, limit: u32) -> Result<Vec<ClaimedMessage>> {
        let query = timed(CLAIM).args((destination, micros(ttl), i64::from(limit)));
        let rows = self.rows(&self.pools.writers, self.config.write_timeout, query).await?;
        rows.iter().map(claimed::<DB>).collect::<sqlx::Result<_>>().map_err(DB::classify)
    }

    async fn mark_delivered(&self, claimed: &ClaimedMessage) -> Result<bool> {
        self.changes(timed(FINISH).args((claimed.message.id, claimed.attempt.cast_signed(), "delivered", None::<&str>)))
            .await
    }

    async fn postpone(&self, claimed: &ClaimedMessage, wait: Duration, error: &str) -> Result<bool> {
        let values = (claimed.message.id, claimed.attempt.cast_signed(), error, micros(wait));
        self.changes(timed(POSTPONE).args(values)).await
    }

    async fn mark_dead(&self, claimed: &ClaimedMessage, error: &str) -> Result<bool> {
        self.changes(timed(FINISH).args((claimed.message.id, claimed.attempt.cast_signed(), "dead", error))).await
    }

    async fn backlog(&self) -> Result<Vec<OutboxBacklog>> {
        let backlog = |row: &DB::Row| {
            let (destination, waiting) = (row.read(0)?, Column::<i64>::read(row, 1)?.unsigned_abs());
            Ok(OutboxBacklog { destination, waiting, oldest: time::<DB>(row, 2)?, error: row.read(3)? })
        };
        self.fetch_all(sqlx::query(BACKLOG), backlog).await
    }

    async fn delete_old(&self, retention: Duration, destinations: &[String], limit: u32) -> Result<u64> {
        let mut sql = QueryBuilder::<DB>::new(
            "DELETE FROM webhook_outbox WHERE id IN (SELECT id FROM webhook_outbox WHERE changed_at < ",
        );
        sql.push(DB::NOW).push(" - ").arg(micros(retention)).push(DB::MICROSECONDS);
        DB::push_any(sql.push(" AND (status <> 'waiting' OR NOT destination"), destinations);
        sql.push(") LIMIT ").arg(i64::from(limit)).push(")");
        self.execute(sql.build()).await
    }
}

fn checkpoint<DB: Dialect>(row: &DB::Row) -> sqlx::Result<OutboxCheckpoint> {
    let age = time::<DB>(row, 5)? - time::<DB>(row, 4)?;
    let cursor = Cursor { epoch: epoch_from_sql(row.read(0)?), seq: Column::<i64>::read(row, 1)?.unsigned_abs() };
    Ok(OutboxCheckpoint { cursor, state: row.read(2)?, version: row.read(3)?, age: age.to_std().unwrap_or_default() })
}

fn claimed<DB: Dialect>(row: &DB::Row) -> sqlx::Result<ClaimedMessage> {
    let message =
        OutboxMessage { id: row.read(0)?, destination: row.read(1)?, alert_id: row.read(2)?, body: row.read(3)? };
    Ok(ClaimedMessage { message, attempt: Column::<i32>::read(row, 4)?.unsigned_abs() })
}
