//! The table log: its epoch, the lock of its writer, and whether the file is another copy of it.

use std::io;

use async_trait::async_trait;
use sqlx::{Executor, Sqlite, SqliteConnection};

use super::SqliteStore;
use super::file::{self, HighWaterMark};
use crate::history::sql::TableLog;
use crate::history::sql::logs::move_references;
use crate::history::stored::{epoch_from_sql, epoch_to_sql, new_epoch};
use crate::history::{History, HistoryError, Result};
use crate::model::{Cursor, Epoch};

fn unavailable(error: io::Error) -> HistoryError {
    HistoryError::Unavailable(error.into())
}

#[async_trait]
impl TableLog for Sqlite {
    async fn epoch(connection: &mut SqliteConnection) -> sqlx::Result<Epoch> {
        let insert = "INSERT INTO living_map_table_log (singleton, epoch) VALUES (1, ?) ON CONFLICT DO NOTHING";
        connection.execute(sqlx::query(insert).bind(epoch_to_sql(new_epoch()))).await?;
        sqlx::query_scalar("SELECT epoch FROM living_map_table_log").fetch_one(connection).await.map(epoch_from_sql)
    }

    async fn lock(store: &SqliteStore) -> Result<bool> {
        let mut mark = store.engine.high_water_mark();
        if mark.is_none() {
            *mark = file::lock(&store.engine.path).map_err(unavailable)?.map(HighWaterMark::new);
        }
        Ok(mark.is_some())
    }

    async fn copy(store: &SqliteStore) -> Result<Option<String>> {
        let epoch = store.table_epoch().await?;
        let last = store.log_range(epoch).await?.map_or(0, |held| held.last);
        let mark = store.engine.high_water_mark();
        let Some(mark) = &*mark else { return Ok(None) };
        let here = Cursor { epoch, seq: last };
        match mark.read().map_err(unavailable)? {
            Some(known) if known.epoch == epoch && known.seq <= last => Ok(None),
            Some(known) => Ok(Some(format!("the log had reached {known}, and the file ends at {here}"))),
            // a new file, or one from which no client can have a position
            None if last == 0 => mark.record_first(here).map_err(unavailable).map(|()| None),
            None => Ok(Some("the lock file has no position of this log".to_owned())),
        }
    }

    async fn change_epoch(store: &SqliteStore) -> Result<Epoch> {
        let old = store.table_epoch().await?;
        let epoch = new_epoch();
        let renewing = async |transaction: &mut SqliteConnection| {
            move_references::<Self>(transaction, old, epoch).await?;
            let query = sqlx::query("UPDATE living_map_table_log SET epoch = ?1 WHERE epoch = ?2");
            transaction.execute(query.bind(epoch_to_sql(epoch)).bind(epoch_to_sql(old))).await
        };
        store.transaction(1, renewing).await?;
        let seq = store.log_range(epoch).await?.map_or(0, |held| held.last);
        if let Some(mark) = &*store.engine.high_water_mark() {
            mark.record_first(Cursor { epoch, seq }).map_err(unavailable)?;
        }
        Ok(epoch)
    }
}
