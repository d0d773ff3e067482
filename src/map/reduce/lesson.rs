//! `agent.lesson.v1`: an agent shows what was learned of it, for as long as it counts.

use super::About;
use super::agent::ensure;
use crate::map::fold::{Assertion, Fold};
use crate::model::LessonStatus;

/// Bytes of a key that is kept.
const MAX_KEY_BYTES: usize = 256;

pub(super) fn event(fold: &mut Fold<'_>, about: About<'_>) {
    let text = |name| about.text(name).filter(|text| (1..=MAX_KEY_BYTES).contains(&text.len()));
    let (Some(key), Some(status)) = (text("lesson_key"), about.text("status")) else { return };
    let Ok(status) = status.parse::<LessonStatus>() else { return };
    // what holds for all agents shows on none
    let Some(agent) = ensure(fold, about, Assertion::Passing) else { return };
    let Some(entity) = fold.entity(agent) else { return };
    let superseded = text("supersedes").is_some_and(|old| entity.lessons.close(old));
    let changed = if status.is_open() { entity.lessons.open(key) } else { entity.lessons.close(key) };
    if superseded || changed {
        fold.pulse(agent);
    }
}
