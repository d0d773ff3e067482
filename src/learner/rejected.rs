//! Dead letters: events that could not be read as experiences.

use async_trait::async_trait;

use super::experience;
use crate::dead_letters::{ProcessError, Processor};
use crate::history::dead_letters::StoredDeadLetter;

/// Name of the processor in dead letters.
pub const PROCESSOR: &str = "learner";

/// Reads the event of a dead letter again. It never learns from it, since learning needs the order of the stream: an
/// event that a newer build can read must be published again.
#[derive(Debug, Clone, Copy)]
pub struct ExperienceProcessor;

#[async_trait]
impl Processor for ExperienceProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        match experience::read(&stored.entry().event) {
            Ok(_) => Err(ProcessError::Failed(
                "the experience can be read now; publish it again to learn from it".to_owned(),
            )),
            Err(error) => Err(ProcessError::Failed(error.to_string())),
        }
    }
}
