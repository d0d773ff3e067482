//! Processing a failed message again.

use async_trait::async_trait;

use crate::history::dead_letters::StoredDeadLetter;

/// Error of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// A service that processing depends on is unavailable. Does not count as an attempt; retried later.
    #[error("cannot be processed now: {0}")]
    Unavailable(String),
    /// The attempt failed.
    #[error("{0}")]
    Failed(String),
}

/// Processes messages of one kind again. Must be idempotent: a message may have been processed before.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Name, as in the `processor` of failed messages.
    fn name(&self) -> &'static str;

    /// Makes one attempt.
    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError>;
}
