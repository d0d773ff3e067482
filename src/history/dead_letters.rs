//! Dead letters: messages that could not be processed. A failure is kept at once, with when it is to be tried again, so
//! that the stream behind it goes on, a restart forgets nothing and the memory holds nothing; when all attempts have failed
//! it is a dead letter.
//!
//! A part of the server that processes messages hands what fails to [`DeadLetterQueue::failed`], acknowledges it, and gives
//! whoever tries again a [`Processor`].
//!
//! | metric | |
//! |---|---|
//! | `living_map_processing_failures_total{processor}` | messages that failed for the first time |
//! | `living_map_dead_letters_dropped_total{processor}` | failed messages that were dead letters themselves, and are not kept twice |

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{HistoryError, PagePosition};
use crate::model::subject::{Pattern, is_dead_letter};
use crate::model::{Cursor, LogEntry, envelope, time};

/// The namespace of the letters' ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6c65_7474_6572);

/// Characters of an error that are kept: it is told, not its whole cause.
const MAX_ERROR_CHARS: usize = 1_000;

/// What becomes of a letter.
///
/// | from | a retry succeeds | the last retry fails | replayed | discarded |
/// |---|---|---|---|---|
/// | `retrying` | it is deleted | `dead` | `replayed`; when it fails, as after any retry | `discarded` |
/// | `dead` | `replayed` | `dead` | `replayed`; `dead` when it fails | `discarded` |
/// | `replayed` | | | stays | refused |
/// | `discarded` | | | refused | stays |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeadLetterStatus {
    /// It failed and will be tried again soon.
    Retrying,
    /// All attempts failed: somebody should look at it.
    Dead,
    /// It was processed after all.
    Replayed,
    /// Somebody decided that it is not worth processing.
    Discarded,
}

impl DeadLetterStatus {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Retrying, Self::Dead, Self::Replayed, Self::Discarded];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

impl FromStr for DeadLetterStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.iter().find(|status| status.as_str() == text);
        named.copied().ok_or_else(|| "expected one of retrying dead replayed discarded".to_owned())
    }
}

impl fmt::Display for DeadLetterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The stream (`LIVING_MAP`, `EXPERIENCE`), or `table` for the table log.
    pub stream: String,
    /// Its position there; 0 for a message that never got one.
    pub seq: u64,
    /// Its position in the log, where it has one.
    pub cursor: Option<Cursor>,
    /// When the stream took it.
    pub logged_at: DateTime<Utc>,
}

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Who failed: the name of the [`Processor`] that can try again.
    pub processor: &'static str,
    /// The message's name within its processor: the same message failing twice is one letter. By default its origin; an
    /// event's id where it has no place.
    pub key: String,
    /// Its subject.
    pub subject: String,
    /// Its body, as [`envelope::read`] takes it.
    pub body: Bytes,
    /// Its original bytes, where `body` has lost something of them.
    pub raw: Option<Bytes>,
    /// Where it is.
    pub origin: Origin,
    /// Why it failed.
    pub error: String,
    /// How often it was tried, at least 1. What was tried more often than there are retries is dead at once.
    pub attempts: u32,
}

impl Failure {
    /// A message of a stream, as it came.
    #[must_use]
    pub fn of_message(processor: &'static str, subject: &str, body: Bytes, origin: Origin, error: String) -> Self {
        let key = format!("{}:{}:{}", origin.stream, origin.seq, origin.logged_at.timestamp_micros());
        Self { processor, key, subject: subject.to_owned(), body, raw: None, origin, error, attempts: 1 }
    }

    /// An entry of the log that `stream` holds.
    #[must_use]
    pub fn of_entry(processor: &'static str, stream: &str, entry: &LogEntry, error: String) -> Self {
        Self {
            processor,
            key: entry.event.id.to_string(),
            subject: entry.event.event_type.clone(),
            body: envelope::write(&entry.event).to_string().into(),
            raw: entry.raw.clone(),
            origin: Origin {
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

/// A letter without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id: the same for the same message of the same processor.
    pub id: Uuid,
    /// Who failed, and tries again.
    pub processor: String,
    /// The message's subject.
    pub subject: String,
    /// Where the message is.
    pub origin: Origin,
    /// Why the last attempt failed.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What became of it.
    pub status: DeadLetterStatus,
    /// When it failed first.
    pub first_failed_at: DateTime<Utc>,
    /// When it failed last.
    pub last_failed_at: DateTime<Utc>,
    /// When it is tried again by itself; none if it is not.
    pub next_at: Option<DateTime<Utc>>,
    /// Whether `{subject}.dlq` is on the bus.
    pub published: bool,
    /// Grows with each change: of two that change it at once, one is too late.
    pub version: i64,
}

/// A letter with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The letter.
    pub letter: DeadLetter,
    /// The message's body.
    pub body: Bytes,
    /// Its original bytes, where the body has lost something of them.
    pub raw: Option<Bytes>,
}

impl StoredDeadLetter {
    /// The message as an entry of the log; one without a place there is at position 0.
    #[must_use]
    pub fn entry(&self) -> LogEntry {
        let origin = &self.letter.origin;
        let cursor = origin.cursor.unwrap_or(Cursor { epoch: crate::model::Epoch(0), seq: origin.seq });
        let (subject, logged_at) = (self.letter.subject.as_str(), origin.logged_at);
        let message = envelope::Message { subject, headers: &[], body: &self.body, cursor, logged_at };
        let entry = envelope::read(&message);
        LogEntry { raw: self.raw.clone().or_else(|| entry.raw.clone()), ..entry }
    }
}

/// Which letters are wanted; all filters must hold.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    /// Subject, with wildcards.
    pub subject: Option<Pattern>,
    /// What became of it.
    pub status: Option<DeadLetterStatus>,
    /// First failed at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// First failed before this time.
    pub until: Option<DateTime<Utc>>,
    /// Keyset paging: behind this one, by the time of its first failure and its id.
    pub after: Option<PagePosition>,
    /// Letters wanted, at least 1.
    pub limit: u32,
}

/// One page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// The letters.
    pub items: Vec<DeadLetter>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
}

/// The letters in the database. All methods may be called from any task; what is written is durable when the call returns.
#[async_trait]
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Keeps a letter; false if there is one of this id, which stays as it is.
    async fn keep(&self, kept: &StoredDeadLetter) -> Result<bool, HistoryError>;

    /// One with its content.
    async fn letter(&self, id: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError>;

    /// A page, newest first by the first failure.
    async fn letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, HistoryError>;

    /// Those to be tried again at `now`, the longest due first.
    async fn due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError>;

    /// Dead ones that are not on the bus yet, oldest first.
    async fn unpublished(&self, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError>;

    /// Puts `letter` in the place of the one of this id and version, and raises the version; false if there is none: it
    /// was changed, or deleted. Content, origin and first failure stay.
    async fn change(&self, letter: &DeadLetter) -> Result<bool, HistoryError>;

    /// How many are in this status.
    async fn count(&self, status: DeadLetterStatus) -> Result<u64, HistoryError>;

    /// Those that first failed before `before` and are not tried again soon, oldest first.
    async fn expired(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError>;

    /// Deletes these, of these versions; the number deleted.
    async fn remove(&self, letters: &[(Uuid, i64)]) -> Result<u64, HistoryError>;
}

/// Why a message was not processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// What it takes is away: no attempt at all, to be made later.
    #[error("cannot be tried now: {0}")]
    Away(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

/// A part of the server that processes messages, for those who try them again. Processing a message that was processed
/// already must do no harm.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Its name, as in [`Failure::processor`].
    fn name(&self) -> &'static str;

    /// Tries once more.
    async fn process(&self, kept: &StoredDeadLetter) -> Result<(), ProcessError>;
}

/// How often and when a message is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryConfig {
    /// The waits before each attempt but the first. Default 1 s, 5 s, 30 s.
    pub delays: Vec<Duration>,
    /// From a letter's death to the one attempt after it. Default 24 h.
    pub last_delay: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let delays = [1, 5, 30].map(Duration::from_secs).to_vec();
        Self { delays, last_delay: Duration::from_hours(24) }
    }
}

impl RetryConfig {
    /// The wait after the `attempts`-th attempt has failed; none when it was the last.
    #[must_use]
    pub fn delay(&self, attempts: u32) -> Option<Duration> {
        self.delays.get(usize::try_from(attempts).ok()?.checked_sub(1)?).copied()
    }

    /// The letter after another failed attempt.
    #[must_use]
    pub fn failed(&self, letter: DeadLetter, error: &str, now: DateTime<Utc>) -> DeadLetter {
        let attempts = letter.attempts.saturating_add(1);
        let delay = self.delay(attempts).filter(|_| letter.status == DeadLetterStatus::Retrying);
        let (status, next_at) = match (delay, letter.status) {
            (Some(delay), _) => (DeadLetterStatus::Retrying, Some(now + delay)),
            (None, DeadLetterStatus::Retrying) => (DeadLetterStatus::Dead, Some(now + self.last_delay)),
            // an attempt that somebody asked for is none of those it makes by itself
            (None, _) => (DeadLetterStatus::Dead, letter.next_at.filter(|at| *at > now)),
        };
        DeadLetter { attempts, status, next_at, error: shorten(error), last_failed_at: now, ..letter }
    }
}

/// What becomes of a message that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is kept and will be tried again.
    Retrying,
    /// It is kept as a dead letter.
    Dead,
    /// It is a dead letter itself and not kept twice.
    Dropped,
}

/// Takes what failed. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterQueue {
    store: Arc<dyn DeadLetterStore>,
    retries: RetryConfig,
}

impl fmt::Debug for DeadLetterQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("retries", &self.retries).finish_non_exhaustive()
    }
}

impl DeadLetterQueue {
    /// Letters in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn DeadLetterStore>, retries: RetryConfig) -> Self {
        Self { store, retries }
    }

    /// Where the letters are.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn DeadLetterStore> {
        &self.store
    }

    /// When they are tried again.
    #[must_use]
    pub fn retries(&self) -> &RetryConfig {
        &self.retries
    }

    /// Keeps a message that failed. When this returns it is durable, and may be acknowledged.
    ///
    /// # Errors
    /// The database's; then the message must not be acknowledged.
    pub async fn failed(&self, failure: Failure) -> Result<Fate, HistoryError> {
        let processor = failure.processor;
        if is_dead_letter(&failure.subject) {
            metrics::counter!("living_map_dead_letters_dropped_total", "processor" => processor).increment(1);
            return Ok(Fate::Dropped);
        }
        let delay = self.retries.delay(failure.attempts);
        let kept = self.letter_of(failure, delay, time::whole_micros(Utc::now()));
        if self.store.keep(&kept).await? {
            metrics::counter!("living_map_processing_failures_total", "processor" => processor).increment(1);
        }
        Ok(if kept.letter.status == DeadLetterStatus::Dead { Fate::Dead } else { Fate::Retrying })
    }

    /// Keeps a message that was tried as often as its own processor tries one: it is dead at once.
    ///
    /// # Errors
    /// The database's; then the message must not be forgotten.
    pub async fn died(&self, failure: Failure) -> Result<(), HistoryError> {
        let kept = self.letter_of(failure, None, time::whole_micros(Utc::now()));
        self.store.keep(&kept).await.map(drop)
    }

    fn letter_of(&self, failure: Failure, delay: Option<Duration>, now: DateTime<Utc>) -> StoredDeadLetter {
        let Failure { processor, key, subject, body, raw, origin, error, attempts } = failure;
        let id = Uuid::new_v5(&NAMESPACE, format!("{processor}:{key}").as_bytes());
        let status = if delay.is_some() { DeadLetterStatus::Retrying } else { DeadLetterStatus::Dead };
        let letter = DeadLetter {
            id,
            processor: processor.to_owned(),
            subject,
            origin: Origin { logged_at: time::whole_micros(origin.logged_at), ..origin },
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

/// The beginning of an error, without what a database cannot hold.
fn shorten(error: &str) -> String {
    error.chars().filter(|c| *c != '\0').take(MAX_ERROR_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            id: Uuid::nil(),
            processor: "history".into(),
            subject: "a.b".into(),
            origin: Origin { stream: "table".into(), seq: 1, cursor: None, logged_at: DateTime::UNIX_EPOCH },
            error: String::new(),
            attempts: 1,
            status: DeadLetterStatus::Retrying,
            first_failed_at: DateTime::UNIX_EPOCH,
            last_failed_at: DateTime::UNIX_EPOCH,
            next_at: None,
            published: false,
            version: 1,
        }
    }

    #[test]
    fn it_is_tried_after_one_five_and_thirty_seconds_then_once_after_a_day() {
        let retries = RetryConfig::default();
        let mut now = DateTime::UNIX_EPOCH;
        let mut letter = letter();
        let mut waits = vec![retries.delay(1).unwrap().as_secs()];
        for _ in 0..3 {
            letter = retries.failed(letter, "no", now);
            let next = letter.next_at.unwrap();
            waits.push((next - now).num_seconds().unsigned_abs());
            now = next;
        }
        assert_eq!(waits, [1, 5, 30, 24 * 3_600]);
        assert_eq!((letter.status, letter.attempts), (DeadLetterStatus::Dead, 4));
        letter = retries.failed(letter, "still no", now);
        assert_eq!((letter.status, letter.attempts, letter.next_at), (DeadLetterStatus::Dead, 5, None));
    }

    #[test]
    fn an_attempt_that_somebody_asked_for_does_not_use_up_its_own() {
        let retries = RetryConfig::default();
        let tomorrow = DateTime::UNIX_EPOCH + Duration::from_hours(24);
        let dead = DeadLetter { status: DeadLetterStatus::Dead, attempts: 4, next_at: Some(tomorrow), ..letter() };
        assert_eq!(retries.failed(dead, "no", DateTime::UNIX_EPOCH).next_at, Some(tomorrow));
    }

    #[test]
    fn every_status_has_a_name_that_reads_back() {
        for status in DeadLetterStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert!("gone".parse::<DeadLetterStatus>().is_err());
    }
}
