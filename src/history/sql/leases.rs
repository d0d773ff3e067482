//! The lease store.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::values::{Arg, Column};
use super::{Dialect, Session, SqlStore, micros, timed};
use crate::history::Result;
use crate::history::leases::{Lease, Leases};
use crate::history::stored::seq_to_sql;

/// The time at which the row is locked counts. `SET` sees the row as it was before.
const ACQUIRE: &str = "
INSERT INTO living_map_leases AS held (name, holder, token, expires_at, note) VALUES ($1, $2, 1, {now} + $3{microseconds}, $4)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder, expires_at = excluded.expires_at, note = excluded.note,
    token = held.token + CASE WHEN held.holder <> excluded.holder OR held.expires_at <= {now} THEN 1 ELSE 0 END
WHERE held.holder = excluded.holder OR held.expires_at <= {now}
RETURNING token, note";

const CURRENT: &str = "SELECT token, note FROM living_map_leases WHERE name = $1";

const RELEASE: &str =
    "UPDATE living_map_leases SET expires_at = {now} WHERE name = $1 AND token = $2 AND expires_at > {now}";

#[async_trait]
impl<DB: Dialect> Leases for SqlStore<DB> {
    async fn acquire(&self, name: &str, holder: Uuid, ttl: Duration, note: &str) -> Result<Lease> {
        let acquiring = async |session: &mut Session<DB>| acquire(session, name, holder, ttl, note).await;
        self.pools.leases.with(self.config.lease_timeout, acquiring).await
    }

    async fn release(&self, name: &str, token: u64) -> Result<bool> {
        let query = timed(RELEASE).arg(name).arg(seq_to_sql(token));
        let release = async |session: &mut Session<DB>| Ok(session.execute(query).await? > 0);
        self.pools.leases.with(self.config.lease_timeout, release).await
    }
}

/// Acquires or renews a lease, see [`Leases::acquire`].
pub async fn acquire<DB: Dialect>(
    session: &mut Session<DB>,
    name: &str,
    holder: Uuid,
    ttl: Duration,
    note: &str,
) -> sqlx::Result<Lease> {
    let hold = timed::<DB>(ACQUIRE).arg(name).arg(holder).arg(micros(ttl)).arg(note);
    let mut row = session.fetch_optional(hold).await?;
    let held = row.is_some();
    if !held {
        row = session.fetch_optional(sqlx::query(CURRENT).arg(name)).await?;
    }
    let row = row.ok_or(sqlx::Error::RowNotFound)?;
    Ok(Lease { held, token: Column::<i64>::read(&row, 0)?.unsigned_abs(), note: row.read(1)? })
}
