//! Who can try again what failed in the record or in the table log.

use std::sync::Arc;

use async_trait::async_trait;

use crate::history::dead_letters::{ProcessError, Processor, StoredDeadLetter};
use crate::history::{History, HistoryError};
use crate::log::{EventLog, LogError, table, writer};
use crate::model::NewEvent;

/// Writes events into the record that it refused.
pub struct RecordProcessor(pub Arc<dyn History>);

#[async_trait]
impl Processor for RecordProcessor {
    fn name(&self) -> &'static str {
        writer::PROCESSOR
    }

    async fn process(&self, kept: &StoredDeadLetter) -> Result<(), ProcessError> {
        match self.0.write(&[kept.entry()]).await {
            Ok(_) => Ok(()),
            Err(error @ HistoryError::Refused(_)) => Err(ProcessError::Failed(error.to_string())),
            Err(error) => Err(ProcessError::Away(error.to_string())),
        }
    }
}

/// Appends events to the table log that its database refused.
pub struct LogProcessor(pub Arc<dyn EventLog>);

#[async_trait]
impl Processor for LogProcessor {
    fn name(&self) -> &'static str {
        table::PROCESSOR
    }

    async fn process(&self, kept: &StoredDeadLetter) -> Result<(), ProcessError> {
        let entry = kept.entry();
        let event = NewEvent { event: entry.event, raw: entry.raw };
        match self.0.append(vec![event]).await.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(LogError::Unavailable(error))) => Err(ProcessError::Away(error)),
            Some(Err(error)) => Err(ProcessError::Failed(error.to_string())),
            None => Err(ProcessError::Away("the log gave no answer".to_owned())),
        }
    }
}
