//! Store of failed messages: one row of the table `dead_letters` for each. A row is written at the first failure, so that
//! the stream goes on, a restart forgets nothing and no memory is held; when all attempts have failed, it is a dead letter.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{HistoryError, Page, PagePosition};
use crate::model::subject::Pattern;
use crate::model::{Cursor, Epoch, LogEntry, envelope};

/// Status of a failed message, and its transitions.
///
/// | from | a retry succeeds | the last retry fails | replay request | discard request |
/// |---|---|---|---|---|
/// | `retrying` | row deleted | `dead` | `replayed`; on failure, as after any retry | `discarded` |
/// | `dead` | `replayed` | `dead` | `replayed`; on failure, `dead` | `discarded` |
/// | `replayed` | | | unchanged | rejected |
/// | `discarded` | | | rejected | unchanged |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LetterStatus)]
pub enum DeadLetterStatus {
    /// Failed, with a retry scheduled.
    Retrying,
    /// All attempts failed: a person should look at it.
    Dead,
    /// Processed by a later attempt or a replay.
    Replayed,
    /// Marked by a person as not worth processing.
    Discarded,
}

impl DeadLetterStatus {
    /// All statuses.
    pub const ALL: &[Self] = &[Self::Retrying, Self::Dead, Self::Replayed, Self::Discarded];

    /// Name on the wire and in the table.
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

/// Stream and position of the original message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageOrigin {
    /// Stream (`LIVING_MAP`, `EXPERIENCE`), or `table` for the table log.
    pub stream: String,
    /// Position in the stream; 0 for a message that never got one.
    pub seq: u64,
    /// Position in the event log; `None` for a message of another stream.
    pub cursor: Option<Cursor>,
    /// Time when the stream stored the message.
    pub logged_at: DateTime<Utc>,
}

/// A failed message without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Id, derived from the processor and the message: the same message failing twice has one row.
    pub id: Uuid,
    /// Name of the processor that failed, which also retries.
    pub processor: String,
    /// Subject of the message.
    pub subject: String,
    /// Stream and position of the message.
    pub origin: MessageOrigin,
    /// Error of the last attempt.
    pub error: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Status.
    pub status: DeadLetterStatus,
    /// Time of the first failure.
    pub first_failed_at: DateTime<Utc>,
    /// Time of the last failure.
    pub last_failed_at: DateTime<Utc>,
    /// Time of the next automatic attempt; `None` when there is none.
    pub next_at: Option<DateTime<Utc>>,
    /// True once `{subject}.dlq` is published to the event log.
    pub published: bool,
    /// Raised by each update: of two concurrent updates, the second fails.
    pub version: i64,
}

/// A failed message with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The row without its content.
    pub letter: DeadLetter,
    /// Body of the message.
    pub body: Bytes,
    /// Original bytes of the message, where the body has lost some of them.
    pub raw: Option<Bytes>,
}

impl StoredDeadLetter {
    /// The message as an entry of the event log; at position 0 when it has none there.
    #[must_use]
    pub fn entry(&self) -> LogEntry {
        let origin = &self.letter.origin;
        let cursor = origin.cursor.unwrap_or(Cursor { epoch: Epoch(0), seq: origin.seq });
        let (subject, logged_at) = (self.letter.subject.as_str(), origin.logged_at);
        let message = envelope::Message { subject, headers: &[], body: &self.body, cursor, logged_at };
        let entry = envelope::read(&message);
        LogEntry { raw: self.raw.clone().or_else(|| entry.raw.clone()), ..entry }
    }
}

/// Filters of a list; all of them must match.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    /// Subject, with wildcards.
    pub subject: Option<Pattern>,
    /// Status.
    pub status: Option<DeadLetterStatus>,
    /// First failed at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// First failed before this time.
    pub until: Option<DateTime<Utc>>,
    /// Keyset paging: rows after this one, by the time of the first failure and id.
    pub after: Option<PagePosition>,
    /// Number of rows to skip; bounded by the caller.
    pub offset: u32,
    /// Maximum number of rows, at least 1.
    pub limit: u32,
}

/// Store of failed messages. Methods may be called from any task; a write is durable when it returns.
#[async_trait]
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Inserts a row; false when there is one with this id, which stays unchanged.
    async fn insert(&self, stored: &StoredDeadLetter) -> Result<bool, HistoryError>;

    /// One row with its content.
    async fn get(&self, id: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError>;

    /// A page, newest first by the time of the first failure.
    async fn list(&self, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, HistoryError>;

    /// Rows whose next attempt is due at `now`, the longest due first; fewer than `limit` if they are large.
    async fn due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError>;

    /// Dead letters not yet published to the event log, oldest first; fewer than `limit` if they are large.
    async fn unpublished(&self, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError>;

    /// Replaces the row with this id and version and raises its version; false when there is none: it was updated or
    /// deleted meanwhile. Content, origin and time of the first failure are left unchanged.
    async fn update(&self, letter: &DeadLetter) -> Result<bool, HistoryError>;

    /// Number of rows with this status.
    async fn count(&self, status: DeadLetterStatus) -> Result<u64, HistoryError>;

    /// Rows not in status `retrying` that first failed before `before`, oldest first; fewer than `limit` if they are
    /// large.
    async fn expired(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<StoredDeadLetter>, HistoryError>;

    /// Deletes the rows with these ids and versions; returns the number deleted.
    async fn delete(&self, letters: &[(Uuid, i64)]) -> Result<u64, HistoryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_name_that_parses() {
        for status in DeadLetterStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert!("gone".parse::<DeadLetterStatus>().is_err());
    }
}
