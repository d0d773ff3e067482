//! An agent with a problem.

use super::Case;
use crate::learner::agent_counts::{DIMENSIONS, dimensions};
use crate::model::NewLesson;

/// An agent that has the problem, or had it recently.
#[derive(Debug)]
pub(super) struct AffectedAgent {
    pub(super) agent: String,
    /// Log time at which it got the problem.
    pub(super) began: i64,
    /// Log time of the last occurrence.
    pub(super) last: i64,
    pub(super) recovered: bool,
    /// Its lessons about this problem, each with its rule; the first one is that of the current occurrence.
    pub(super) lessons: Vec<(String, String)>,
    /// The experience that completed the first lesson.
    pub(super) evidence: String,
    /// Its names in each of the [`DIMENSIONS`].
    pub(super) names: [Option<String>; DIMENSIONS.len()],
}

impl AffectedAgent {
    pub(super) fn new(lesson: &NewLesson, case: Case<'_>) -> Self {
        Self {
            agent: case.experience.agent_id.clone(),
            began: case.logged,
            last: case.logged,
            recovered: false,
            lessons: vec![(lesson.rule.clone(), lesson.lesson_key.clone())],
            evidence: case.experience.event_id.clone(),
            names: dimensions(case.experience).map(|name| name.map(str::to_owned)),
        }
    }
}
