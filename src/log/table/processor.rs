//! Retrying events that the database rejected.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::{EventLog, LogError};
use super::PROCESSOR;
use crate::dead_letters::{ProcessError, Processor};
use crate::history::dead_letters::StoredDeadLetter;
use crate::model::NewEvent;

/// Appends events to the table log that its database rejected.
pub struct LogProcessor {
    log: Arc<dyn EventLog>,
}

impl LogProcessor {
    /// A processor that appends to `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }
}

#[async_trait]
impl Processor for LogProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        let entry = stored.entry();
        let event = NewEvent { event: entry.event, raw: entry.raw };
        match self.log.append(vec![event]).await.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(LogError::Unavailable(error))) => Err(ProcessError::Unavailable(error)),
            Some(Err(error)) => Err(ProcessError::Failed(error.to_string())),
            None => Err(ProcessError::Unavailable("the log gave no answer".to_owned())),
        }
    }
}
