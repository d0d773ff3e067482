//! Accepting failed messages.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::retry::{RetryConfig, shorten};
use crate::history::HistoryError;
use crate::history::dead_letters::{DeadLetter, DeadLetterStatus, DeadLetterStore, MessageOrigin, StoredDeadLetter};
use crate::model::subject::is_dead_letter;
use crate::model::{LogEntry, envelope, time};

/// Window of [`RetryConfig::unreadable_per_minute`].
const MINUTE: Duration = Duration::from_mins(1);

/// UUID namespace of the ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6c65_7474_6572);

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedMessage {
    /// Name of the [`Processor`](super::Processor) that failed, which also retries.
    pub processor: &'static str,
    /// Identifies the message within its processor: the same message failing twice has one row. By default its origin;
    /// the event's id where it has no position.
    pub key: String,
    /// Subject.
    pub subject: String,
    /// Body, as [`envelope::read`] accepts it.
    pub body: Bytes,
    /// Original bytes, where `body` has lost some of them.
    pub raw: Option<Bytes>,
    /// Stream and position.
    pub origin: MessageOrigin,
    /// Error of the last attempt.
    pub error: String,
    /// Attempts so far, at least 1. With more attempts than configured retries, it is a dead letter at once.
    pub attempts: u32,
}

impl FailedMessage {
    /// A message of a stream, as received.
    #[must_use]
    pub fn of_message(
        processor: &'static str,
        subject: &str,
        body: Bytes,
        origin: MessageOrigin,
        error: String,
    ) -> Self {
        let key = format!("{}:{}:{}", origin.stream, origin.seq, origin.logged_at.timestamp_micros());
        Self { processor, key, subject: subject.to_owned(), body, raw: None, origin, error, attempts: 1 }
    }

    /// An entry of the event log in `stream`.
    #[must_use]
    pub fn of_entry(processor: &'static str, stream: &str, entry: &LogEntry, error: String) -> Self {
        Self {
            processor,
            key: entry.event.id.to_string(),
            subject: entry.event.event_type.clone(),
            body: envelope::write(&entry.event).to_string().into(),
            raw: entry.raw.clone(),
            origin: MessageOrigin {
                stream: stream.to_owned(),
                seq: entry.cursor.seq,
                cursor: Some(entry.cursor).filter(|cursor| cursor.seq > 0),
                logged_at: entry.logged_at,
            },
            error,
            attempts: 1,
        }
    }
}

/// Result of [`DeadLetterQueue::enqueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// Stored, to be retried.
    Retrying,
    /// Stored as a dead letter.
    Dead,
    /// Not stored: the message is itself a dead letter event, or is one of too many that cannot be read.
    Dropped,
}

/// Accepts failed messages. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterQueue {
    retries: RetryConfig,
    store: Arc<dyn DeadLetterStore>,
    /// Start of the current minute, and the unreadable messages in it.
    unreadable: Arc<Mutex<(Instant, u32)>>,
}

impl fmt::Debug for DeadLetterQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterQueue").field("retries", &self.retries).finish_non_exhaustive()
    }
}

impl DeadLetterQueue {
    /// A queue over `store`.
    #[must_use]
    pub fn new(retries: RetryConfig, store: Arc<dyn DeadLetterStore>) -> Self {
        Self { retries, store, unreadable: Arc::new(Mutex::new((Instant::now(), 0))) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn DeadLetterStore> {
        &self.store
    }

    /// The retry schedule.
    #[must_use]
    pub fn retries(&self) -> &RetryConfig {
        &self.retries
    }

    /// Stores a failed message, to be retried. It is durable when this returns, so the message may be acknowledged.
    ///
    /// # Errors
    /// The database failed; the message must not be acknowledged.
    pub async fn enqueue(&self, message: FailedMessage) -> Result<Enqueued, HistoryError> {
        let processor = message.processor;
        if is_dead_letter(&message.subject) {
            metrics::counter!("living_map_dead_letters_dropped_total", "processor" => processor).increment(1);
            return Ok(Enqueued::Dropped);
        }
        let delay = self.retries.delay(message.attempts);
        let stored = self.row(message, delay, time::whole_micros(Utc::now()));
        if self.store.insert(&stored).await? {
            metrics::counter!("living_map_processing_failures_total", "processor" => processor).increment(1);
        }
        Ok(if stored.letter.status == DeadLetterStatus::Dead { Enqueued::Dead } else { Enqueued::Retrying })
    }

    /// Stores a message as a dead letter at once: its processor has made all its attempts already.
    ///
    /// # Errors
    /// The database failed; the message must not be dropped.
    pub async fn enqueue_dead(&self, message: FailedMessage) -> Result<(), HistoryError> {
        let stored = self.row(message, None, time::whole_micros(Utc::now()));
        self.store.insert(&stored).await.map(drop)
    }

    /// Stores a message that cannot be read as a dead letter at once: no retry by this build can help. At most
    /// [`RetryConfig::unreadable_per_minute`], since a publisher of another format may send nothing else.
    ///
    /// # Errors
    /// The database failed; the message must not be acknowledged.
    pub async fn enqueue_unreadable(&self, message: FailedMessage) -> Result<Enqueued, HistoryError> {
        if is_dead_letter(&message.subject) || !self.admits_unreadable() {
            metrics::counter!("living_map_dead_letters_dropped_total", "processor" => message.processor).increment(1);
            return Ok(Enqueued::Dropped);
        }
        self.enqueue_dead(message).await.map(|()| Enqueued::Dead)
    }

    fn admits_unreadable(&self) -> bool {
        let mut minute = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.0.elapsed() >= MINUTE {
            *minute = (Instant::now(), 0);
        }
        let admits = minute.1 < self.retries.unreadable_per_minute;
        minute.1 += u32::from(admits);
        admits
    }

    fn row(&self, message: FailedMessage, delay: Option<Duration>, now: DateTime<Utc>) -> StoredDeadLetter {
        let FailedMessage { processor, key, subject, body, raw, origin, error, attempts } = message;
        let id = Uuid::new_v5(&NAMESPACE, format!("{processor}:{key}").as_bytes());
        let status = if delay.is_some() { DeadLetterStatus::Retrying } else { DeadLetterStatus::Dead };
        let letter = DeadLetter {
            id,
            processor: processor.to_owned(),
            subject,
            origin: MessageOrigin { logged_at: time::whole_micros(origin.logged_at), ..origin },
            error: shorten(&error),
            attempts: attempts.max(1),
            status,
            first_failed_at: now,
            last_failed_at: now,
            next_at: Some(now + delay.unwrap_or(self.retries.last_delay)),
            published: false,
            version: 1,
        };
        StoredDeadLetter { letter, body, raw }
    }
}
