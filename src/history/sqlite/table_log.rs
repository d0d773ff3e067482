//! Which log the table is.

use sqlx::{Connection, Executor, SqliteConnection};

use super::Sqlite;
use super::code::classify;
use super::witness::Witness;
use super::{file, read};
use crate::history::HistoryError;
use crate::history::stored::{epoch_from_sql, epoch_to_sql, new_epoch};
use crate::model::{Cursor, Epoch, LogEntry};

/// Every place that names a log. A transaction changes all of them, or none.
const RENEW: [&str; 7] = [
    "UPDATE living_map_history SET epoch = ?1 WHERE epoch = ?2",
    "UPDATE living_map_history_complete SET epoch = ?1 WHERE epoch = ?2",
    "UPDATE living_map_snapshots SET epoch = ?1 WHERE epoch = ?2",
    "UPDATE dead_letters SET epoch = ?1 WHERE epoch = ?2",
    "UPDATE agent_lesson_positions SET epoch = ?1 WHERE epoch = ?2",
    "UPDATE webhook_position SET epoch = ?1 WHERE epoch = ?2",
    "UPDATE living_map_table_log SET epoch = ?1 WHERE epoch = ?2",
];

impl Sqlite {
    /// The log's identity, made at first use.
    pub(super) async fn epoch(&self) -> sqlx::Result<Epoch> {
        let mut connection = self.writer.acquire().await?;
        epoch(&mut connection).await
    }

    /// Takes the lock of the table log, or keeps it.
    pub(super) fn take_lock(&self) -> Result<bool, HistoryError> {
        let mut witness = self.witness();
        if witness.is_none() {
            let file = file::lock(&self.path).map_err(|error| HistoryError::Unavailable(error.into()))?;
            *witness = file.map(Witness::new);
        }
        Ok(witness.is_some())
    }

    /// Why this is not the file that was written last; none when it is.
    pub(super) async fn copied(&self) -> Result<Option<String>, HistoryError> {
        let epoch = self.epoch().await.map_err(classify)?;
        let last = read::held(&self.readers, epoch).await.map_err(classify)?.map_or(0, |held| held.last);
        let witness = self.witness();
        let Some(witness) = &*witness else { return Ok(None) };
        let unavailable = |error: std::io::Error| HistoryError::Unavailable(error.into());
        let here = Cursor { epoch, seq: last };
        match witness.noted().map_err(unavailable)? {
            Some(noted) if noted.epoch == epoch && noted.seq <= last => Ok(None),
            Some(noted) => Ok(Some(format!("the log had come to {noted}, and the file has it up to {here}"))),
            // a new file, or one from which no client can have a position
            None if last == 0 => witness.begin(here).map_err(unavailable).map(|()| None),
            None => Ok(Some("the file beside it does not know it".to_owned())),
        }
    }

    pub(super) async fn renew(&self) -> Result<Epoch, HistoryError> {
        let mut connection = self.writer.acquire().await.map_err(classify)?;
        let renewed = renew(&mut connection).await.map_err(classify)?;
        drop(connection);
        let last = read::held(&self.readers, renewed).await.map_err(classify)?.map_or(0, |held| held.last);
        if let Some(witness) = &*self.witness() {
            let begun = witness.begin(Cursor { epoch: renewed, seq: last });
            begun.map_err(|error| HistoryError::Unavailable(error.into()))?;
        }
        Ok(renewed)
    }

    /// Notes what was written, if it is the table log that was.
    pub(super) fn note(&self, entries: &[LogEntry]) {
        if let (Some(witness), Some(last)) = (&*self.witness(), entries.last()) {
            witness.note(last.cursor);
        }
    }
}

async fn epoch(connection: &mut SqliteConnection) -> sqlx::Result<Epoch> {
    let insert = "INSERT INTO living_map_table_log (singleton, epoch) VALUES (1, ?) ON CONFLICT DO NOTHING";
    connection.execute(sqlx::query(insert).bind(epoch_to_sql(new_epoch()))).await?;
    sqlx::query_scalar("SELECT epoch FROM living_map_table_log").fetch_one(connection).await.map(epoch_from_sql)
}

async fn renew(connection: &mut SqliteConnection) -> sqlx::Result<Epoch> {
    let old = epoch(connection).await?;
    let new = new_epoch();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for statement in RENEW {
        transaction.execute(sqlx::query(statement).bind(epoch_to_sql(new)).bind(epoch_to_sql(old))).await?;
    }
    transaction.commit().await?;
    Ok(new)
}
