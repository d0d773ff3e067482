//! Collecting: from the durable consumer into batches.

use std::sync::Arc;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{Message, message::Acker};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{WriterConfig, WriterStatus, consumer};
use crate::bus::backoff;
use crate::log::LogError;
use crate::log::jetstream::{LogStream, Stalled, entry_of};
use crate::model::{Epoch, LogEntry};

/// Entries, and the acknowledgement of each.
#[derive(Default)]
pub struct Batch {
    pub entries: Vec<LogEntry>,
    pub ackers: Vec<Acker>,
    bytes: usize,
}

/// Collects batches.
pub struct Collector {
    pub stream: Arc<LogStream>,
    pub config: Arc<WriterConfig>,
    pub status: watch::Sender<WriterStatus>,
}

/// A consumer that delivers.
struct Source {
    messages: pull::Stream,
    epoch: Epoch,
    /// The connection it was made over.
    connects: u64,
}

impl Collector {
    /// Hands batches to `sender` until `stop`.
    pub async fn run(self, sender: mpsc::Sender<Batch>, stop: CancellationToken) {
        let mut attempt = 0;
        let mut stalled = Stalled::default();
        while !stop.is_cancelled() {
            let Some(opened) = stop.run_until_cancelled(self.open(&mut stalled)).await else { return };
            match opened {
                Ok(mut source) => {
                    attempt = 0;
                    self.note(None);
                    let batch = self.collect(&mut source, &sender, &stop).await;
                    // what was collected is still good, whatever ended it; when nobody takes it, it is delivered again
                    if !batch.entries.is_empty() && sender.send(batch).await.is_err() {
                        return;
                    }
                    // nats-server 2.9 harms a consumer that is made while its namesake is still being deleted
                    self.pause(0, &stop).await;
                }
                Err(error) => {
                    if attempt == 0 {
                        tracing::warn!(%error, "the history writer cannot read the log; trying again");
                    }
                    self.note(Some(error.to_string()));
                    self.pause(attempt, &stop).await;
                    attempt = attempt.saturating_add(1);
                }
            }
        }
    }

    async fn pause(&self, attempt: u32, stop: &CancellationToken) {
        let delay = backoff::delay(attempt, self.config.retry_min, self.config.retry_max);
        stop.run_until_cancelled(tokio::time::sleep(delay)).await;
    }

    async fn open(&self, stalled: &mut Stalled) -> Result<Source, LogError> {
        let failed = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
        // not before there is a connection: the first one would look like a new one, and what this source asked for
        // would be delivered to nobody
        let mut link = self.stream.connection().link();
        let connects = link.wait_for(|link| link.connected).await.map_err(|error| failed(&error))?.connects;
        let (consumer, epoch) = consumer(&self.stream, &self.config).await?;
        let info = consumer.cached_info();
        let (floor, delivered) = (info.ack_floor.stream_sequence, info.delivered.stream_sequence);
        if stalled.again(floor) {
            // what was delivered and could not be read comes again and again, between others
            let fetch = u64::try_from(self.config.fetch).unwrap_or(u64::MAX);
            let ahead = delivered.saturating_sub(floor).saturating_add(fetch.saturating_mul(2));
            self.stream.clear_unreadable(floor.saturating_add(1), ahead).await?;
            stalled.reset();
        }
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.config.fetch)
            .heartbeat(self.config.heartbeat)
            .messages()
            .await
            .map_err(|error| failed(&error))?;
        Ok(Source { messages, epoch, connects })
    }

    /// Collects from `source` until it must be made again, nobody takes batches any more, or `stop`. Returns what was not
    /// handed on.
    async fn collect(&self, source: &mut Source, sender: &mpsc::Sender<Batch>, stop: &CancellationToken) -> Batch {
        let mut link = self.stream.connection().link();
        let mut epoch = self.stream.epoch();
        let (connects, own_epoch) = (source.connects, source.epoch);
        let mut batch = Batch::default();
        let mut flush_at = Instant::now();
        loop {
            let has_rows = !batch.entries.is_empty();
            let full = self.is_full(&batch);
            let due = has_rows && (full || flush_at <= Instant::now());
            tokio::select! {
                // a batch goes when it has waited long enough or is full, as soon as the one before is taken
                permit = sender.reserve(), if due => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut batch)),
                    Err(_) => return batch,
                },
                () = tokio::time::sleep_until(flush_at), if has_rows && !due => {}
                message = source.messages.next(), if !full => {
                    let Some(Ok(message)) = message else { return batch };
                    if !has_rows {
                        flush_at = Instant::now() + self.config.linger;
                    }
                    batch.take(message, own_epoch);
                    if !self.take_ready(source, &mut batch) {
                        return batch;
                    }
                }
                // what the server knew of the consumer may be gone with the connection
                Ok(_) = link.wait_for(|link| link.connects != connects) => return batch,
                Ok(_) = epoch.wait_for(|epoch| *epoch != Some(own_epoch)) => return batch,
                () = stop.cancelled() => {
                    self.take_ready(source, &mut batch);
                    return batch;
                }
            }
        }
    }

    /// Takes what was delivered already, without waiting; false when the source is of no more use.
    fn take_ready(&self, source: &mut Source, batch: &mut Batch) -> bool {
        while !self.is_full(batch)
            && let Some(message) = source.messages.next().now_or_never()
        {
            let Some(Ok(message)) = message else { return false };
            batch.take(message, source.epoch);
        }
        true
    }

    fn is_full(&self, batch: &Batch) -> bool {
        batch.entries.len() >= self.config.batch || batch.bytes >= self.config.batch_bytes
    }

    fn note(&self, error: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.log_error != error;
            status.log_error = error;
            changed
        });
    }
}

impl Batch {
    fn take(&mut self, message: Message, epoch: Epoch) {
        // what has no position is no message of the stream
        let Ok(info) = message.info() else { return };
        self.entries.push(entry_of(&message, &info, epoch));
        self.bytes += message.length;
        self.ackers.push(message.split().1);
    }
}
