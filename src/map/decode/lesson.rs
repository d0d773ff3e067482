//! `agent.lesson.v1`: lessons about an agent that were opened or closed.

use crate::model::LessonStatus;

use super::agent::exists;
use super::assertion::{Assertion, Certainty, Operation};
use super::reader::EventReader;

/// Longest key that is kept, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// None for a lesson that applies to all agents.
pub(super) fn event(reader: EventReader<'_>) -> Option<Assertion<'_>> {
    let text = |name| reader.text(name).filter(|text| (1..=MAX_KEY_BYTES).contains(&text.len()));
    let key = text("lesson_key")?;
    let status = reader.text("status")?.parse::<LessonStatus>().ok()?;
    let lesson = Operation::Lesson { key, open: status.is_open(), supersedes: text("supersedes") };
    Some(exists(reader, Certainty::Mentioned)?.with([lesson]))
}
