//! The one ordered log. Two implementations, one shared test suite: the `JetStream` stream `LIVING_MAP`, and the table log
//! of one process over its [`crate::history`].

mod dead_letters;
pub mod experiences;
pub mod jetstream;
mod open;
pub mod table;
pub mod writer;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use tracing::Span;
use uuid::Uuid;

use crate::model::{Cursor, Epoch, LogEntry, NewEvent};
use crate::telemetry::{self, TARGET};

pub use dead_letters::dead_letter_publisher;
pub use experiences::{ExperienceConfig, Experiences};
pub use jetstream::{JetStreamConfig, JetStreamLog};
pub use open::{LogConfig, LogHandles, NatsLogConfig, OpenLog};
pub use table::{LogProcessor, TableLog, TableLogConfig};
pub use writer::{HistoryProcessor, HistoryWriter, WriterConfig, WriterStatus};

/// Why the log could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It is away; the same call may succeed later.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// It does not take events of this subject.
    #[error("no stream of the log records the subject '{0}'")]
    NotRecorded(String),
    /// The event is larger than the log takes.
    #[error("the event is {size} bytes, the log takes at most {limit}")]
    TooLarge {
        /// Bytes of the event.
        size: usize,
        /// Bytes the log takes.
        limit: usize,
    },
    /// The database behind the log cannot hold this event.
    #[error("the event cannot be stored: {0}")]
    Refused(String),
    /// The position asked for was dropped already.
    #[error("the log begins at {oldest} now")]
    Truncated {
        /// The oldest position held.
        oldest: u64,
    },
    /// The log is another one than the caller knew.
    #[error("the log was recreated; it is {0} now")]
    EpochChanged(Epoch),
}

/// What became of one appended event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The event's id.
    pub id: Uuid,
    /// Its position; for a duplicate that of the first one, if it is still known. None for an event that another stream
    /// took, from which the log takes it in a moment.
    pub cursor: Option<Cursor>,
    /// Whether the log had it already.
    pub duplicate: bool,
}

/// What the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Its identity.
    pub epoch: Epoch,
    /// The oldest position held; `last + 1` when it holds nothing.
    pub first: u64,
    /// The newest position; 0 before the first event.
    pub last: u64,
    /// When the oldest event was taken.
    pub first_at: Option<DateTime<Utc>>,
}

/// A span for an append of so many events.
fn append_span(events: usize) -> Span {
    tracing::info_span!(target: TARGET, "append", otel.kind = "producer", messaging.batch.message_count = events)
}

/// Says of events of no trace that they belong to the current one.
fn join_trace(events: &mut [NewEvent]) {
    if let Some(here) = telemetry::current() {
        for new in events {
            new.event.traced(here);
        }
    }
}

/// The ordered log.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends events, in order; durable when it returns. One result for each, since one may be refused and the next
    /// taken.
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>>;

    /// What the log holds now.
    async fn bounds(&self) -> Result<Bounds, LogError>;

    /// Every entry after position `after`, in order, without a gap and without an end: at its end the stream waits for
    /// more, and over an outage it reconnects by itself.
    ///
    /// An error item ends the stream: [`LogError::Truncated`] when entries were dropped before they could be read,
    /// [`LogError::EpochChanged`] when the log is another one.
    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError>;

    /// Whether events can be appended and read right now; the reason if not.
    async fn ready(&self) -> Result<(), LogError>;

    /// `jetstream` or `table`.
    fn kind(&self) -> &'static str;
}
