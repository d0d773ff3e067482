//! Reading: pages from the database until the end is near, then from memory.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;

use super::{LogError, Shared, lock};
use crate::history::HistoryError;
use crate::model::LogEntry;

/// A reader at its place in the log.
pub struct Reader {
    shared: Arc<Shared>,
    last: watch::Receiver<u64>,
    /// The position handed out last.
    after: u64,
    /// Whether `after` is a place in the log. Otherwise it begins with the log, wherever that is by now.
    begun: bool,
    page: VecDeque<LogEntry>,
    ended: bool,
    /// Whether the database was away at the last attempt, so that it is said once.
    away: bool,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, after: u64) -> Self {
        let last = shared.last.subscribe();
        Self { shared, last, after, begun: after > 0, page: VecDeque::new(), ended: false, away: false }
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
                (self.after, self.begun) = (entry.cursor.seq, true);
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
                Ok(()) => self.away = false,
                Err(Stop::Truncated { oldest }) => {
                    self.ended = true;
                    return Some(Err(LogError::Truncated { oldest }));
                }
                Err(Stop::Away(error)) => {
                    if !self.away {
                        tracing::warn!(%error, after = self.after, "cannot read the log; will try again");
                    }
                    self.away = true;
                    tokio::time::sleep(self.shared.config.retry_interval).await;
                }
            }
        }
    }

    /// Gets the next page of a log that ends at `last`.
    async fn fill(&mut self, last: u64) -> Result<(), Stop> {
        let Shared { history, config, epoch, tail, .. } = &*self.shared;
        let recent = lock(tail).after(self.after, config.page_events as usize);
        if let Some(page) = recent {
            self.page = page;
            return Ok(());
        }
        let page = history.read_log(*epoch, self.after, config.page_events.max(1)).await?;
        // asked afterwards: from here on nothing was deleted when the page was read
        let oldest = history.held(*epoch).await?.map_or(last + 1, |held| held.first);
        if oldest > self.after + 1 {
            if self.begun {
                return Err(Stop::Truncated { oldest });
            }
            // the log begins later: with the page after this one
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

/// Why there is no page.
enum Stop {
    Truncated { oldest: u64 },
    Away(HistoryError),
}

impl From<HistoryError> for Stop {
    fn from(error: HistoryError) -> Self {
        Self::Away(error)
    }
}
