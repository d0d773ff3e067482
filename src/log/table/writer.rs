//! Writing: one task, one transaction for all pending appends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::batch::{AppendBatch, AppendRequest};
use super::{Appended, LogError, PROCESSOR, TableState, lock, lock_alone, unavailable};
use crate::dead_letters::{Enqueued, FailedMessage};
use crate::history::HistoryError;
use crate::model::{Cursor, Epoch, LogEntry, NewEvent, time};

/// Stream name in the origin of failed messages.
const STREAM: &str = "table";

/// Position and time of the last entry.
#[derive(Debug, Clone, Copy)]
struct LogEnd {
    seq: u64,
    logged_at: DateTime<Utc>,
}

/// The only writer of the log.
pub struct TableWriter {
    state: Arc<TableState>,
    /// `None` after a failed write that may have been committed: the end must be read from the database.
    end: Option<LogEnd>,
    /// True from the first failed write, which is logged, to the next successful one, which is logged too.
    failing: bool,
}

/// Entries to write in one transaction.
struct PendingEntries {
    /// Their indexes in the batch.
    slots: Vec<usize>,
    entries: Vec<LogEntry>,
}

impl TableWriter {
    pub fn new(state: Arc<TableState>) -> Self {
        Self { state, end: None, failing: false }
    }

    /// Writes appends until the queue is closed.
    pub async fn run(mut self, mut queue: mpsc::Receiver<AppendRequest>) {
        loop {
            let first = tokio::select! {
                append = queue.recv() => append,
                // without waiting for the next append: readers wait for entries that the failed write may have committed
                () = tokio::time::sleep(self.state.config.retry_interval), if self.end.is_none() => {
                    if let Err(error) = self.recover().await {
                        self.set_write_error(&error);
                    }
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut batch = AppendBatch::default();
            batch.collect(first, &mut queue, self.state.config.batch_events, self.state.config.batch_bytes);
            if self.end.is_none()
                && let Err(error) = self.recover().await
            {
                self.set_write_error(&error);
                // queued appends would wait as long again for the same error
                batch.collect_all(&mut queue);
                batch.fail(&error);
            } else {
                self.commit(&mut batch).await;
            }
            batch.reply(&self.interruption());
        }
    }

    /// Error for events that were not reached.
    fn interruption(&self) -> LogError {
        LogError::Unavailable(
            lock(&self.state.write_error).clone().unwrap_or_else(|| "the write was interrupted".into()),
        )
    }

    /// Reads the end of the log from the database, and makes entries visible that a failed write had committed.
    pub async fn recover(&mut self) -> Result<(), LogError> {
        let end = self.find_end().await?;
        if end.seq > *self.state.last.borrow() {
            lock(&self.state.recent).clear();
            self.state.last.send_replace(end.seq);
        }
        self.end = Some(end);
        lock(&self.state.write_error).take();
        Ok(())
    }

    /// Sets the error that readiness reports, and logs it once until a write succeeds.
    fn set_write_error(&mut self, error: &LogError) {
        let reason = match error {
            LogError::Unavailable(reason) => reason.clone(),
            other => other.to_string(),
        };
        *lock(&self.state.write_error) = Some(reason);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "the log cannot be written; retrying");
        }
    }

    async fn find_end(&self) -> Result<LogEnd, LogError> {
        let TableState { history, epoch, .. } = &*self.state;
        lock_alone(&**history).await?;
        let held = history.log_range(*epoch).await.map_err(unavailable)?.map_or(0, |held| held.last);
        let newest = history.read_log(*epoch, held.saturating_sub(1), 1).await.map_err(unavailable)?;
        // never before the last entry that readers have seen, even if it was deleted
        let seq = held.max(*self.state.last.borrow());
        Ok(LogEnd { seq, logged_at: newest.first().map_or(DateTime::UNIX_EPOCH, |entry| entry.logged_at) })
    }

    async fn commit(&mut self, batch: &mut AppendBatch) {
        let started = Instant::now();
        let ids: Vec<Uuid> = batch.events.iter().map(|new| new.event.id).collect();
        let known = match self.state.history.positions(&ids).await {
            Ok(known) => known,
            Err(error) => return batch.fail(&unavailable(error)),
        };
        let mut first_slots: HashMap<Uuid, usize> = HashMap::with_capacity(ids.len());
        let mut repeats = Vec::new();
        let mut part = PendingEntries { slots: Vec::new(), entries: Vec::new() };
        for (slot, new) in std::mem::take(&mut batch.events).into_iter().enumerate() {
            let id = new.event.id;
            if let Some(cursor) = known.get(&id) {
                // a position in another log is meaningless here
                let cursor = cursor.filter(|cursor| cursor.epoch == self.state.epoch);
                batch.results[slot] = Some(Ok(Appended { id, cursor, duplicate: true }));
            } else if let Some(first) = first_slots.get(&id) {
                repeats.push((slot, *first));
            } else {
                first_slots.insert(id, slot);
                part.push(slot, new, self.state.epoch);
            }
        }
        metrics::histogram!("living_map_log_batch_events").record(precise(part.slots.len()));
        self.write(part, batch).await;
        for (slot, first) in repeats {
            let result = batch.results[first].clone();
            batch.results[slot] = result.map(|result| result.map(|first| Appended { duplicate: true, ..first }));
        }
        metrics::histogram!("living_map_log_commit_seconds").record(started.elapsed());
    }

    /// Writes new events. Rejected ones are found by halving, and the others are written without them.
    async fn write(&mut self, part: PendingEntries, batch: &mut AppendBatch) {
        let mut parts = vec![part];
        while let Some(mut part) = parts.pop() {
            let Some(end) = self.end else { return };
            if part.entries.is_empty() {
                continue;
            }
            let new_end = part.assign_positions(end);
            match self.state.history.append(&part.entries).await {
                Ok(written) if written.inserted == part.entries.len() as u64 => {
                    self.end = Some(new_end);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!(last = new_end.seq, "the log can be written again");
                    }
                    self.make_visible(part, batch);
                }
                Ok(written) => {
                    tracing::error!(missing = written.duplicates, "another process writes to the table log");
                    self.end = None;
                }
                Err(error @ HistoryError::Rejected(_)) if !error.is_position_taken() => {
                    if let [slot] = part.slots[..] {
                        tracing::warn!(%error, id = %part.entries[0].event.id, "the database rejected an event");
                        let rejected = self.handle_rejected(&part.entries[0], &error).await;
                        batch.results[slot] = Some(Err(rejected));
                    } else {
                        let second = part.split();
                        parts.push(second);
                        parts.push(part);
                    }
                }
                Err(error) => {
                    // it may have been committed
                    self.end = None;
                    self.set_write_error(&unavailable(error));
                }
            }
        }
    }

    /// Passes a rejected event to the dead letters; returns the error for its publisher.
    async fn handle_rejected(&self, entry: &LogEntry, error: &HistoryError) -> LogError {
        let reason = error.to_string();
        let Some(dead_letters) = &self.state.dead_letters else { return LogError::Refused(reason) };
        let mut failed = FailedMessage::of_entry(PROCESSOR, STREAM, entry, reason.clone());
        // the position it was to have is assigned to another event
        (failed.origin.seq, failed.origin.cursor) = (0, None);
        match dead_letters.enqueue(failed).await {
            Ok(Enqueued::Dropped) => LogError::Refused(reason),
            Ok(Enqueued::Retrying | Enqueued::Dead) => {
                LogError::Refused(format!("{reason}; it is stored and will be retried (GET /living-map/dead-letters)"))
            }
            Err(error) => {
                tracing::error!(%error, id = %entry.event.id, "a rejected event cannot be stored as a dead letter");
                LogError::Refused(reason)
            }
        }
    }

    /// Makes durable entries visible to readers.
    fn make_visible(&self, part: PendingEntries, batch: &mut AppendBatch) {
        let mut last = 0;
        let mut recent = lock(&self.state.recent);
        for (slot, entry) in part.slots.into_iter().zip(part.entries) {
            let (id, cursor) = (entry.event.id, entry.cursor);
            last = cursor.seq;
            batch.results[slot] = Some(Ok(Appended { id, cursor: Some(cursor), duplicate: false }));
            recent.push(entry, batch.sizes[slot]);
        }
        drop(recent);
        self.state.last.send_replace(last);
    }
}

impl PendingEntries {
    fn push(&mut self, slot: usize, new: NewEvent, epoch: Epoch) {
        // the position is assigned when it is written
        let cursor = Cursor { epoch, seq: 0 };
        let NewEvent { event, raw } = new;
        self.slots.push(slot);
        self.entries.push(LogEntry { cursor, logged_at: DateTime::UNIX_EPOCH, event, raw });
    }

    /// Assigns the positions after `end`; returns the new end. The log's time follows the clock, but never goes back.
    fn assign_positions(&mut self, end: LogEnd) -> LogEnd {
        let logged_at = time::whole_micros(Utc::now()).max(end.logged_at);
        let mut seq = end.seq;
        for entry in &mut self.entries {
            seq += 1;
            entry.cursor.seq = seq;
            entry.logged_at = logged_at;
        }
        LogEnd { seq, logged_at }
    }

    /// Splits off the second half.
    fn split(&mut self) -> Self {
        let half = self.slots.len() / 2;
        Self { slots: self.slots.split_off(half), entries: self.entries.split_off(half) }
    }
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a batch is far smaller")]
const fn precise(count: usize) -> f64 {
    count as f64
}
