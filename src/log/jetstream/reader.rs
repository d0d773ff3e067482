//! A reader of the log: every entry in order, without a gap and without an end.
//!
//! A reader has its own consumer on the server, without acknowledgements, and keeps its position itself. Whenever the consumer
//! may be incomplete (reconnected, a heartbeat is missing, the consumer is gone, a delivery was lost), it creates a new
//! consumer after the last entry it has sent. Before that it checks that the log is still the same one.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{self, MessagesError};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::stream::{LogState, LogStream};
use super::unreadable::{StallDetector, UnreadableMessages};
use super::{JetStreamConfig, entry_of, has_undelivered, pull_bytes};
use crate::bus::backoff;
use crate::log::LogError;
use crate::model::{Epoch, LogEntry, json, time};

/// Delay before the first attempt to read again; doubled after each failure.
const RETRY_MIN: Duration = Duration::from_millis(50);

/// Entries in order, or the error that ends the stream.
pub type EntryBatch = Result<Vec<LogEntry>, LogError>;

/// A reader and its position.
pub struct JetStreamReader {
    stream: Arc<LogStream>,
    unreadable: Arc<UnreadableMessages>,
    config: Arc<JetStreamConfig>,
    epoch: Epoch,
    position: ReadPosition,
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// Requests messages of any size, after one was not delivered.
    any_size: bool,
    /// Consumer sequence of the last delivered message.
    delivered: u64,
    /// Number of the connection over which the consumer was created.
    connects: u64,
    stalls: StallDetector,
}

/// Position of the last entry sent.
#[derive(Debug, Clone, Copy)]
struct ReadPosition {
    /// 0 before the first entry: reading starts at the first entry of the log, whatever its position.
    seq: u64,
    /// Time when the log stored the entry; `None` when this reader has not read the entry itself.
    logged_at: Option<DateTime<Utc>>,
}

/// Why a consumer cannot be used any longer.
enum Interruption {
    /// A new consumer is needed; the reason, as a metric label.
    Reopen(&'static str),
    /// An error for the caller.
    Ended(LogError),
}

/// Approximate memory of a message once it is parsed, in bytes.
fn memory(item: &Result<Message, MessagesError>) -> usize {
    item.as_ref().map_or(0, |message| message.length + json::parsed_bytes(&message.payload))
}

impl JetStreamReader {
    /// A reader of the entries after position `after`.
    pub async fn open(
        stream: Arc<LogStream>,
        unreadable: Arc<UnreadableMessages>,
        config: Arc<JetStreamConfig>,
        epoch: Epoch,
        after: u64,
    ) -> Result<Self, LogError> {
        let position = ReadPosition { seq: after, logged_at: None };
        let (opened, stalls) = (open(&stream, &config, epoch, position, false).await?, StallDetector::default());
        let OpenedConsumer { consumer, messages, connects } = opened;
        let (delivered, any_size) = (0, false);
        Ok(Self {
            stream,
            unreadable,
            config,
            epoch,
            position,
            consumer,
            messages,
            any_size,
            delivered,
            connects,
            stalls,
        })
    }

    /// Sends entries to `sender` until the receiver is dropped or the log is another one.
    pub async fn run(mut self, sender: Sender<EntryBatch>) {
        let mut connection = self.stream.connection().state();
        loop {
            let connects = self.connects;
            let interruption = tokio::select! {
                () = sender.closed() => return,
                // the server may have lost the consumer together with the connection
                Ok(_) = connection.wait_for(|state| state.connects != connects) => Interruption::Reopen("reconnected"),
                interruption = self.forward(&sender) => interruption,
            };
            let ended = match interruption {
                Interruption::Reopen(reason) => tokio::select! {
                    () = sender.closed() => return,
                    ended = self.reopen(reason) => ended,
                },
                Interruption::Ended(error) => Some(error),
            };
            if let Some(error) = ended {
                // a dropped receiver does not need the error
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }

    async fn forward(&mut self, sender: &Sender<EntryBatch>) -> Interruption {
        let size = self.config.read_batch.max(1);
        loop {
            let first = match timeout(self.config.reader_expires, self.messages.next()).await {
                Ok(Some(first)) => first,
                Ok(None) => return Interruption::Reopen("ended"),
                Err(_) if !self.any_size && has_undelivered(&mut self.consumer, self.config.reader_expires).await => {
                    // a message may be larger than the bytes requested, which the server then never delivers
                    self.any_size = true;
                    return Interruption::Reopen("stalled");
                }
                Err(_) => continue,
            };
            let mut bytes = memory(&first);
            let mut items = Vec::with_capacity(16);
            items.push(first);
            while items.len() < size
                && bytes < self.config.read_batch_bytes
                && let Some(Some(next)) = self.messages.next().now_or_never()
            {
                bytes += memory(&next);
                items.push(next);
            }
            let (entries, interruption) = self.parse(items);
            if let Err(interruption) = self.check_gaps(&entries).await {
                return interruption;
            }
            if let Some(last) = entries.last() {
                let seq = last.cursor.seq;
                let logged_at = Some(last.logged_at);
                if sender.send(Ok(entries)).await.is_err() {
                    // `run` returns when the receiver is dropped
                    std::future::pending::<()>().await;
                }
                self.position = ReadPosition { seq, logged_at };
            }
            if let Some(interruption) = interruption {
                return interruption;
            }
        }
    }

    /// The entries of `items`, up to the first item that makes the consumer unusable.
    fn parse(&mut self, items: Vec<Result<Message, MessagesError>>) -> (Vec<LogEntry>, Option<Interruption>) {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let Ok(message) = item else { return (entries, Some(Interruption::Reopen("consumer_lost"))) };
            let Ok(info) = message.info() else { return (entries, Some(Interruption::Reopen("unreadable"))) };
            if info.consumer_sequence != self.delivered + 1 {
                return (entries, Some(Interruption::Reopen("delivery_lost")));
            }
            self.delivered = info.consumer_sequence;
            entries.push(entry_of(&message, &info, self.epoch));
        }
        (entries, None)
    }

    /// Positions may be missing where single messages were deleted from the middle of the log. If its beginning was deleted
    /// instead, entries that this reader has not sent yet may be among them.
    async fn check_gaps(&self, entries: &[LogEntry]) -> Result<(), Interruption> {
        let mut previous = self.position.seq;
        let gap = entries.iter().any(|entry| {
            let gap = previous != 0 && entry.cursor.seq != previous + 1;
            previous = entry.cursor.seq;
            gap
        });
        if !gap {
            return Ok(());
        }
        let Ok(state) = self.stream.fetch_state().await else { return Err(Interruption::Reopen("unreachable")) };
        if self.position.seq != 0 && state.bounds.first > self.position.seq + 1 {
            return Err(Interruption::Ended(LogError::Truncated { oldest: state.bounds.first }));
        }
        Ok(())
    }

    /// Creates a new consumer, retrying while the log is unavailable; returns an error when the log is another one.
    async fn reopen(&mut self, reason: &'static str) -> Option<LogError> {
        metrics::counter!("living_map_log_reader_reopened_total", "reason" => reason).increment(1);
        tracing::info!(reason, after = self.position.seq, "reading the log with a new consumer");
        for attempt in 0_u32.. {
            let cleared = self.clear_unreadable_if_stalled().await;
            let opened = match cleared {
                Ok(()) => open(&self.stream, &self.config, self.epoch, self.position, self.any_size).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(OpenedConsumer { consumer, messages, connects }) => {
                    (self.consumer, self.messages, self.connects, self.delivered) = (consumer, messages, connects, 0);
                    return None;
                }
                Err(LogError::Unavailable(problem)) => {
                    if attempt == 0 {
                        tracing::warn!(problem, after = self.position.seq, "the log cannot be read; retrying");
                    }
                    tokio::time::sleep(backoff::delay(attempt, RETRY_MIN, self.config.retry_max)).await;
                }
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Moves messages that make the client drop the connection, once reading has stopped at the same position repeatedly.
    async fn clear_unreadable_if_stalled(&mut self) -> Result<(), LogError> {
        if self.stalls.is_stalled(self.position.seq) {
            let ahead = u64::try_from(self.config.read_batch).unwrap_or(u64::MAX).saturating_mul(2);
            self.unreadable.clear(self.position.seq.saturating_add(1), ahead).await?;
            self.stalls.reset();
        }
        Ok(())
    }
}

/// A new consumer.
struct OpenedConsumer {
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// Number of the connection over which it was created.
    connects: u64,
}

/// Creates a consumer after `position`. With `any_size`, its requests are limited in messages only.
async fn open(
    stream: &LogStream,
    config: &JetStreamConfig,
    epoch: Epoch,
    position: ReadPosition,
    any_size: bool,
) -> Result<OpenedConsumer, LogError> {
    let connects = stream.connection().state().borrow().connects;
    let state = stream.fetch_state().await?;
    if state.bounds.epoch != epoch {
        return Err(LogError::EpochChanged(state.bounds.epoch));
    }
    if !is_same_log(stream, &state, position).await? {
        return Err(LogError::EpochChanged(stream.new_generation(&state).await?));
    }
    if position.seq != 0 && state.bounds.first > position.seq + 1 {
        return Err(LogError::Truncated { oldest: state.bounds.first });
    }
    let unavailable = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
    let consumer_config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: position.seq + 1 },
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        max_deliver: 1,
        inactive_threshold: config.reader_expires,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let jetstream = stream.connection().jetstream();
    let operation = format!("CONSUMER.CREATE.{}", stream.name());
    let consumer = stream
        .connection()
        .permitted(&[&operation], jetstream.create_consumer_on_stream(consumer_config, stream.name()))
        .await
        .map_err(|error| unavailable(&error))?
        .map_err(|error| unavailable(&error))?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(config.read_batch)
        .max_bytes_per_batch(if any_size { 0 } else { pull_bytes(stream.connection(), config.read_batch_bytes) })
        .expires(config.reader_expires)
        .heartbeat(config.heartbeat)
        .messages()
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(OpenedConsumer { consumer, messages, connects })
}

/// Checks that the log still has the entries read up to `position`: it does not end before, and the entry at the position is
/// the one that was read, or was deleted by retention.
async fn is_same_log(stream: &LogStream, state: &LogState, position: ReadPosition) -> Result<bool, LogError> {
    if state.bounds.last < position.seq {
        return Ok(false);
    }
    let Some(logged_at) = position.logged_at.filter(|_| state.bounds.first <= position.seq) else { return Ok(true) };
    let found = stream.logged_at(position.seq).await?;
    Ok(found.is_none_or(|found| time::whole_micros(found) == logged_at))
}
