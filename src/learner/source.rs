//! Where experiences come from: the stream of experiences, or the table log.

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

/// What was there before.
pub struct Opened {
    /// Whether it is another stream than before: what is remembered of that one is of no use.
    pub another: bool,
    /// What was handed out before, in order, to be folded again. None: the memory goes on.
    pub past: Option<BoxStream<'static, Result<LogEntry, LogError>>>,
    /// Everything up to here has had its effect: what follows from it is durable.
    pub settled: u64,
    /// Everything up to here was handed out.
    pub handed_out: u64,
}

/// Some experiences.
pub struct Batch {
    /// They, in order.
    pub entries: Vec<LogEntry>,
    /// The last position looked at, which may be of no experience.
    pub last: u64,
    /// Entries behind it, as far as that is known.
    pub lag: Option<u64>,
    /// What the stream wants back.
    deliveries: Vec<Delivery>,
}

/// A source of experiences, in order, each until it is settled.
#[async_trait]
pub trait Source: Send + Sync {
    /// Opens it. `fresh`: nothing is remembered, so the past is needed from `memory` before what was not settled.
    async fn open(&mut self, fresh: bool, memory: TimeDelta) -> Result<Opened, LogError>;

    /// The next ones; empty when none came in time.
    async fn fetch(&mut self) -> Result<Batch, LogError>;

    /// Somebody is still at work on a batch.
    async fn in_progress(&self, batch: &Batch);

    /// What follows from a batch is durable.
    async fn settle(&mut self, batch: Batch);

    /// The position to be kept with what was learned; none where the source keeps it itself.
    fn position(&self, batch: &Batch) -> Option<Cursor>;

    /// `jetstream` or `table`.
    fn kind(&self) -> &'static str;
}
