//! Retrying messages of the log that could not be read.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::dead_letters::{ProcessError, Processor};
use crate::history::dead_letters::StoredDeadLetter;
use crate::log::{EventLog, LogError};
use crate::model::{Event, NewEvent, envelope};

/// Name of the processor that reads unreadable messages again.
pub const PROCESSOR: &str = "reader";

/// Reads a message again that could not be read, for a build that can read more. The message has its event in the log already,
/// without a payload; what can be read now is appended as another event.
pub struct UnreadableProcessor {
    log: Arc<dyn EventLog>,
}

impl UnreadableProcessor {
    /// A processor that appends to `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }
}

#[async_trait]
impl Processor for UnreadableProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        let first = stored.entry();
        let body = first.raw.as_deref().unwrap_or_default();
        let (subject, cursor, logged_at) = (&*first.event.event_type, first.cursor, first.logged_at);
        let again = envelope::read(&envelope::Message { subject, headers: &[], body, cursor, logged_at });
        if again.event.notes.is_unreadable() {
            return Err(ProcessError::Failed(again.event.notes.to_string()));
        }
        // the same for each attempt, and another one than that of the event without a payload
        let id = Uuid::new_v5(&first.event.id, b"read again");
        let event = Event { id, idempotency_key: None, ..again.event };
        match self.log.append(vec![NewEvent::from(event)]).await.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(LogError::Unavailable(error))) => Err(ProcessError::Unavailable(error)),
            Some(Err(error)) => Err(ProcessError::Failed(error.to_string())),
            None => Err(ProcessError::Unavailable("the log gave no answer".to_owned())),
        }
    }
}
