//! Reading: pages from the database, and from memory near the end of the log.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::{LogError, TableState, lock};
use crate::history::HistoryError;
use crate::model::LogEntry;

/// A reader and its position.
pub struct TableReader {
    state: Arc<TableState>,
    last: watch::Receiver<u64>,
    /// The last position returned.
    after: u64,
    /// True if `after` is a position in the log. Otherwise reading starts at the first entry, whatever its position.
    started: bool,
    page: VecDeque<LogEntry>,
    ended: bool,
    /// True if the database was unavailable at the last attempt, so that an outage is logged once.
    unavailable: bool,
}

impl TableReader {
    pub fn new(state: Arc<TableState>, after: u64) -> Self {
        let last = state.last.subscribe();
        Self { state, last, after, started: after > 0, page: VecDeque::new(), ended: false, unavailable: false }
    }

    pub fn stream(self) -> BoxStream<'static, Result<LogEntry, LogError>> {
        stream::unfold(self, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<LogEntry, LogError>> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                (self.after, self.started) = (entry.cursor.seq, true);
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            let last = *self.last.borrow_and_update();
            if self.after >= last {
                self.last.changed().await.ok()?;
                continue;
            }
            match self.fill(last).await {
                Ok(()) => self.unavailable = false,
                Err(FillError::Truncated { oldest }) => {
                    self.ended = true;
                    return Some(Err(LogError::Truncated { oldest }));
                }
                Err(FillError::Unavailable(error)) => {
                    if !self.unavailable {
                        tracing::warn!(%error, after = self.after, "the log cannot be read; retrying");
                    }
                    self.unavailable = true;
                    tokio::time::sleep(self.state.config.retry_interval).await;
                }
            }
        }
    }

    /// Reads the next page of a log that ends at `last`.
    async fn fill(&mut self, last: u64) -> Result<(), FillError> {
        let TableState { history, config, epoch, recent, .. } = &*self.state;
        let in_memory = lock(recent).after(self.after, config.page_events as usize);
        if let Some(page) = in_memory {
            self.page = page;
            return Ok(());
        }
        let page = history.read_log(*epoch, self.after, config.page_events.max(1)).await?;
        // queried afterwards: no entry from this position on was deleted when the page was read
        let oldest = history.log_range(*epoch).await?.map_or(last + 1, |held| held.first);
        if oldest > self.after + 1 {
            if self.started {
                return Err(FillError::Truncated { oldest });
            }
            // the log begins later: read the page from there
            self.after = oldest - 1;
            return Ok(());
        }
        if page.is_empty() {
            self.after = last;
        }
        self.page = page.into();
        Ok(())
    }
}

/// Why a page could not be read.
enum FillError {
    Truncated { oldest: u64 },
    Unavailable(HistoryError),
}

impl From<HistoryError> for FillError {
    fn from(error: HistoryError) -> Self {
        Self::Unavailable(error)
    }
}
