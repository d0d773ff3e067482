//! Leases.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use tokio::time::timeout;
use uuid::Uuid;

use super::Postgres;
use super::connect::{settle, too_late};
use super::sqlstate::classify;
use crate::history::HistoryError;
use crate::history::leases::{Lease, Leases};
use crate::history::stored::seq_to_sql;

/// `now()` is the transaction's beginning; the time at which the row is looked at counts.
const HOLD: &str = "
INSERT INTO living_map_leases AS held (name, holder, token, expires_at, note)
VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 second', $4)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder, expires_at = excluded.expires_at, note = excluded.note,
    token = held.token + (held.holder <> excluded.holder OR held.expires_at <= clock_timestamp())::int
WHERE held.holder = excluded.holder OR held.expires_at <= clock_timestamp()
RETURNING token";

const LOOK: &str = "SELECT token, note FROM living_map_leases WHERE name = $1";

const GIVE_BACK: &str = "UPDATE living_map_leases SET expires_at = clock_timestamp() WHERE name = $1 AND token = $2 AND expires_at > clock_timestamp()";

impl Postgres {
    /// Runs statements on the connection of the leases, within a time that is short beside a lease's.
    async fn leasing<T>(&self, run: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T, HistoryError> {
        let limit = self.config.lease_timeout;
        let connection = timeout(limit, self.leases.acquire()).await;
        let mut connection = connection.map_err(|_| too_late("connect"))?.map_err(classify)?;
        let outcome = timeout(limit, run(&mut connection)).await;
        settle(connection, outcome)
    }
}

#[async_trait]
impl Leases for Postgres {
    async fn hold(&self, name: &str, holder: Uuid, lasting: Duration, note: &str) -> Result<Lease, HistoryError> {
        let hold = sqlx::query(HOLD).bind(name).bind(holder).bind(lasting.as_secs_f64()).bind(note);
        let (row, ours) = self
            .leasing(async |connection| match connection.fetch_optional(hold).await? {
                Some(row) => Ok((row, true)),
                None => Ok((connection.fetch_one(sqlx::query(LOOK).bind(name)).await?, false)),
            })
            .await?;
        let token = row.try_get::<i64, _>(0).map_err(classify)?.unsigned_abs();
        let note = if ours { note.to_owned() } else { row.try_get(1).map_err(classify)? };
        Ok(Lease { ours, token, note })
    }

    async fn give_back(&self, name: &str, token: u64) -> Result<bool, HistoryError> {
        let give_back = sqlx::query(GIVE_BACK).bind(name).bind(seq_to_sql(token));
        Ok(self.leasing(async |connection| connection.execute(give_back).await).await?.rows_affected() > 0)
    }
}
