//! Leases.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Sqlite;
use super::code::classify;
use crate::history::HistoryError;
use crate::history::leases::{Lease, Leases};
use crate::history::stored::seq_to_sql;

/// The time in microseconds, of which the last three digits are always 0.
macro_rules! now {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)"
    };
}

/// `SET` sees the row as it was before.
const HOLD: &str = concat!(
    "INSERT INTO living_map_leases (name, holder, token, expires_at, note) VALUES (?1, ?2, 1, ",
    now!(),
    " + ?3, ?4) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at, \
     note = excluded.note, token = token + (holder <> excluded.holder OR expires_at <= ",
    now!(),
    ") WHERE holder = excluded.holder OR expires_at <= ",
    now!(),
    " RETURNING token"
);

const LOOK: &str = "SELECT token, note FROM living_map_leases WHERE name = ?1";

const GIVE_BACK: &str = concat!(
    "UPDATE living_map_leases SET expires_at = ",
    now!(),
    " WHERE name = ?1 AND token = ?2 AND expires_at > ",
    now!()
);

#[async_trait]
impl Leases for Sqlite {
    async fn hold(&self, name: &str, holder: Uuid, lasting: Duration, note: &str) -> Result<Lease, HistoryError> {
        let micros = i64::try_from(lasting.as_micros()).unwrap_or(i64::MAX / 2);
        let hold = sqlx::query(HOLD).bind(name).bind(holder).bind(micros).bind(note);
        if let Some(row) = self.writer.fetch_optional(hold).await.map_err(classify)? {
            let token = row.try_get::<i64, _>(0).map_err(classify)?.unsigned_abs();
            return Ok(Lease { ours: true, token, note: note.to_owned() });
        }
        let row = self.readers.fetch_one(sqlx::query(LOOK).bind(name)).await.map_err(classify)?;
        let token = row.try_get::<i64, _>(0).map_err(classify)?.unsigned_abs();
        Ok(Lease { ours: false, token, note: row.try_get(1).map_err(classify)? })
    }

    async fn give_back(&self, name: &str, token: u64) -> Result<bool, HistoryError> {
        let give_back = sqlx::query(GIVE_BACK).bind(name).bind(seq_to_sql(token));
        Ok(self.writer.execute(give_back).await.map_err(classify)?.rows_affected() > 0)
    }
}
