//! Writing: one task, one transaction for all that has come together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::batch::{Append, Batch};
use super::{Appended, LogError, PROCESSOR, Shared, lock, lock_alone, unavailable};
use crate::dead_letters::{Enqueued, FailedMessage};
use crate::history::HistoryError;
use crate::model::{Cursor, Epoch, LogEntry, NewEvent, time};

/// What stands for a stream in the origin of a failure.
const STREAM: &str = "table";

/// The end of the log.
#[derive(Debug, Clone, Copy)]
struct End {
    seq: u64,
    logged_at: DateTime<Utc>,
}

/// The one writer.
pub struct Writer {
    shared: Arc<Shared>,
    /// None when a write failed without saying whether it was committed: the database has to be asked first.
    end: Option<End>,
    /// It was said that nothing can be written, and not yet that it can again.
    troubled: bool,
}

/// Events of one transaction, as entries-to-be.
struct Part {
    /// Their places in the batch.
    slots: Vec<usize>,
    entries: Vec<LogEntry>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, end: None, troubled: false }
    }

    /// Writes what is appended until nobody can append any more.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        loop {
            let first = tokio::select! {
                append = queue.recv() => append,
                // nobody may append for long, but readers wait for what the failed write may have committed
                () = tokio::time::sleep(self.shared.config.retry_interval), if self.end.is_none() => {
                    if let Err(error) = self.recover().await {
                        self.note(&error);
                    }
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut batch = Batch::default();
            batch.collect(first, &mut queue, self.shared.config.batch_events, self.shared.config.batch_bytes);
            if self.end.is_none()
                && let Err(error) = self.recover().await
            {
                self.note(&error);
                // those who wait already would wait as long again for the same answer
                batch.collect_all(&mut queue);
                batch.fail(&error);
            } else {
                self.commit(&mut batch).await;
            }
            batch.answer(&self.interruption());
        }
    }

    /// What those are told whose events were not reached.
    fn interruption(&self) -> LogError {
        LogError::Unavailable(lock(&self.shared.trouble).clone().unwrap_or_else(|| "the write was interrupted".into()))
    }

    /// Finds the end of the log in the database, and shows readers what a write committed that seemed to have failed.
    pub async fn recover(&mut self) -> Result<(), LogError> {
        let end = self.find_end().await?;
        if end.seq > *self.shared.last.borrow() {
            lock(&self.shared.tail).clear();
            self.shared.last.send_replace(end.seq);
        }
        self.end = Some(end);
        lock(&self.shared.trouble).take();
        Ok(())
    }

    /// Notes why nothing can be written; says it once, until something was: on a full disk all else works.
    fn note(&mut self, error: &LogError) {
        let reason = match error {
            LogError::Unavailable(reason) => reason.clone(),
            other => other.to_string(),
        };
        *lock(&self.shared.trouble) = Some(reason);
        if !std::mem::replace(&mut self.troubled, true) {
            tracing::warn!(%error, "the log cannot be written; will try again");
        }
    }

    async fn find_end(&self) -> Result<End, LogError> {
        let Shared { history, epoch, .. } = &*self.shared;
        lock_alone(&**history).await?;
        let held = history.held(*epoch).await.map_err(unavailable)?.map_or(0, |held| held.last);
        let newest = history.read_log(*epoch, held.saturating_sub(1), 1).await.map_err(unavailable)?;
        // never behind what readers have seen, even if somebody deleted it
        let seq = held.max(*self.shared.last.borrow());
        Ok(End { seq, logged_at: newest.first().map_or(DateTime::UNIX_EPOCH, |entry| entry.logged_at) })
    }

    async fn commit(&mut self, batch: &mut Batch) {
        let started = Instant::now();
        let ids: Vec<Uuid> = batch.events.iter().map(|new| new.event.id).collect();
        let known = match self.shared.history.known(&ids).await {
            Ok(known) => known,
            Err(error) => return batch.fail(&unavailable(error)),
        };
        let mut first_slots: HashMap<Uuid, usize> = HashMap::with_capacity(ids.len());
        let mut repeats = Vec::new();
        let mut part = Part { slots: Vec::new(), entries: Vec::new() };
        for (slot, new) in std::mem::take(&mut batch.events).into_iter().enumerate() {
            let id = new.event.id;
            if let Some(cursor) = known.get(&id) {
                // a position in another log is of no use to anybody
                let cursor = cursor.filter(|cursor| cursor.epoch == self.shared.epoch);
                batch.results[slot] = Some(Ok(Appended { id, cursor, duplicate: true }));
            } else if let Some(first) = first_slots.get(&id) {
                repeats.push((slot, *first));
            } else {
                first_slots.insert(id, slot);
                part.push(slot, new, self.shared.epoch);
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

    /// Writes new events. What the database refuses is found by halving, and the others are written without it.
    async fn write(&mut self, part: Part, batch: &mut Batch) {
        let mut parts = vec![part];
        while let Some(mut part) = parts.pop() {
            let Some(end) = self.end else { return };
            if part.entries.is_empty() {
                continue;
            }
            let new_end = part.place(end);
            match self.shared.history.write(&part.entries).await {
                Ok(written) if written.inserted == part.entries.len() as u64 => {
                    self.end = Some(new_end);
                    if std::mem::take(&mut self.troubled) {
                        tracing::info!(last = new_end.seq, "the log can be written again");
                    }
                    self.publish(part, batch);
                }
                Ok(written) => {
                    tracing::error!(missing = written.duplicates, "somebody else writes events of the table log");
                    self.end = None;
                }
                Err(error @ HistoryError::Refused(_)) if !error.is_position_taken() => {
                    if let [slot] = part.slots[..] {
                        tracing::warn!(%error, id = %part.entries[0].event.id, "the database refuses an event");
                        let refused = self.refused(&part.entries[0], &error).await;
                        batch.results[slot] = Some(Err(refused));
                    } else {
                        let second = part.split();
                        parts.push(second);
                        parts.push(part);
                    }
                }
                Err(error) => {
                    // it may or may not have been committed
                    self.end = None;
                    self.note(&unavailable(error));
                }
            }
        }
    }

    /// Keeps an event that the database refuses for further attempts; what its publisher is told.
    async fn refused(&self, entry: &LogEntry, error: &HistoryError) -> LogError {
        let reason = error.to_string();
        let Some(dead_letters) = &self.shared.dead_letters else { return LogError::Refused(reason) };
        let mut failed = FailedMessage::of_entry(PROCESSOR, STREAM, entry, reason.clone());
        // the place it was to have is another event's now
        (failed.origin.seq, failed.origin.cursor) = (0, None);
        match dead_letters.enqueue(failed).await {
            Ok(Enqueued::Dropped) => LogError::Refused(reason),
            Ok(Enqueued::Retrying | Enqueued::Dead) => LogError::Refused(format!(
                "{reason}; it is kept and will be tried again (GET /living-map/dead-letters)"
            )),
            Err(error) => {
                tracing::error!(%error, id = %entry.event.id, "an event that the database refuses cannot be kept as a dead letter");
                LogError::Refused(reason)
            }
        }
    }

    /// Shows durable entries to readers.
    fn publish(&self, part: Part, batch: &mut Batch) {
        let mut last = 0;
        let mut tail = lock(&self.shared.tail);
        for (slot, entry) in part.slots.into_iter().zip(part.entries) {
            let (id, cursor) = (entry.event.id, entry.cursor);
            last = cursor.seq;
            batch.results[slot] = Some(Ok(Appended { id, cursor: Some(cursor), duplicate: false }));
            tail.push(entry, batch.sizes[slot]);
        }
        drop(tail);
        self.shared.last.send_replace(last);
    }
}

impl Part {
    fn push(&mut self, slot: usize, new: NewEvent, epoch: Epoch) {
        // its place is given when it is written
        let cursor = Cursor { epoch, seq: 0 };
        let NewEvent { event, raw } = new;
        self.slots.push(slot);
        self.entries.push(LogEntry { cursor, logged_at: DateTime::UNIX_EPOCH, event, raw });
    }

    /// Puts the entries behind `end`; the new end. The log's time is the clock's, but never runs backwards.
    fn place(&mut self, end: End) -> End {
        let logged_at = time::whole_micros(Utc::now()).max(end.logged_at);
        let mut seq = end.seq;
        for entry in &mut self.entries {
            seq += 1;
            entry.cursor.seq = seq;
            entry.logged_at = logged_at;
        }
        End { seq, logged_at }
    }

    /// Keeps the first half; the second.
    fn split(&mut self) -> Self {
        let half = self.slots.len() / 2;
        Self { slots: self.slots.split_off(half), entries: self.entries.split_off(half) }
    }
}

/// Exact up to 2^53, far more than a batch has.
#[expect(clippy::cast_precision_loss, reason = "a batch is far smaller")]
const fn precise(count: usize) -> f64 {
    count as f64
}
