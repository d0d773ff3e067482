//! The memory of lessons: an append-only record, an append-only log of operations beside it, and what the operations add
//! up to.
//!
//! | operation | |
//! |---|---|
//! | upsert | a new lesson; when the identical one is there, its replay count goes up |
//! | revise | a new version; the one before is marked as superseded by it |
//! | retire | no longer handed out |
//! | review | a candidate is confirmed or rejected |
//! | outcome | a lesson that was handed out helped, or did not |
//!
//! A lesson of an agent can name another one as its cause, which many agents have in common; that one counts its effects.
//!
//! Each of them may be repeated: what is done already is not done again. One that is meant for an older version than the
//! newest is refused as stale.

mod memory;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HistoryError;
use crate::model::{Cursor, Lesson, LessonStatus, NewLesson};

pub(super) use memory::{Transaction, apply, learn, outcome};
pub use words::Words;
pub(super) use words::of_lesson;

/// So many outcomes without one that helped, and a lesson is proposed for retirement.
pub const RETIRE_AFTER: u64 = 5;

/// What a reviewer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It is right: it may be handed out.
    Confirm,
    /// It is wrong.
    Reject,
}

/// Something to be done with the newest version of a lesson.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Another text.
    Revise {
        /// The text.
        text: String,
        /// Another title; none: it stays.
        title: Option<String>,
    },
    /// It is no longer handed out.
    Retire,
    /// A candidate is judged.
    Review(Decision),
}

impl Change {
    /// Its name in the log of operations and on the bus.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Revise { .. } => "revise",
            Self::Retire => "retire",
            Self::Review(_) => "review",
        }
    }
}

/// A change, and who wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest {
    /// What.
    pub change: Change,
    /// The version it is meant for.
    pub version: u32,
    /// Why.
    pub reason: Option<String>,
    /// Who: `operator` or `heuristic`.
    pub actor: &'static str,
    /// When.
    pub at: DateTime<Utc>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// It was made, now or before; the newest version.
    Done(Lesson),
    /// The lesson is not as the caller thought; the newest version.
    Stale(Lesson),
    /// There is no such lesson.
    Unknown,
}

/// Whether a lesson helped somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The version that was handed out.
    pub lesson_key: String,
    /// Whether it helped.
    pub helped: bool,
    /// What the caller calls this outcome: it counts once.
    pub outcome_id: Option<String>,
    /// What the caller says of it.
    pub note: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What was learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learned {
    /// Lessons that were new.
    pub new: u64,
    /// Lessons that were there already.
    pub replayed: u64,
}

/// One line of the log of operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Operation {
    /// `upsert`, `replay`, `revise`, `retire`, `confirm`, `reject`, `helped`, `not_helped`.
    pub operation: String,
    /// The version it was done with.
    pub lesson_key: String,
    /// Its number.
    pub version: u32,
    /// Who did it: `learner`, `operator`, `heuristic`, `agent`.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is told of a lesson on the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// `upsert`, `revise`, `retire` or `review`.
    pub operation: String,
    /// The version whose place this one takes.
    pub supersedes: Option<String>,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// The lesson as it is since.
    #[serde(flatten)]
    pub lesson: Lesson,
}

/// Which lessons are wanted; all filters must hold.
#[derive(Debug, Clone, Default)]
pub struct LessonQuery {
    /// Any of these names of an agent; none: all lessons.
    pub agents: Vec<String>,
    /// With `agents`: those that hold for all agents too.
    pub with_shared: bool,
    /// The rule that found it.
    pub rule: Option<String>,
    /// Which cause they have; none: whatever it is.
    pub cause: Option<CauseFilter>,
    /// Any of these; none: all.
    pub statuses: Vec<LessonStatus>,
    /// Words that are looked for; none: newest first.
    pub words: Option<Words>,
    /// Whether lessons without any of the words are wanted too, behind the others. [`Lessons::list`] pages by it as well.
    pub unrelated: bool,
    /// Keyset paging: behind this one.
    pub after: Option<LessonPosition>,
    /// Lessons wanted, at least 1.
    pub limit: u32,
}

/// Lessons by the cause that their agent has in common with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CauseFilter {
    /// Those without one, or with one that was rejected.
    None,
    /// Those with the cause of this key.
    Of(String),
}

/// The place of a lesson in the order of pages: the most relevant first, then the newest.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonPosition {
    /// How well its words match; 0 without words.
    pub relevance: f64,
    /// When it was learned.
    pub ts: DateTime<Utc>,
    /// Its key.
    pub lesson_key: String,
}

/// A lesson that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The lesson.
    pub lesson: Lesson,
    /// How well its words match, from 0; the scale is the database's own.
    pub relevance: f64,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonPage {
    /// The lessons.
    pub items: Vec<Found>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
}

/// The memory of lessons. All methods may be called from any task; what is written is durable when the call returns.
#[async_trait]
pub trait Lessons: Send + Sync + 'static {
    /// Upserts what was learned and, with it in one transaction, notes how far a reader of the log has come.
    async fn learn(&self, lessons: &[NewLesson], position: Option<(&str, Cursor)>) -> Result<Learned, HistoryError>;

    /// How far a reader of the log has come.
    async fn position(&self, reader: &str) -> Result<Option<Cursor>, HistoryError>;

    /// Changes the newest version of the lesson that `key`, of whichever version, names.
    async fn change(&self, key: &str, request: &ChangeRequest) -> Result<Changed, HistoryError>;

    /// Counts an outcome; the lesson, or none of this key.
    async fn used(&self, used: &Used) -> Result<Option<Lesson>, HistoryError>;

    /// All versions of the lesson that `key` names, in no order.
    async fn versions(&self, key: &str) -> Result<Vec<Lesson>, HistoryError>;

    /// The last operations on the lesson `root_key`, at most `limit`, oldest first.
    async fn operations(&self, root_key: &str, limit: u32) -> Result<Vec<Operation>, HistoryError>;

    /// A page.
    async fn list(&self, query: &LessonQuery) -> Result<LessonPage, HistoryError>;

    /// Candidates that were learned before `before`, oldest first.
    async fn unreviewed(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Lesson>, HistoryError>;

    /// Whether a person rejected a lesson of this agent, rule and signature since `since`.
    async fn was_rejected(&self, like: &Lesson, since: DateTime<Utc>) -> Result<bool, HistoryError>;

    /// What is to be told on the log, in order, each with its number.
    async fn untold(&self, limit: u32) -> Result<Vec<(i64, Announcement)>, HistoryError>;

    /// These were told.
    async fn told(&self, numbers: &[i64]) -> Result<(), HistoryError>;
}

/// The versions from the root to the tip. Each is visited once, so a chain that bites its tail ends; what no chain leads to
/// is left out.
#[must_use]
pub fn chain(versions: Vec<Lesson>) -> Vec<Lesson> {
    let root = versions.iter().min_by_key(|lesson| lesson.version).map(|lesson| lesson.lesson_key.clone());
    let mut by_key: BTreeMap<String, Lesson> =
        versions.into_iter().map(|lesson| (lesson.lesson_key.clone(), lesson)).collect();
    let (mut chain, mut visited, mut next) = (Vec::new(), BTreeSet::new(), root);
    while let Some(key) = next.take().filter(|key| visited.insert(key.clone())) {
        let Some(lesson) = by_key.remove(&key) else { break };
        next.clone_from(&lesson.superseded_by);
        chain.push(lesson);
    }
    chain
}

#[cfg(test)]
mod tests;
