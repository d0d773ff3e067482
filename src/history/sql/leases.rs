//! Leases.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::values::{Arg, Column};
use super::{Dialect, SqlStore, Work, finish, micros, timed, timed_out, within};
use crate::history::Result;
use crate::history::leases::{Lease, Leases};
use crate::history::stored::seq_to_sql;

/// The time at which the row is locked counts. `SET` sees the row as it was before.
const HOLD: &str = "
INSERT INTO living_map_leases AS held (name, holder, token, expires_at, note) VALUES ($1, $2, 1, {now} + $3{microseconds}, $4)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder, expires_at = excluded.expires_at, note = excluded.note,
    token = held.token + CASE WHEN held.holder <> excluded.holder OR held.expires_at <= {now} THEN 1 ELSE 0 END
WHERE held.holder = excluded.holder OR held.expires_at <= {now}
RETURNING token, note";

const LOOK: &str = "SELECT token, note FROM living_map_leases WHERE name = $1";

const GIVE_BACK: &str =
    "UPDATE living_map_leases SET expires_at = {now} WHERE name = $1 AND token = $2 AND expires_at > {now}";

impl<DB: Dialect> SqlStore<DB> {
    /// Does `work` on a connection for leases, within a time that is short beside a lease's.
    async fn lease_with<T>(&self, work: impl Work<DB, T>) -> Result<T> {
        let limit = self.config.lease_timeout;
        let connection = within::<DB, _>(limit, self.pools.leases.acquire()).await;
        let mut connection = connection.map_err(|_| timed_out::<DB>("connect"))?.map_err(DB::classify)?;
        let outcome = within::<DB, _>(limit, work(&mut connection)).await;
        finish(connection, outcome)
    }
}

#[async_trait]
impl<DB: Dialect> Leases for SqlStore<DB> {
    async fn hold(&self, name: &str, holder: Uuid, lasting: Duration, note: &str) -> Result<Lease> {
        let hold = timed::<DB>(HOLD).arg(name).arg(holder).arg(micros(lasting)).arg(note);
        let leasing = async |connection: &mut DB::Connection| {
            let mut row = DB::fetch_optional(connection, hold).await?;
            let ours = row.is_some();
            if !ours {
                row = DB::fetch_optional(connection, sqlx::query(LOOK).arg(name)).await?;
            }
            let row = row.ok_or(sqlx::Error::RowNotFound)?;
            Ok(Lease { ours, token: Column::<i64>::read(&row, 0)?.unsigned_abs(), note: row.read(1)? })
        };
        self.lease_with(leasing).await
    }

    async fn give_back(&self, name: &str, token: u64) -> Result<bool> {
        let give_back = timed(GIVE_BACK).arg(name).arg(seq_to_sql(token));
        Ok(self.lease_with(async |connection: &mut DB::Connection| DB::execute(connection, give_back).await).await? > 0)
    }
}
