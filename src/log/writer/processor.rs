//! Retrying events that the history database rejected.

use std::sync::Arc;

use async_trait::async_trait;

use super::PROCESSOR;
use crate::dead_letters::{ProcessError, Processor};
use crate::history::dead_letters::StoredDeadLetter;
use crate::history::{History, HistoryError};

/// Writes events to the history that it rejected.
pub struct HistoryProcessor {
    history: Arc<dyn History>,
}

impl HistoryProcessor {
    /// A processor that writes to `history`.
    #[must_use]
    pub fn new(history: Arc<dyn History>) -> Self {
        Self { history }
    }
}

#[async_trait]
impl Processor for HistoryProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        // another service may have written the row while the event waited
        match self.history.write_after_absence(&[stored.entry()]).await {
            Ok(_) => Ok(()),
            Err(error @ HistoryError::Rejected(_)) => Err(ProcessError::Failed(error.to_string())),
            Err(error) => Err(ProcessError::Unavailable(error.to_string())),
        }
    }
}
