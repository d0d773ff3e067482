//! The event log: all events in one order. Two implementations with one shared test suite: the `JetStream` stream
//! `LIVING_MAP`, and the table log of a single process in its [`crate::history`].

pub mod bridge;
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

use crate::bus::NotSourced;
use crate::model::{Cursor, Epoch, LogEntry, NewEvent};
use crate::telemetry::{self, TARGET};

pub use bridge::{Bridge, BridgeConfig, BridgeHandles, BridgeStatus};
pub use dead_letters::dead_letter_publisher;
pub use experiences::{ExperienceConfig, ExperienceStream};
pub use jetstream::{JetStreamConfig, JetStreamLog};
pub use open::{LogConfig, LogHandles, NatsLogConfig, OpenLog};
pub use table::{LogProcessor, TableLog, TableLogConfig};
pub use writer::{HistoryProcessor, HistoryWriter, UnreadableProcessor, WriterConfig, WriterStatus};

/// Error of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The log is unavailable; the same call may succeed later.
    #[error("the event log is unavailable: {0}")]
    Unavailable(String),
    /// The NATS account lacks a permission for this event. The same call may succeed once it is granted.
    #[error("the event log cannot record this event: {0}")]
    Denied(String),
    /// The log does not record this subject.
    #[error("the event log does not record the subject '{0}'")]
    NotRecorded(String),
    /// The event is too large.
    #[error("the event has {size} bytes; the event log accepts at most {limit}")]
    TooLarge {
        /// Size of the event, bytes.
        size: usize,
        /// Limit of the log, bytes.
        limit: usize,
    },
    /// The database of the log rejected the event.
    #[error("the event cannot be stored: {0}")]
    Refused(String),
    /// Entries after the requested position were deleted.
    #[error("the requested entries were deleted; the event log begins at position {oldest}")]
    Truncated {
        /// First position of the log.
        oldest: u64,
    },
    /// The log has another epoch than the one requested.
    #[error("the event log was recreated; its epoch is {0}")]
    EpochChanged(Epoch),
}

/// Result of appending one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Id of the event.
    pub id: Uuid,
    /// Position of the event; for a duplicate that of the first one, if it is still known. `None` for an event stored in
    /// another stream, from which the log sources it a moment later.
    pub cursor: Option<Cursor>,
    /// True if the log had the event already.
    pub duplicate: bool,
}

/// Epoch, first and last position of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Epoch of the log.
    pub epoch: Epoch,
    /// First position; `last + 1` when the log is empty.
    pub first: u64,
    /// Last position; 0 before the first event.
    pub last: u64,
    /// Time when the first event was stored.
    pub first_at: Option<DateTime<Utc>>,
}

/// A span for an append of `events` events.
fn append_span(events: usize) -> Span {
    tracing::info_span!(target: TARGET, "append", otel.kind = "producer", messaging.batch.message_count = events)
}

/// Adds events without a trace to the current one.
fn join_trace(events: &mut [NewEvent]) {
    if let Some(here) = telemetry::current() {
        for new in events {
            new.event.traced(here);
        }
    }
}

/// The event log.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends events in order; they are durable when this returns. Returns one result for each event, since one may be
    /// rejected and the next accepted.
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>>;

    /// Current bounds of the log.
    async fn bounds(&self) -> Result<Bounds, LogError>;

    /// A stream of all entries after position `after`, in order and without gaps. At the end of the log it waits for more,
    /// and after an outage it reconnects.
    ///
    /// An error item ends the stream: [`LogError::Truncated`] when entries were deleted before they could be read,
    /// [`LogError::EpochChanged`] when the log has another epoch.
    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError>;

    /// Gives the log a new epoch if it still has `epoch`, because the caller knows that it has lost entries. Returns the
    /// current epoch. A log that detects such losses itself leaves its epoch unchanged.
    async fn lost_entries(&self, _epoch: Epoch) -> Result<Epoch, LogError> {
        Ok(self.bounds().await?.epoch)
    }

    /// Checks that events can be appended and read now.
    async fn ready(&self) -> Result<(), LogError>;

    /// Limitation of a log that works, such as acknowledged events that a power failure may take.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Subjects of the log that other streams have, and that it does not source from there.
    fn unsourced(&self) -> Vec<NotSourced> {
        Vec::new()
    }

    /// `jetstream` or `table`.
    fn kind(&self) -> &'static str;
}
