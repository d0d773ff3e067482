//! Messages to webhooks.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, Row};
use tokio::time::timeout;

use super::Postgres;
use super::connect::{patience, settle, within};
use super::sqlstate::classify;
use crate::history::HistoryError;
use crate::history::outbox::{Claimed, Outbox, OutboxMessage, OutboxPosition, OutboxStanding};
use crate::history::stored::{epoch_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::Cursor;

const POSITION: &str = "
SELECT epoch, seq, state, version, greatest(0, extract(epoch FROM clock_timestamp() - changed_at))::float8
FROM webhook_position";

const FIRST: &str = "
INSERT INTO webhook_position (epoch, seq, state, version) VALUES ($1, $2, $3, $4 + 1) ON CONFLICT DO NOTHING";

const MOVE: &str = "
UPDATE webhook_position SET epoch = $1, seq = $2, state = $3, version = version + 1, changed_at = clock_timestamp()
WHERE version = $4";

const ADD: &str = "
INSERT INTO webhook_outbox (id, destination, alert_id, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";

/// One after the other, by the time at which each row is looked at.
const CLAIM: &str = "
UPDATE webhook_outbox SET attempts = attempts + 1, claimed_until = clock_timestamp() + $2 * interval '1 second'
WHERE id IN (
    SELECT mine.id FROM webhook_outbox AS mine
    WHERE mine.destination = $1 AND mine.status = 'waiting' AND mine.next_at <= clock_timestamp()
        AND (mine.claimed_until IS NULL OR mine.claimed_until <= clock_timestamp())
        AND NOT EXISTS (
            SELECT FROM webhook_outbox AS earlier
            WHERE earlier.destination = $1 AND earlier.status = 'waiting' AND earlier.alert_id = mine.alert_id
                AND earlier.seq < mine.seq)
    ORDER BY mine.seq LIMIT $3 FOR UPDATE OF mine SKIP LOCKED)
RETURNING id, destination, alert_id, body, attempts";

const DELIVERED: &str = "
UPDATE webhook_outbox SET status = 'delivered', error = NULL, claimed_until = NULL, changed_at = clock_timestamp()
WHERE id = $1 AND attempts = $2 AND status = 'waiting'";

const POSTPONE: &str = "
UPDATE webhook_outbox SET next_at = clock_timestamp() + $4 * interval '1 second', error = $3, claimed_until = NULL,
    changed_at = clock_timestamp()
WHERE id = $1 AND attempts = $2 AND status = 'waiting'";

const GIVE_UP: &str = "
UPDATE webhook_outbox SET status = 'dead', error = $3, claimed_until = NULL, changed_at = clock_timestamp()
WHERE id = $1 AND attempts = $2 AND status = 'waiting'";

const STANDING: &str = "
SELECT destination, count(*), min(created_at), (array_agg(error ORDER BY changed_at DESC) FILTER (WHERE error IS NOT NULL))[1]
FROM webhook_outbox WHERE status = 'waiting' GROUP BY destination ORDER BY destination";

const TIDY: &str = "
DELETE FROM webhook_outbox WHERE id IN (
    SELECT id FROM webhook_outbox
    WHERE changed_at < clock_timestamp() - $1 * interval '1 second'
        AND (status <> 'waiting' OR destination <> ALL ($2))
    LIMIT $3)";

#[async_trait]
impl Outbox for Postgres {
    async fn position(&self) -> Result<Option<OutboxPosition>, HistoryError> {
        let row = within!(self.readers, self.config.read_timeout, fetch_optional, sqlx::query(POSITION))?;
        row.as_ref().map(position).transpose().map_err(classify)
    }

    async fn advance(
        &self,
        version: i64,
        cursor: Cursor,
        state: &str,
        messages: &[OutboxMessage],
    ) -> Result<bool, HistoryError> {
        let mut connection = self.writers.acquire().await.map_err(classify)?;
        let advancing = async {
            let mut transaction = connection.begin().await?;
            let query = sqlx::query(if version == 0 { FIRST } else { MOVE })
                .bind(epoch_to_sql(cursor.epoch))
                .bind(seq_to_sql(cursor.seq))
                .bind(state)
                .bind(version);
            if transaction.execute(query).await?.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(false);
            }
            for message in messages {
                let query = sqlx::query(ADD)
                    .bind(message.id)
                    .bind(&message.destination)
                    .bind(&message.alert_id)
                    .bind(&message.body);
                transaction.execute(query).await?;
            }
            transaction.commit().await?;
            Ok(true)
        };
        let outcome = timeout(patience(self.config.write_timeout, messages.len() + 2), advancing).await;
        settle(connection, outcome)
    }

    async fn claim(&self, destination: &str, lasting: Duration, limit: u32) -> Result<Vec<Claimed>, HistoryError> {
        let query = sqlx::query(CLAIM).bind(destination).bind(lasting.as_secs_f64()).bind(i64::from(limit));
        let rows = within!(self.writers, self.config.write_timeout, fetch_all, query)?;
        rows.iter().map(claimed).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn delivered(&self, claimed: &Claimed) -> Result<bool, HistoryError> {
        let query = sqlx::query(DELIVERED).bind(claimed.message.id).bind(claimed.attempt.cast_signed());
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected() > 0)
    }

    async fn postpone(&self, claimed: &Claimed, wait: Duration, error: &str) -> Result<bool, HistoryError> {
        let query = sqlx::query(POSTPONE)
            .bind(claimed.message.id)
            .bind(claimed.attempt.cast_signed())
            .bind(error)
            .bind(wait.as_secs_f64());
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected() > 0)
    }

    async fn give_up(&self, claimed: &Claimed, error: &str) -> Result<bool, HistoryError> {
        let query = sqlx::query(GIVE_UP).bind(claimed.message.id).bind(claimed.attempt.cast_signed()).bind(error);
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected() > 0)
    }

    async fn standing(&self) -> Result<Vec<OutboxStanding>, HistoryError> {
        let rows = within!(self.readers, self.config.read_timeout, fetch_all, sqlx::query(STANDING))?;
        let standing = |row: &PgRow| {
            Ok(OutboxStanding {
                destination: row.try_get(0)?,
                waiting: row.try_get::<i64, _>(1)?.unsigned_abs(),
                oldest: row.try_get(2)?,
                error: row.try_get(3)?,
            })
        };
        rows.iter().map(standing).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn tidy(&self, kept: Duration, destinations: &[String], limit: u32) -> Result<u64, HistoryError> {
        let query = sqlx::query(TIDY).bind(kept.as_secs_f64()).bind(destinations).bind(i64::from(limit));
        Ok(within!(self.writers, self.config.write_timeout, execute, query)?.rows_affected())
    }
}

fn position(row: &PgRow) -> sqlx::Result<OutboxPosition> {
    Ok(OutboxPosition {
        cursor: Cursor { epoch: epoch_from_sql(row.try_get(0)?), seq: row.try_get::<i64, _>(1)?.unsigned_abs() },
        state: row.try_get(2)?,
        version: row.try_get(3)?,
        age: Duration::from_secs_f64(row.try_get::<f64, _>(4)?),
    })
}

fn claimed(row: &PgRow) -> sqlx::Result<Claimed> {
    let message = OutboxMessage {
        id: row.try_get(0)?,
        destination: row.try_get(1)?,
        alert_id: row.try_get(2)?,
        body: row.try_get(3)?,
    };
    Ok(Claimed { message, attempt: row.try_get::<i32, _>(4)?.unsigned_abs() })
}
