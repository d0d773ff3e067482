//! Messages to webhooks.

use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, QueryBuilder, Row};

use super::Sqlite;
use super::code::classify;
use super::read::time;
use crate::history::HistoryError;
use crate::history::outbox::{Claimed, Outbox, OutboxMessage, OutboxPosition, OutboxStanding};
use crate::history::stored::{epoch_from_sql, epoch_to_sql, seq_to_sql};
use crate::model::Cursor;

const POSITION: &str = "SELECT epoch, seq, state, version, changed_at FROM webhook_position";

const FIRST: &str = "
INSERT INTO webhook_position (singleton, epoch, seq, state, version, changed_at) VALUES (1, ?1, ?2, ?3, ?4 + 1, ?5)
ON CONFLICT DO NOTHING";

const MOVE: &str = "
UPDATE webhook_position SET epoch = ?1, seq = ?2, state = ?3, version = version + 1, changed_at = ?5 WHERE version = ?4";

const ADD: &str = "
INSERT INTO webhook_outbox (id, destination, alert_id, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";

const CLAIM: &str = "
UPDATE webhook_outbox SET attempts = attempts + 1, claimed_until = ?2 + ?3
WHERE id IN (
    SELECT mine.id FROM webhook_outbox AS mine
    WHERE mine.destination = ?1 AND mine.status = 'waiting' AND mine.next_at <= ?2
        AND (mine.claimed_until IS NULL OR mine.claimed_until <= ?2)
        AND NOT EXISTS (
            SELECT 1 FROM webhook_outbox AS earlier
            WHERE earlier.destination = ?1 AND earlier.status = 'waiting' AND earlier.alert_id = mine.alert_id
                AND earlier.seq < mine.seq)
    ORDER BY mine.seq LIMIT ?4)
RETURNING id, destination, alert_id, body, attempts";

const DELIVERED: &str = "
UPDATE webhook_outbox SET status = 'delivered', error = NULL, claimed_until = NULL, changed_at = ?3
WHERE id = ?1 AND attempts = ?2 AND status = 'waiting'";

const POSTPONE: &str = "
UPDATE webhook_outbox SET next_at = ?3 + ?5, error = ?4, claimed_until = NULL, changed_at = ?3
WHERE id = ?1 AND attempts = ?2 AND status = 'waiting'";

const GIVE_UP: &str = "
UPDATE webhook_outbox SET status = 'dead', error = ?4, claimed_until = NULL, changed_at = ?3
WHERE id = ?1 AND attempts = ?2 AND status = 'waiting'";

const STANDING: &str = "
SELECT destination, count(*), min(created_at), (
    SELECT error FROM webhook_outbox AS failed
    WHERE failed.destination = each.destination AND failed.status = 'waiting' AND failed.error IS NOT NULL
    ORDER BY changed_at DESC LIMIT 1)
FROM webhook_outbox AS each WHERE status = 'waiting' GROUP BY destination ORDER BY destination";

#[async_trait]
impl Outbox for Sqlite {
    async fn position(&self) -> Result<Option<OutboxPosition>, HistoryError> {
        let row = self.readers.fetch_optional(sqlx::query(POSITION)).await.map_err(classify)?;
        row.as_ref().map(position).transpose().map_err(classify)
    }

    async fn advance(
        &self,
        version: i64,
        cursor: Cursor,
        state: &str,
        messages: &[OutboxMessage],
    ) -> Result<bool, HistoryError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(classify)?;
        let query = sqlx::query(if version == 0 { FIRST } else { MOVE })
            .bind(epoch_to_sql(cursor.epoch))
            .bind(seq_to_sql(cursor.seq))
            .bind(state)
            .bind(version)
            .bind(now());
        if transaction.execute(query).await.map_err(classify)?.rows_affected() == 0 {
            transaction.rollback().await.map_err(classify)?;
            return Ok(false);
        }
        for message in messages {
            let query = sqlx::query(ADD)
                .bind(message.id)
                .bind(&message.destination)
                .bind(&message.alert_id)
                .bind(&message.body);
            transaction.execute(query).await.map_err(classify)?;
        }
        transaction.commit().await.map_err(classify)?;
        Ok(true)
    }

    async fn claim(&self, destination: &str, lasting: Duration, limit: u32) -> Result<Vec<Claimed>, HistoryError> {
        let query = sqlx::query(CLAIM).bind(destination).bind(now()).bind(micros(lasting)).bind(limit);
        let rows = self.writer.fetch_all(query).await.map_err(classify)?;
        rows.iter().map(claimed).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn delivered(&self, claimed: &Claimed) -> Result<bool, HistoryError> {
        let query = sqlx::query(DELIVERED).bind(claimed.message.id).bind(claimed.attempt).bind(now());
        Ok(self.writer.execute(query).await.map_err(classify)?.rows_affected() > 0)
    }

    async fn postpone(&self, claimed: &Claimed, wait: Duration, error: &str) -> Result<bool, HistoryError> {
        let query = sqlx::query(POSTPONE)
            .bind(claimed.message.id)
            .bind(claimed.attempt)
            .bind(now())
            .bind(error)
            .bind(micros(wait));
        Ok(self.writer.execute(query).await.map_err(classify)?.rows_affected() > 0)
    }

    async fn give_up(&self, claimed: &Claimed, error: &str) -> Result<bool, HistoryError> {
        let query = sqlx::query(GIVE_UP).bind(claimed.message.id).bind(claimed.attempt).bind(now()).bind(error);
        Ok(self.writer.execute(query).await.map_err(classify)?.rows_affected() > 0)
    }

    async fn standing(&self) -> Result<Vec<OutboxStanding>, HistoryError> {
        let rows = self.readers.fetch_all(sqlx::query(STANDING)).await.map_err(classify)?;
        let standing = |row: &SqliteRow| {
            Ok(OutboxStanding {
                destination: row.try_get(0)?,
                waiting: row.try_get::<i64, _>(1)?.unsigned_abs(),
                oldest: time(row, 2)?,
                error: row.try_get(3)?,
            })
        };
        rows.iter().map(standing).collect::<sqlx::Result<_>>().map_err(classify)
    }

    async fn tidy(&self, kept: Duration, destinations: &[String], limit: u32) -> Result<u64, HistoryError> {
        let mut sql = QueryBuilder::new(
            "DELETE FROM webhook_outbox WHERE seq IN (SELECT seq FROM webhook_outbox WHERE changed_at < ",
        );
        sql.push_bind(now() - micros(kept)).push(" AND (status <> 'waiting' OR destination NOT IN (");
        let mut names = sql.separated(", ");
        for name in destinations {
            names.push_bind(name);
        }
        sql.push(")) LIMIT ").push_bind(limit).push(")");
        Ok(self.writer.execute(sql.build()).await.map_err(classify)?.rows_affected())
    }
}

fn now() -> i64 {
    Utc::now().timestamp_micros()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

fn position(row: &SqliteRow) -> sqlx::Result<OutboxPosition> {
    let age = now() - row.try_get::<i64, _>(4)?;
    Ok(OutboxPosition {
        cursor: Cursor { epoch: epoch_from_sql(row.try_get(0)?), seq: row.try_get::<i64, _>(1)?.unsigned_abs() },
        state: row.try_get(2)?,
        version: row.try_get(3)?,
        age: Duration::from_micros(u64::try_from(age).unwrap_or(0)),
    })
}

fn claimed(row: &SqliteRow) -> sqlx::Result<Claimed> {
    let message = OutboxMessage {
        id: row.try_get(0)?,
        destination: row.try_get(1)?,
        alert_id: row.try_get(2)?,
        body: row.try_get(3)?,
    };
    Ok(Claimed { message, attempt: row.try_get(4)? })
}
