//! Sources of experiences: the JetStream stream of experiences, or the table log.

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::stream::BoxStream;

use crate::log::LogError;
use crate::log::experiences::Delivery;
use crate::model::{Cursor, LogEntry};

mod stream;
mod table;

pub use stream::StreamSource;
pub use table::{READER, TableSource};

/// State of a source when it is opened.
pub struct Opened {
    /// The stream is a different one than before: the learner's state is invalid.
    pub replaced: bool,
    /// Entries that were delivered before, in order, to rebuild the state from. None: the state is still valid.
    pub past: Option<BoxStream<'static, Result<LogEntry, LogError>>>,
    /// Last position whose effects are durable.
    pub committed: u64,
    /// Last position that was delivered.
    pub delivered: u64,
}

/// A batch of experiences.
pub struct ExperienceBatch {
    /// The experiences, in order.
    pub entries: Vec<LogEntry>,
    /// The last position read, which may not be an experience.
    pub last: u64,
    /// Number of entries after it, if known.
    pub lag: Option<u64>,
    /// Deliveries to acknowledge.
    deliveries: Vec<Delivery>,
}

/// A source of experiences in order. It delivers each again until it is committed.
#[async_trait]
pub trait Source: Send + Sync {
    /// Opens the source. `fresh`: the state is empty, so the past is needed from `lookback` before the uncommitted
    /// entries on.
    async fn open(&mut self, fresh: bool, lookback: TimeDelta) -> Result<Opened, LogError>;

    /// The next batch; empty after a timeout.
    async fn fetch(&mut self) -> Result<ExperienceBatch, LogError>;

    /// Extends the time until a batch is delivered again.
    async fn in_progress(&self, batch: &ExperienceBatch);

    /// Acknowledges a batch, whose effects are durable.
    async fn commit(&mut self, batch: ExperienceBatch);

    /// The position to store with the lessons; none if the source stores it itself.
    fn position(&self, batch: &ExperienceBatch) -> Option<Cursor>;

    /// `jetstream` or `table`.
    fn kind(&self) -> &'static str;
}
