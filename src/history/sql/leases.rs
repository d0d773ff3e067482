//! The lease store.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::values::{Arg, Column};
use super::{Dialect, SqlStore, micros, timed};
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
        let hold = timed::<DB>(ACQUIRE).arg(name).arg(holder).arg(micros(ttl)).arg(note);
        let acquiring = async |connection: &mut DB::Connection| {
            let mut row = DB::fetch_optional(connection, hold).await?;
            let held = row.is_some();
            if !held {
                row = DB::fetch_optional(connection, sqlx::query(CURRENT).arg(name)).await?;
            }
            let row = row.ok_or(sqlx::Error::RowNotFound)?;
            Ok(Lease { held, token: Column::<i64>::read(&row, 0)?.unsigned_abs(), note: row.read(1)? })
        };
        self.with(&self.pools.leases, self.config.lease_timeout, acquiring).await
    }

    async fn release(&self, name: &str, token: u64) -> Result<bool> {
        let query = timed(RELEASE).arg(name).arg(seq_to_sql(token));
        let release = async |connection: &mut DB::Connection| Ok(DB::execute(connection, query).await? > 0);
        self.with(&self.pools.leases, self.config.lease_timeout, release).await
    }
}
