//! Collecting messages of the durable consumer into batches.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{Message, message::Acker};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{WriterConfig, WriterStatus, open_consumer};
use crate::bus::backoff;
use crate::log::LogError;
use crate::log::jetstream::{LogStream, StallDetector, UnreadableMessages, entry_of, has_undelivered, pull_bytes};
use crate::model::{Epoch, LogEntry};

/// Entries to insert, and the acker of each.
#[derive(Default)]
pub struct InsertBatch {
    pub entries: Vec<LogEntry>,
    pub ackers: Vec<Acker>,
    bytes: usize,
}

/// Collects batches.
pub struct Collector {
    config: Arc<WriterConfig>,
    stream: Arc<LogStream>,
    unreadable: Arc<UnreadableMessages>,
    status: watch::Sender<WriterStatus>,
}

/// The messages of an opened consumer.
struct ConsumerStream {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    epoch: Epoch,
    /// Number of the connection over which it was opened.
    connects: u64,
    /// Its requests are limited in messages only, or have to be: the server has messages that it does not deliver.
    any_size: bool,
}

impl Collector {
    pub fn new(
        config: Arc<WriterConfig>,
        stream: Arc<LogStream>,
        unreadable: Arc<UnreadableMessages>,
        status: watch::Sender<WriterStatus>,
    ) -> Self {
        Self { config, stream, unreadable, status }
    }

    /// Sends batches to `sender` until `stop`.
    pub async fn run(self, sender: mpsc::Sender<InsertBatch>, stop: CancellationToken) {
        let mut attempt = 0;
        let mut stalls = StallDetector::default();
        let mut any_size = false;
        while !stop.is_cancelled() {
            let Some(opened) = stop.run_until_cancelled(Box::pin(self.open(&mut stalls, any_size))).await else {
                return;
            };
            match opened {
                Ok(mut source) => {
                    attempt = 0;
                    self.set_log_error(None);
                    let batch = self.collect(&mut source, &sender, &stop).await;
                    // a message may be larger than the bytes requested, which the server then never delivers
                    any_size = source.any_size;
                    // a started batch is valid, whatever ended collecting; if it is not sent, its messages are delivered again
                    if !batch.entries.is_empty() && sender.send(batch).await.is_err() {
                        return;
                    }
                    // nats-server 2.9 damages a consumer created while one of the same name is still being deleted
                    self.pause(0, &stop).await;
                }
                Err(error) => {
                    if attempt == 0 {
                        tracing::warn!(%error, "the history writer cannot read the log; retrying");
                    }
                    self.set_log_error(Some(error.to_string()));
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

    /// Opens the consumer. With `any_size`, its requests are limited in messages only.
    async fn open(&self, stalls: &mut StallDetector, any_size: bool) -> Result<ConsumerStream, LogError> {
        let failed = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
        // wait for the connection: otherwise the first connect would look like a reconnect, and messages requested before
        // would be lost
        let mut connection = self.stream.connection().state();
        let connects = connection.wait_for(|state| state.connected).await.map_err(|error| failed(&error))?.connects;
        let (consumer, epoch) = open_consumer(&self.stream, &self.config).await?;
        let info = consumer.cached_info();
        let (floor, delivered) = (info.ack_floor.stream_sequence, info.delivered.stream_sequence);
        if stalls.is_stalled(floor) {
            // unreadable messages are delivered again and again, between others
            let fetch = u64::try_from(self.config.fetch).unwrap_or(u64::MAX);
            let ahead = delivered.saturating_sub(floor).saturating_add(fetch.saturating_mul(2));
            self.unreadable.clear(floor.saturating_add(1), ahead).await?;
            stalls.reset();
        }
        let max_bytes = if any_size { 0 } else { pull_bytes(self.stream.connection(), self.config.batch_bytes) };
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.config.fetch)
            .max_bytes_per_batch(max_bytes)
            .heartbeat(self.config.heartbeat)
            .messages()
            .await
            .map_err(|error| failed(&error))?;
        Ok(ConsumerStream { consumer, messages, epoch, connects, any_size })
    }

    /// Collects from `source` until it must be opened again, the receiver is dropped, or `stop`. Returns the unsent batch.
    async fn collect(
        &self,
        source: &mut ConsumerStream,
        sender: &mpsc::Sender<InsertBatch>,
        stop: &CancellationToken,
    ) -> InsertBatch {
        let mut connection = self.stream.connection().state();
        let mut epoch = self.stream.epoch();
        let (connects, own_epoch) = (source.connects, source.epoch);
        let mut batch = InsertBatch::default();
        let mut flush_at = Instant::now();
        let mut check_at = Instant::now() + self.config.ack_wait;
        loop {
            let has_rows = !batch.entries.is_empty();
            let full = self.is_full(&batch);
            let due = has_rows && (full || flush_at <= Instant::now());
            tokio::select! {
                // send a batch when it is full or has waited long enough, once the previous one is received
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
                    check_at = Instant::now() + self.config.ack_wait;
                    batch.push(message, own_epoch);
                    if !self.take_ready(source, &mut batch) {
                        return batch;
                    }
                }
                is_stalled = is_stalled(&mut source.consumer, check_at, self.config.ack_wait),
                    if !has_rows && !source.any_size =>
                {
                    check_at = Instant::now() + self.config.ack_wait;
                    source.any_size = is_stalled;
                    if is_stalled {
                        return batch;
                    }
                }
                // the server may have lost the consumer together with the connection
                Ok(_) = connection.wait_for(|state| state.connects != connects) => return batch,
                Ok(_) = epoch.wait_for(|epoch| *epoch != Some(own_epoch)) => return batch,
                () = stop.cancelled() => {
                    self.take_ready(source, &mut batch);
                    return batch;
                }
            }
        }
    }

    /// Adds messages delivered already, without waiting; false when the source cannot be used any longer.
    fn take_ready(&self, source: &mut ConsumerStream, batch: &mut InsertBatch) -> bool {
        while !self.is_full(batch)
            && let Some(message) = source.messages.next().now_or_never()
        {
            let Some(Ok(message)) = message else { return false };
            batch.push(message, source.epoch);
        }
        true
    }

    fn is_full(&self, batch: &InsertBatch) -> bool {
        batch.entries.len() >= self.config.batch || batch.bytes >= self.config.batch_bytes
    }

    fn set_log_error(&self, error: Option<String>) {
        self.status.send_if_modified(|status| {
            let changed = status.log_error != error;
            status.log_error = error;
            changed
        });
    }
}

/// Waits until `at`. Returns true if the server has messages that it does not deliver then.
async fn is_stalled(consumer: &mut Consumer<pull::Config>, at: Instant, limit: Duration) -> bool {
    tokio::time::sleep_until(at).await;
    has_undelivered(consumer, limit).await
}

impl InsertBatch {
    fn push(&mut self, message: Message, epoch: Epoch) {
        // without a position, it is not a message of the stream
        let Ok(info) = message.info() else { return };
        self.entries.push(entry_of(&message, &info, epoch));
        self.bytes += message.length;
        self.ackers.push(message.split().1);
    }
}
