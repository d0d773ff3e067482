//! Writing batches to the history and acknowledging them after the commit.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, OnceCell, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::collect::InsertBatch;
use super::{PROCESSOR, WriterConfig, WriterStatus, reader};
use crate::bus::backoff;
use crate::dead_letters::{DeadLetterQueue, Enqueued, FailedMessage};
use crate::history::{History, HistoryError, InsertCounts, PAIRING_WINDOW};
use crate::journal::Journal;
use crate::model::{Event, LogEntry};
use crate::telemetry::{self, TARGET};

/// Timeout for sending acknowledgements. Messages with unsent ones are delivered again.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes batches.
#[derive(Clone)]
pub struct BatchWriter {
    config: Arc<WriterConfig>,
    history: Arc<dyn History>,
    status: watch::Sender<WriterStatus>,
    journal: Journal,
    dead_letters: Option<DeadLetterQueue>,
    /// Name of the stream that the entries come from.
    stream: Arc<str>,
    /// Time of the newest row that another service had written by the first write.
    newest_adopted: Arc<OnceCell<Option<DateTime<Utc>>>>,
    stop: CancellationToken,
}

/// The writer was stopped while the database was unavailable.
struct StopRequested;

impl BatchWriter {
    pub fn new(
        config: Arc<WriterConfig>,
        history: Arc<dyn History>,
        status: watch::Sender<WriterStatus>,
        journal: Journal,
        dead_letters: Option<DeadLetterQueue>,
        stream: Arc<str>,
        stop: CancellationToken,
    ) -> Self {
        let newest_adopted = Arc::default();
        Self { config, history, status, journal, dead_letters, stream, newest_adopted, stop }
    }

    /// Writes batches until the channel is closed. Several writers may share a channel: the order of inserts does not matter.
    pub async fn run(self, batches: Arc<Mutex<mpsc::Receiver<InsertBatch>>>) {
        loop {
            let next = batches.lock().await.recv().await;
            let Some(batch) = next else { return };
            if self.write_batch(batch).await.is_err() {
                return;
            }
        }
    }

    /// Writes a batch as a whole; if the database rejects it, in halves, until the rejected entries are found.
    async fn write_batch(&self, batch: InsertBatch) -> Result<(), StopRequested> {
        metrics::histogram!("living_map_history_batch_rows")
            .record(u32::try_from(batch.entries.len()).unwrap_or(u32::MAX));
        let mut parts = Vec::from([(0, batch.entries.len())]);
        while let Some((from, to)) = parts.pop() {
            let (part, rows) = (from..to, to - from);
            let entries = &batch.entries[part.clone()];
            match self.write(entries).instrument(span_of(entries)).await? {
                Ok(written) => {
                    metrics::counter!("living_map_history_rows_total").increment(written.inserted);
                    metrics::counter!("living_map_history_duplicates_total").increment(written.duplicates);
                    metrics::counter!("living_map_history_paired_total").increment(written.paired);
                    for entry in entries.iter().filter(|entry| is_noted_by_reader(entry)) {
                        self.record_notes(entry).await?;
                    }
                    acknowledge(&batch.ackers[part], AckKind::Ack).await;
                }
                Err(error) if rows == 1 => {
                    let kind = self.handle_rejected(&batch.entries[from], &error).await?;
                    acknowledge(&batch.ackers[part], kind).await;
                }
                Err(_) => {
                    let middle = from + rows / 2;
                    parts.extend([(middle, to), (from, middle)]);
                }
            }
        }
        Ok(())
    }

    /// Counts and records the notes of an entry that was written. A message of which nothing could be read also becomes a
    /// dead letter, since this is the only record of it.
    async fn record_notes(&self, entry: &LogEntry) -> Result<(), StopRequested> {
        let Event { event_type, notes, .. } = &entry.event;
        for (kind, places) in notes.counts() {
            metrics::counter!("living_map_notes_total", "kind" => kind.as_str()).increment(places);
        }
        if !notes.is_unreadable() {
            self.journal.record_rescued("read", "log", event_type, notes);
            return Ok(());
        }
        self.journal.record("read", "log", event_type, notes);
        tracing::warn!(cursor = %entry.cursor, event_type, %notes, "a message cannot be read; its bytes are kept");
        let Some(dead_letters) = &self.dead_letters else { return Ok(()) };
        for attempt in 0_u32.. {
            let failed = FailedMessage::of_entry(reader::PROCESSOR, &self.stream, entry, notes.to_string());
            match dead_letters.enqueue_unreadable(failed).await {
                Ok(_) => break,
                Err(error @ HistoryError::Rejected(_)) => {
                    tracing::error!(cursor = %entry.cursor, %error, "an unreadable message cannot be stored as a dead letter");
                    break;
                }
                Err(error) => {
                    self.set_database_error(Some(error.to_string()));
                    self.pause(attempt).await?;
                }
            }
        }
        Ok(())
    }

    /// Passes a rejected entry to the dead letters; returns how to acknowledge its message.
    async fn handle_rejected(&self, entry: &LogEntry, error: &HistoryError) -> Result<AckKind, StopRequested> {
        metrics::counter!("living_map_history_refused_total").increment(1);
        self.journal.record("write", "database", &entry.event.event_type, error);
        tracing::warn!(
            cursor = %entry.cursor, event_type = %entry.event.event_type, id = %entry.event.id, %error,
            "the database rejected an event; the others are written",
        );
        let again = AckKind::Nak(Some(self.config.refused_delay));
        let Some(dead_letters) = &self.dead_letters else { return Ok(again) };
        for attempt in 0_u32.. {
            let failed = FailedMessage::of_entry(PROCESSOR, &self.stream, entry, error.to_string());
            match dead_letters.enqueue(failed).await {
                Ok(Enqueued::Dropped) => {
                    tracing::error!(cursor = %entry.cursor, "the database rejected a dead letter event; it is stored in the stream only");
                    break;
                }
                Ok(Enqueued::Retrying | Enqueued::Dead) => break,
                Err(error @ HistoryError::Rejected(_)) => {
                    tracing::error!(
                        cursor = %entry.cursor, id = %entry.event.id, %error,
                        retry_seconds = self.config.refused_delay.as_secs(),
                        "a rejected event cannot be stored as a dead letter either",
                    );
                    return Ok(again);
                }
                Err(error) => {
                    self.set_database_error(Some(error.to_string()));
                    self.pause(attempt).await?;
                }
            }
        }
        Ok(AckKind::Ack)
    }

    /// Waits for the delay before the next attempt.
    async fn pause(&self, attempt: u32) -> Result<(), StopRequested> {
        let delay = backoff::delay(attempt, self.config.retry_min, self.config.retry_max);
        self.stop.run_until_cancelled(tokio::time::sleep(delay)).await.ok_or(StopRequested)
    }

    /// Writes entries, retrying while the database is unavailable; the inner error is a rejection.
    async fn write(&self, entries: &[LogEntry]) -> Result<Result<InsertCounts, HistoryError>, StopRequested> {
        for attempt in 0_u32.. {
            let started = Instant::now();
            let error = match self.try_write(entries).await {
                Ok(written) => {
                    metrics::histogram!("living_map_history_write_seconds").record(started.elapsed().as_secs_f64());
                    self.set_database_error(None);
                    return Ok(Ok(written));
                }
                Err(error @ HistoryError::Rejected(_)) => return Ok(Err(error)),
                Err(error) => error,
            };
            self.journal.record("write", "database", "living_map_history", &error);
            if attempt == 0 {
                tracing::warn!(%error, rows = entries.len(), "the history cannot be written; retrying");
            }
            self.set_database_error(Some(error.to_string()));
            self.pause(attempt).await?;
        }
        Err(StopRequested)
    }

    /// Writes entries once. Those of a time at which another service wrote rows are compared with these rows.
    async fn try_write(&self, entries: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        // a row of a later time, which no clock can have shown, would have every event compared
        let before = Utc::now() + PAIRING_WINDOW;
        let newest = *self.newest_adopted.get_or_try_init(|| self.history.newest_adopted(before)).await?;
        let end = newest.and_then(|newest| newest.checked_add_signed(PAIRING_WINDOW));
        if end.is_some_and(|end| entries.iter().any(|entry| entry.logged_at <= end)) {
            self.history.write_after_absence(entries).await
        } else {
            self.history.write(entries).await
        }
    }

    fn set_database_error(&self, error: Option<String>) {
        self.status.send_modify(|status| {
            if error.is_none() {
                status.last_success = Some(Utc::now());
            }
            status.database_error = error;
        });
    }
}

/// Returns true if reading the message of an entry made notes, so that its bytes are kept. The notes of an event that came over
/// HTTP are in its message, and were recorded when it came.
fn is_noted_by_reader(entry: &LogEntry) -> bool {
    entry.raw.is_some() && !entry.event.notes.is_empty()
}

/// A span linked to the traces in which the entries were published; disabled when there are none.
fn span_of(entries: &[LogEntry]) -> Span {
    let published = telemetry::publishers(entries.iter().map(|entry| &entry.event));
    if published.is_empty() {
        return Span::none();
    }
    let span = tracing::info_span!(target: TARGET, "write history", otel.kind = "consumer", rows = entries.len());
    telemetry::set_parents(&span, &published);
    span
}

async fn acknowledge(ackers: &[Acker], kind: AckKind) {
    let all = async {
        for acker in ackers {
            if let Err(error) = acker.ack_with(kind).await {
                tracing::debug!(%error, "an acknowledgement was not sent; its event will be delivered again");
                return;
            }
        }
    };
    if tokio::time::timeout(ACK_TIMEOUT, all).await.is_err() {
        tracing::debug!(
            events = ackers.len(),
            "acknowledgements were not sent in time; their events will be delivered again"
        );
    }
}
