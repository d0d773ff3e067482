//! Reading log entries in the background, so that the database and the fold work at the same time.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, Fuse};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::history::{History, HistoryError};
use crate::log::{EventLog, LogError};
use crate::model::{Cursor, LogEntry, json};

/// Maximum number of entries in a batch.
const BATCH: u32 = 1_000;

/// Maximum number of batches that wait for the fold.
const MAX_WAITING: usize = 4;

/// The log, and the history for entries that the log has dropped.
#[derive(Clone)]
pub struct EntrySource {
    pub log: Arc<dyn EventLog>,
    pub history: Arc<dyn History>,
    /// The first position of the log. Entries before it are only in the history.
    pub log_first: u64,
    /// Approximate memory of the entries in a batch from the log; a single larger entry makes a batch alone. The history
    /// limits its batches itself.
    pub batch_bytes: usize,
}

/// The last entry to read: at most at position `to`, and logged at `time` at the latest.
struct ReadUntil {
    to: Cursor,
    time: Option<DateTime<Utc>>,
}

/// Batches of entries, in order and without a gap. Reading stops when dropped.
pub struct ReadAhead {
    batches: mpsc::Receiver<Result<Vec<LogEntry>, ReadAheadError>>,
    _task: AbortOnDropHandle<()>,
}

/// The reason why reading failed.
pub enum ReadAheadError {
    /// Retention deleted entries in the meantime, so some may be missing.
    Deleted,
    /// The log or the history is unavailable.
    Unavailable(String),
}

impl From<HistoryError> for ReadAheadError {
    fn from(error: HistoryError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<LogError> for ReadAheadError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl EntrySource {
    /// Starts to read the entries after position `after`, up to position `to`, and before the first entry logged after
    /// `time` if one is given.
    pub fn read_ahead(self, after: u64, to: Cursor, time: Option<DateTime<Utc>>) -> ReadAhead {
        let (sender, batches) = mpsc::channel(MAX_WAITING);
        let task = tokio::spawn(async move {
            if let Err(error) = self.read(after, &ReadUntil { to, time }, &sender).await {
                // fails if the receiver is dropped, which does not need the error
                let _ = sender.send(Err(error)).await;
            }
        });
        ReadAhead { batches, _task: AbortOnDropHandle::new(task) }
    }

    /// Reads dropped entries from the history, then the others from the log.
    async fn read(
        &self,
        after: u64,
        until: &ReadUntil,
        batches: &mpsc::Sender<Result<Vec<LogEntry>, ReadAheadError>>,
    ) -> Result<(), ReadAheadError> {
        let (to, mut at) = (until.to, after);
        while at < to.seq && at + 1 < self.log_first {
            let mut page = self.history.read_log(to.epoch, at, BATCH).await?;
            // checked after the page was read: then nothing in the page was deleted before
            if self.history.log_range(to.epoch).await?.is_none_or(|held| held.first > at + 1) {
                return Err(ReadAheadError::Deleted);
            }
            // where the log has an entry, it is the one that was folded
            page.retain(|entry| entry.cursor.seq < self.log_first);
            // positions without an entry are duplicates of events at earlier positions
            let Some(last) = page.last() else { break };
            at = last.cursor.seq;
            let ended = until.truncate(&mut page);
            if batches.send(Ok(page)).await.is_err() || ended {
                return Ok(());
            }
        }
        at = at.max(self.log_first.saturating_sub(1));
        if at >= to.seq {
            return Ok(());
        }
        let mut entries = self.log.read(to.epoch, at).await?.fuse();
        while at < to.seq {
            let mut batch = next_batch(&mut entries, self.batch_bytes).await?;
            at = batch.last().map_or(at, |entry| entry.cursor.seq);
            let ended = until.truncate(&mut batch);
            if batches.send(Ok(batch)).await.is_err() || ended {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Waits for the next entry of the log, and takes those after it that are ready.
async fn next_batch(
    entries: &mut Fuse<BoxStream<'static, Result<LogEntry, LogError>>>,
    max_bytes: usize,
) -> Result<Vec<LogEntry>, ReadAheadError> {
    let Some(first) = entries.next().await.transpose()? else {
        return Err(ReadAheadError::Unavailable("the log's reader ended".into()));
    };
    let mut bytes = json::memory_bytes(&first.event.payload);
    let mut batch = vec![first];
    while batch.len() < BATCH as usize
        && bytes < max_bytes
        && let Some(Some(entry)) = entries.next().now_or_never()
    {
        let entry = entry?;
        bytes += json::memory_bytes(&entry.event.payload);
        batch.push(entry);
    }
    Ok(batch)
}

impl ReadUntil {
    /// Removes the entries after the end. Returns true if there were any.
    fn truncate(&self, entries: &mut Vec<LogEntry>) -> bool {
        let is_after =
            |entry: &LogEntry| entry.cursor.seq > self.to.seq || self.time.is_some_and(|time| entry.logged_at > time);
        let first = entries.iter().position(is_after);
        entries.truncate(first.unwrap_or(entries.len()));
        first.is_some()
    }
}

impl ReadAhead {
    /// The next batch; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<LogEntry>>, ReadAheadError> {
        self.batches.recv().await.transpose()
    }
}
