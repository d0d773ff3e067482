//! One reader of the log: every entry in order, without a gap and without an end.
//!
//! A reader has a consumer of its own on the server, without acknowledgements. Its position is its own affair: whenever
//! anything is odd (the connection was made anew, a heartbeat is missing, the consumer is gone, a delivery was lost) it
//! asks for a new consumer behind the last entry it has handed on. Before that it makes sure that the log is still the
//! one it was reading.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{self, MessagesError};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::Sender;

use super::stream::{LogStream, Seen};
use super::unreadable::Stalled;
use super::{JetStreamConfig, entry_of};
use crate::bus::backoff;
use crate::log::LogError;
use crate::model::{Epoch, LogEntry, time};

/// The wait before the first attempt to read again; doubled after each failure.
const RETRY_MIN: Duration = Duration::from_millis(50);

/// Entries in order, or why there are no more.
pub type Batch = Result<Vec<LogEntry>, LogError>;

/// A reader at its position.
pub struct Reader {
    stream: Arc<LogStream>,
    config: Arc<JetStreamConfig>,
    epoch: Epoch,
    position: Position,
    messages: pull::Stream,
    /// The sequence within the consumer of the last message it delivered.
    delivered: u64,
    /// The connection that the consumer was made over.
    connects: u64,
    stalled: Stalled,
}

/// The last entry that was handed on.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// 0 before the first entry: then the log's beginning is wherever it is.
    seq: u64,
    /// When the log took it; none when this reader did not see it itself.
    logged_at: Option<DateTime<Utc>>,
}

/// Why a consumer is of no more use.
enum Broken {
    /// It must be made again; the reason, as a metric's label.
    Again(&'static str),
    /// The caller must know.
    Ended(LogError),
}

impl Reader {
    /// A reader of the entries after `after`.
    pub async fn open(
        stream: Arc<LogStream>,
        config: Arc<JetStreamConfig>,
        epoch: Epoch,
        after: u64,
    ) -> Result<Self, LogError> {
        let position = Position { seq: after, logged_at: None };
        let (messages, connects) = consume(&stream, &config, epoch, position).await?;
        Ok(Self { stream, config, epoch, position, messages, delivered: 0, connects, stalled: Stalled::default() })
    }

    /// Hands entries to `sender` until nobody takes them, or the log is not the one that was asked for.
    pub async fn run(mut self, sender: Sender<Batch>) {
        let mut link = self.stream.connection().link();
        loop {
            let connects = self.connects;
            let broken = tokio::select! {
                () = sender.closed() => return,
                // what the server knew of the consumer may be gone with the connection
                Ok(_) = link.wait_for(|link| link.connects != connects) => Broken::Again("reconnected"),
                broken = self.hand_on(&sender) => broken,
            };
            let ended = match broken {
                Broken::Again(reason) => tokio::select! {
                    () = sender.closed() => return,
                    ended = self.reopen(reason) => ended,
                },
                Broken::Ended(error) => Some(error),
            };
            if let Some(error) = ended {
                // the receiver may be gone: then nobody needs to know
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }

    async fn hand_on(&mut self, sender: &Sender<Batch>) -> Broken {
        let size = self.config.read_batch.max(1);
        loop {
            let Some(first) = self.messages.next().await else { return Broken::Again("ended") };
            let mut items = Vec::with_capacity(16);
            items.push(first);
            while items.len() < size
                && let Some(Some(next)) = self.messages.next().now_or_never()
            {
                items.push(next);
            }
            let (entries, broken) = self.take(items);
            if let Err(broken) = self.check_gaps(&entries).await {
                return broken;
            }
            if let Some(last) = entries.last() {
                let seq = last.cursor.seq;
                let logged_at = Some(last.logged_at);
                if sender.send(Ok(entries)).await.is_err() {
                    // `run` sees that the receiver is gone
                    std::future::pending::<()>().await;
                }
                self.position = Position { seq, logged_at };
            }
            if let Some(broken) = broken {
                return broken;
            }
        }
    }

    /// The entries of `items`, up to the first that shows the consumer to be broken.
    fn take(&mut self, items: Vec<Result<Message, MessagesError>>) -> (Vec<LogEntry>, Option<Broken>) {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let Ok(message) = item else { return (entries, Some(Broken::Again("consumer_lost"))) };
            let Ok(info) = message.info() else { return (entries, Some(Broken::Again("unreadable"))) };
            if info.consumer_sequence != self.delivered + 1 {
                return (entries, Some(Broken::Again("delivery_lost")));
            }
            self.delivered = info.consumer_sequence;
            entries.push(entry_of(&message, &info, self.epoch));
        }
        (entries, None)
    }

    /// Positions may be missing where single messages were deleted from the middle of the log. When it was its beginning
    /// that went, entries may have gone that this reader should have handed on.
    async fn check_gaps(&self, entries: &[LogEntry]) -> Result<(), Broken> {
        let mut previous = self.position.seq;
        let gap = entries.iter().any(|entry| {
            let gap = previous != 0 && entry.cursor.seq != previous + 1;
            previous = entry.cursor.seq;
            gap
        });
        if !gap {
            return Ok(());
        }
        let Ok(seen) = self.stream.look().await else { return Err(Broken::Again("unreachable")) };
        if self.position.seq != 0 && seen.bounds.first > self.position.seq + 1 {
            return Err(Broken::Ended(LogError::Truncated { oldest: seen.bounds.first }));
        }
        Ok(())
    }

    /// Makes a new consumer, however long it takes; an error when the log is not the one it was.
    async fn reopen(&mut self, reason: &'static str) -> Option<LogError> {
        metrics::counter!("living_map_log_reader_reopened_total", "reason" => reason).increment(1);
        tracing::info!(reason, after = self.position.seq, "reading the log again");
        for attempt in 0_u32.. {
            let cleared = self.clear_the_way().await;
            let opened = match cleared {
                Ok(()) => consume(&self.stream, &self.config, self.epoch, self.position).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok((messages, connects)) => {
                    (self.messages, self.connects, self.delivered) = (messages, connects, 0);
                    return None;
                }
                Err(LogError::Unavailable(problem)) => {
                    if attempt == 0 {
                        tracing::warn!(problem, after = self.position.seq, "the log cannot be read; trying again");
                    }
                    tokio::time::sleep(backoff::delay(attempt, RETRY_MIN, self.config.retry_max)).await;
                }
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// What makes the client drop the connection must go before it is asked for once more.
    async fn clear_the_way(&mut self) -> Result<(), LogError> {
        if self.stalled.again(self.position.seq) {
            let ahead = u64::try_from(self.config.read_batch).unwrap_or(u64::MAX).saturating_mul(2);
            self.stream.clear_unreadable(self.position.seq.saturating_add(1), ahead).await?;
            self.stalled.reset();
        }
        Ok(())
    }
}

/// A new consumer behind `position`, and the number of the connect it was made at.
async fn consume(
    stream: &LogStream,
    config: &JetStreamConfig,
    epoch: Epoch,
    position: Position,
) -> Result<(pull::Stream, u64), LogError> {
    let connects = stream.connection().link().borrow().connects;
    let seen = stream.look().await?;
    if seen.bounds.epoch != epoch {
        return Err(LogError::EpochChanged(seen.bounds.epoch));
    }
    if !still_there(stream, &seen, position).await? {
        return Err(LogError::EpochChanged(stream.new_generation(&seen).await?));
    }
    if position.seq != 0 && seen.bounds.first > position.seq + 1 {
        return Err(LogError::Truncated { oldest: seen.bounds.first });
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
    let consumer = jetstream.create_consumer_on_stream(consumer_config, stream.name()).await;
    let consumer = consumer.map_err(|error| unavailable(&error))?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(config.read_batch)
        .expires(config.reader_expires)
        .heartbeat(config.heartbeat)
        .messages()
        .await
        .map_err(|error| unavailable(&error))?;
    Ok((messages, connects))
}

/// Whether the log still has what was read up to `position`: its end is not before it, and what it has there now is what
/// it had (or was dropped meanwhile, being old).
async fn still_there(stream: &LogStream, seen: &Seen, position: Position) -> Result<bool, LogError> {
    if seen.bounds.last < position.seq {
        return Ok(false);
    }
    let Some(logged_at) = position.logged_at.filter(|_| seen.bounds.first <= position.seq) else { return Ok(true) };
    let found = stream.logged_at(position.seq).await?;
    Ok(found.is_none_or(|found| time::whole_micros(found) == logged_at))
}
