//! The table log, with a position stored with the lessons.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};

use super::{ExperienceBatch, Opened, Source};
use crate::history::{History, HistoryError, Lessons};
use crate::learner::experience::is_experience;
use crate::log::{EventLog, ExperienceConfig, LogError};
use crate::model::{Cursor, Epoch, LogEntry, json};

/// Name of the stored position.
pub const READER: &str = "learner";

/// Maximum number of entries of all kinds read for one batch.
const MAX_READ: usize = 1_024;

/// Reads the experiences of the table log.
pub struct TableSource {
    log: Arc<dyn EventLog>,
    history: Arc<dyn History>,
    lessons: Arc<dyn Lessons>,
    batch: usize,
    batch_bytes: usize,
    fetch_timeout: Duration,
    epoch: Epoch,
    /// The mutex makes the source `Sync`; it is never contended.
    entries: Mutex<Option<BoxStream<'static, Result<LogEntry, LogError>>>>,
}

impl TableSource {
    /// A source of the experiences in `log`, the table log over `history`. Its position is stored in `lessons`.
    #[must_use]
    pub fn new(
        log: Arc<dyn EventLog>,
        history: Arc<dyn History>,
        lessons: Arc<dyn Lessons>,
        config: &ExperienceConfig,
    ) -> Self {
        let ExperienceConfig { batch, batch_bytes, fetch_timeout, .. } = *config;
        let (batch, epoch, entries) = (batch.max(1), Epoch(0), Mutex::default());
        Self { log, history, lessons, batch, batch_bytes, fetch_timeout, epoch, entries }
    }

    /// The first position whose entry was logged at most `lookback` before that at `seq`. A binary search: log times
    /// never decrease.
    async fn begin(&self, first: u64, seq: u64, lookback: TimeDelta) -> Result<u64, LogError> {
        let Some(until) = self.logged_at(seq).await? else { return Ok(first) };
        let Some(since) = until.checked_sub_signed(lookback) else { return Ok(first) };
        let (mut low, mut high) = (first, seq);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.logged_at(middle).await? {
                Some(at) if at < since => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn logged_at(&self, seq: u64) -> Result<Option<chrono::DateTime<chrono::Utc>>, LogError> {
        let entries = self.history.read_log(self.epoch, seq.saturating_sub(1), 1).await.map_err(|e| unavailable(&e))?;
        Ok(entries.first().map(|entry| entry.logged_at))
    }
}

#[async_trait]
impl Source for TableSource {
    async fn open(&mut self, fresh: bool, lookback: TimeDelta) -> Result<Opened, LogError> {
        let bounds = self.log.bounds().await?;
        let replaced = self.epoch != Epoch(0) && self.epoch != bounds.epoch;
        self.epoch = bounds.epoch;
        let position = self.lessons.position(READER).await.map_err(|error| unavailable(&error))?;
        let position = position.filter(|at| at.epoch == bounds.epoch && at.seq <= bounds.last).map_or(0, |at| at.seq);
        // skips entries that were deleted before they were read
        let position = position.max(bounds.first.saturating_sub(1));
        let past = if (fresh || replaced) && position >= bounds.first && position > 0 {
            let begin = self.begin(bounds.first, position, lookback).await?;
            let entries = self.log.read(bounds.epoch, begin.saturating_sub(1)).await?;
            let count = usize::try_from((position + 1).saturating_sub(begin)).unwrap_or(usize::MAX);
            Some(entries.take(count).boxed())
        } else {
            None
        };
        let entries = self.log.read(bounds.epoch, position).await?;
        *self.entries.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(entries);
        Ok(Opened { replaced, past, committed: position, delivered: position })
    }

    async fn fetch(&mut self) -> Result<ExperienceBatch, LogError> {
        let entries = self.entries.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut();
        let Some(entries) = entries else { return Err(LogError::Unavailable("not open".to_owned())) };
        let mut batch = ExperienceBatch { entries: Vec::new(), last: 0, lag: None, deliveries: Vec::new() };
        let Ok(mut next) = tokio::time::timeout(self.fetch_timeout, entries.next()).await else { return Ok(batch) };
        let mut bytes = 0_usize;
        for _ in 0..MAX_READ {
            let Some(entry) = next else { return Err(LogError::Unavailable("the log's reader ended".to_owned())) };
            let entry = entry?;
            batch.last = entry.cursor.seq;
            if is_experience(&entry.event.event_type) {
                bytes += json::memory_bytes(&entry.event.payload);
                batch.entries.push(entry);
            }
            if batch.entries.len() >= self.batch || bytes >= self.batch_bytes {
                break;
            }
            match entries.next().now_or_never() {
                Some(following) => next = following,
                None => break,
            }
        }
        Ok(batch)
    }

    async fn in_progress(&self, _batch: &ExperienceBatch) {}

    async fn commit(&mut self, batch: ExperienceBatch) {
        metrics::counter!("js_messages_acked_total").increment(batch.entries.len() as u64);
    }

    fn position(&self, batch: &ExperienceBatch) -> Option<Cursor> {
        (batch.last > 0).then_some(Cursor { epoch: self.epoch, seq: batch.last })
    }

    fn kind(&self) -> &'static str {
        "table"
    }
}

fn unavailable(error: &HistoryError) -> LogError {
    LogError::Unavailable(error.to_string())
}
