//! What is no experience, for those who try again what could not be processed.

use async_trait::async_trait;

use super::experience;
use crate::dead_letters::{ProcessError, Processor};
use crate::history::dead_letters::StoredDeadLetter;

/// The name of who reads it again.
pub const PROCESSOR: &str = "learner";

/// Reads once more what was no experience. Learning is by the order of the stream, so what can be read after all (by a
/// build that knows its form) is to be sent again, not learned from out of its turn.
#[derive(Debug, Clone, Copy)]
pub struct ExperienceProcessor;

#[async_trait]
impl Processor for ExperienceProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        match experience::read(&stored.entry().event) {
            Ok(_) => Err(ProcessError::Failed("it can be read now: send it again, to be learned from".to_owned())),
            Err(error) => Err(ProcessError::Failed(error.to_string())),
        }
    }
}
