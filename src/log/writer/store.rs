//! Storing: batches into the record, acknowledged once they are committed.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;
use chrono::Utc;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::collect::Batch;
use super::{PROCESSOR, WriterConfig, WriterStatus};
use crate::bus::backoff;
use crate::dead_letters::{DeadLetterQueue, Enqueued, FailedMessage};
use crate::history::{History, HistoryError, Written};
use crate::journal::Journal;
use crate::model::LogEntry;
use crate::telemetry::{self, TARGET};

/// How long acknowledgements may wait for a connection that takes no more bytes. Unsent ones cost a second delivery.
const ACK_PATIENCE: Duration = Duration::from_secs(5);

/// Stores batches.
#[derive(Clone)]
pub struct Store {
    pub history: Arc<dyn History>,
    pub config: Arc<WriterConfig>,
    pub status: watch::Sender<WriterStatus>,
    pub journal: Journal,
    pub dead_letters: Option<DeadLetterQueue>,
    /// The stream that the entries come from.
    pub stream: Arc<str>,
    pub stop: CancellationToken,
}

/// The writer was told to stop while the database was away.
struct Stopped;

impl Store {
    /// Stores what comes, until nothing comes any more. Several may take from one channel: the record has no order.
    pub async fn run(self, batches: Arc<Mutex<mpsc::Receiver<Batch>>>) {
        loop {
            let next = batches.lock().await.recv().await;
            let Some(batch) = next else { return };
            if self.store(batch).await.is_err() {
                return;
            }
        }
    }

    /// Stores a batch whole, or in the largest parts that the database takes.
    async fn store(&self, batch: Batch) -> Result<(), Stopped> {
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
                    acknowledge(&batch.ackers[part], AckKind::Ack).await;
                }
                Err(error) if rows == 1 => {
                    let kind = self.refused(&batch.entries[from], &error).await?;
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

    /// Keeps an entry that the database refuses for further attempts; how its message is acknowledged.
    async fn refused(&self, entry: &LogEntry, error: &HistoryError) -> Result<AckKind, Stopped> {
        metrics::counter!("living_map_history_refused_total").increment(1);
        self.journal.record("write", "database", &entry.event.event_type, error);
        tracing::warn!(
            cursor = %entry.cursor, event_type = %entry.event.event_type, id = %entry.event.id, %error,
            "the database refuses an event; the others are written",
        );
        let again = AckKind::Nak(Some(self.config.refused_delay));
        let Some(dead_letters) = &self.dead_letters else { return Ok(again) };
        for attempt in 0_u32.. {
            let failed = FailedMessage::of_entry(PROCESSOR, &self.stream, entry, error.to_string());
            match dead_letters.enqueue(failed).await {
                Ok(Enqueued::Dropped) => {
                    tracing::error!(cursor = %entry.cursor, "the database refuses a dead letter; it is in the stream alone");
                    break;
                }
                Ok(Enqueued::Retrying | Enqueued::Dead) => break,
                Err(error @ HistoryError::Refused(_)) => {
                    tracing::error!(
                        cursor = %entry.cursor, id = %entry.event.id, %error,
                        retry_seconds = self.config.refused_delay.as_secs(),
                        "an event that the database refuses cannot be kept as a dead letter either",
                    );
                    return Ok(again);
                }
                Err(error) => {
                    self.note(Some(error.to_string()));
                    self.pause(attempt).await?;
                }
            }
        }
        Ok(AckKind::Ack)
    }

    /// Waits before the next attempt.
    async fn pause(&self, attempt: u32) -> Result<(), Stopped> {
        let delay = backoff::delay(attempt, self.config.retry_min, self.config.retry_max);
        self.stop.run_until_cancelled(tokio::time::sleep(delay)).await.ok_or(Stopped)
    }

    /// Writes until the database has an opinion: the rows are in, or it refuses them.
    async fn write(&self, entries: &[LogEntry]) -> Result<Result<Written, HistoryError>, Stopped> {
        for attempt in 0_u32.. {
            let started = Instant::now();
            let error = match self.history.write(entries).await {
                Ok(written) => {
                    metrics::histogram!("living_map_history_write_seconds").record(started.elapsed().as_secs_f64());
                    self.note(None);
                    return Ok(Ok(written));
                }
                Err(error @ HistoryError::Refused(_)) => return Ok(Err(error)),
                Err(error) => error,
            };
            self.journal.record("write", "database", "living_map_history", &error);
            if attempt == 0 {
                tracing::warn!(%error, rows = entries.len(), "the history cannot be written; trying again");
            }
            self.note(Some(error.to_string()));
            self.pause(attempt).await?;
        }
        Err(Stopped)
    }

    fn note(&self, error: Option<String>) {
        self.status.send_modify(|status| {
            if error.is_none() {
                status.last_success = Some(Utc::now());
            }
            status.database_error = error;
        });
    }
}

/// A span in the traces in which the entries were published; none where there are no such traces.
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
                tracing::debug!(%error, "an acknowledgement was not sent; its event will come again");
                return;
            }
        }
    };
    if tokio::time::timeout(ACK_PATIENCE, all).await.is_err() {
        tracing::debug!(
            events = ackers.len(),
            "the connection takes no acknowledgements; their events will come again"
        );
    }
}
