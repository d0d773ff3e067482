//! The table log: its epoch, the lock of its writer, and whether the file is another copy of it.

use std::io;

use async_trait::async_trait;
use sqlx::Sqlite;

use super::SqliteStore;
use super::file;
use crate::history::sql::Session;
use crate::history::sql::logs::change_epoch;
use crate::history::sql::values::Column;
use crate::history::stored::{epoch_from_sql, epoch_to_sql, new_epoch};
use crate::history::{History, HistoryError, Result, TableLogStore};
use crate::model::{Cursor, Epoch};

fn unavailable(error: io::Error) -> HistoryError {
    HistoryError::Unavailable(error.into())
}

#[async_trait]
impl TableLogStore for SqliteStore {
    async fn table_epoch(&self) -> Result<Epoch> {
        const INSERT: &str = "INSERT INTO living_map_table_log (singleton, epoch) VALUES (1, ?) ON CONFLICT DO NOTHING";
        let reading = async |session: &mut Session<Sqlite>| {
            session.execute(sqlx::query(INSERT).bind(epoch_to_sql(new_epoch()))).await?;
            let row = session.fetch_one(sqlx::query("SELECT epoch FROM living_map_table_log")).await?;
            row.read(0).map(epoch_from_sql)
        };
        self.write_with(2, reading).await
    }

    async fn lock_table_log(&self) -> Result<bool> {
        let mut mark = self.engine.high_water_mark();
        if mark.is_none() {
            *mark = file::lock(&self.engine.path, &self.engine.given).map_err(unavailable)?;
        }
        Ok(mark.is_some())
    }

    async fn table_log_copy(&self) -> Result<Option<String>> {
        let epoch = self.table_epoch().await?;
        let last = self.log_range(epoch).await?.map_or(0, |held| held.last);
        let mark = self.engine.high_water_mark();
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

    async fn change_table_epoch(&self) -> Result<Epoch> {
        let old = self.table_epoch().await?;
        let epoch = self.transaction(1, async |transaction| change_epoch::<Sqlite>(transaction, old).await).await?;
        let seq = self.log_range(epoch).await?.map_or(0, |held| held.last);
        if let Some(mark) = &*self.engine.high_water_mark() {
            mark.record_first(Cursor { epoch, seq }).map_err(unavailable)?;
        }
        Ok(epoch)
    }
}
