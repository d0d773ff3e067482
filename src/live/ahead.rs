//! Reading entries ahead of the fold: the database, and whoever folds, work side by side.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::past::TimeTravelError;
use crate::history::History;
use crate::log::EventLog;
use crate::model::{Cursor, LogEntry};

/// Entries read and folded at a time.
const BATCH: u32 = 1_000;

/// Batches that wait for the fold.
const WAITING: usize = 4;

/// Where entries are read from.
#[derive(Clone)]
pub struct Entries {
    pub log: Arc<dyn EventLog>,
    pub history: Arc<dyn History>,
    /// The first position that the log still has; before it only the record has any.
    pub log_first: u64,
}

/// Where reading ends.
struct End {
    to: Cursor,
    time: Option<DateTime<Utc>>,
}

/// Batches of entries, in order, without a gap.
pub struct Ahead {
    batches: mpsc::Receiver<Result<Vec<LogEntry>, Stopped>>,
    _task: AbortOnDropHandle<()>,
}

/// Why there are no more entries.
pub enum Stopped {
    /// Retention was there meanwhile, so something may be missing.
    Deleted,
    /// Something that is read from is away.
    Failed(TimeTravelError),
}

impl<E: Into<TimeTravelError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Entries {
    /// Begins to read what is behind position `after`, up to `to`, and up to the first that the log took later than `time` if
    /// one is given.
    pub fn ahead(self, after: u64, to: Cursor, time: Option<DateTime<Utc>>) -> Ahead {
        let (sender, batches) = mpsc::channel(WAITING);
        let task = tokio::spawn(async move {
            if let Err(stopped) = self.read(after, &End { to, time }, &sender).await {
                // who does not listen any more does not want to know
                let _ = sender.send(Err(stopped)).await;
            }
        });
        Ahead { batches, _task: AbortOnDropHandle::new(task) }
    }

    /// From the record what the log has dropped, then from the log itself.
    async fn read(
        &self,
        after: u64,
        end: &End,
        batches: &mpsc::Sender<Result<Vec<LogEntry>, Stopped>>,
    ) -> Result<(), Stopped> {
        let (to, mut at) = (end.to, after);
        while at < to.seq && at + 1 < self.log_first {
            let mut page = self.history.read_log(to.epoch, at, BATCH).await?;
            // asked afterwards: from there on nothing was deleted when the page was read
            if self.history.held(to.epoch).await?.is_none_or(|held| held.first > at + 1) {
                return Err(Stopped::Deleted);
            }
            // the log is what was folded, where it reaches
            page.retain(|entry| entry.cursor.seq < self.log_first);
            // positions without an entry: events that were recorded at an earlier one
            let Some(last) = page.last() else { break };
            at = last.cursor.seq;
            let ended = end.cut(&mut page);
            if batches.send(Ok(page)).await.is_err() || ended {
                return Ok(());
            }
        }
        at = at.max(self.log_first.saturating_sub(1));
        if at >= to.seq {
            return Ok(());
        }
        let mut entries = self.log.read(to.epoch, at).await?.ready_chunks(BATCH as usize).boxed();
        while at < to.seq {
            let Some(chunk) = entries.next().await else {
                return Err(TimeTravelError::Unavailable("the log's reader ended".into()).into());
            };
            let mut chunk: Vec<LogEntry> = chunk.into_iter().collect::<Result<_, _>>()?;
            at = chunk.last().map_or(at, |entry| entry.cursor.seq);
            let ended = end.cut(&mut chunk);
            if batches.send(Ok(chunk)).await.is_err() || ended {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl End {
    /// Takes away what is behind the end; whether there was any.
    fn cut(&self, entries: &mut Vec<LogEntry>) -> bool {
        let behind =
            |entry: &LogEntry| entry.cursor.seq > self.to.seq || self.time.is_some_and(|time| entry.logged_at > time);
        let first = entries.iter().position(behind);
        entries.truncate(first.unwrap_or(entries.len()));
        first.is_some()
    }
}

impl Ahead {
    /// The next entries; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<LogEntry>>, Stopped> {
        self.batches.recv().await.transpose()
    }
}
