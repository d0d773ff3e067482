//! Lesson store: an append-only table of lessons, an append-only log of operations, and the current state of each version of a
//! lesson.
//!
//! | operation | |
//! |---|---|
//! | upsert | inserts a lesson, or increments the replay count of the identical one |
//! | revise | inserts a new version, which supersedes the one before |
//! | retire | ends the use of a lesson |
//! | review | confirms or rejects a candidate |
//! | outcome | counts that a delivered lesson helped, or did not |
//!
//! A lesson of an agent can refer to its cause, a lesson that several agents have in common and that counts its effects.
//!
//! Operations are idempotent. An operation on a version that is not the latest is rejected as stale.

mod memory;
mod words;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Page, Result};
use crate::model::{Cursor, Lesson, LessonStatus, NewLesson};

pub(super) use memory::{Transaction, apply, record_outcome, upsert};
pub use words::SearchWords;
pub(super) use words::of_lesson;

/// Number of outcomes, none of which helped, after which a lesson is proposed for retirement.
pub const RETIRE_AFTER: u64 = 5;

/// Decision of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The lesson is right and becomes active.
    Confirm,
    /// The lesson is wrong.
    Reject,
}

/// A change of the latest version of a lesson.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new text.
    Revise {
        /// Text.
        text: String,
        /// New title; none leaves it unchanged.
        title: Option<String>,
    },
    /// End of use.
    Retire,
    /// Review of a candidate.
    Review(Decision),
}

impl Change {
    /// Name in the log of operations and on the bus.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Revise { .. } => "revise",
            Self::Retire => "retire",
            Self::Review(_) => "review",
        }
    }
}

/// A request for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest {
    /// The change.
    pub change: Change,
    /// The version that is to be changed.
    pub version: u32,
    /// Reason.
    pub reason: Option<String>,
    /// `operator` or `heuristic`.
    pub actor: &'static str,
    /// Time.
    pub at: DateTime<Utc>,
}

/// Outcome of a [`ChangeRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeOutcome {
    /// The change was made, now or before; the latest version.
    Applied(Lesson),
    /// Rejected: the version is not the latest, or its status does not allow the change; the latest version.
    Stale(Lesson),
    /// There is no such lesson.
    NotFound,
}

/// Report of the outcome of a delivered lesson.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeReport {
    /// The delivered version.
    pub lesson_key: String,
    /// The lesson helped.
    pub helped: bool,
    /// Id of the outcome, chosen by the caller: an outcome with the same id counts once.
    pub outcome_id: Option<String>,
    /// Note of the caller.
    pub note: Option<String>,
    /// Time.
    pub at: DateTime<Utc>,
}

/// Number of lessons in an upsert.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpsertCounts {
    /// New lessons.
    pub new: u64,
    /// Existing lessons.
    pub replayed: u64,
}

/// An entry of the log of operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Operation {
    /// `upsert`, `replay`, `revise`, `retire`, `confirm`, `reject`, `helped`, `not_helped`.
    pub operation: String,
    /// Key of the version.
    pub lesson_key: String,
    /// Number of the version.
    pub version: u32,
    /// `learner`, `operator`, `heuristic` or `agent`.
    pub actor: String,
    /// Reason.
    pub reason: Option<String>,
    /// Time.
    pub at: DateTime<Utc>,
}

/// Event about a lesson, to be published to the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// `upsert`, `revise`, `retire` or `review`.
    pub operation: String,
    /// Key of the superseded version.
    pub supersedes: Option<String>,
    /// Time of the operation.
    pub at: DateTime<Utc>,
    /// The lesson after the operation.
    #[serde(flatten)]
    pub lesson: Lesson,
}

/// Query of lessons; all filters must match.
#[derive(Debug, Clone, Default)]
pub struct LessonQuery {
    /// Names of an agent, any of which matches; empty for all lessons.
    pub agents: Vec<String>,
    /// With `agents`: also lessons that are valid for all agents.
    pub with_shared: bool,
    /// Name of the rule that found the lesson.
    pub rule: Option<String>,
    /// Filter by cause; none for any.
    pub cause: Option<CauseFilter>,
    /// Statuses, any of which matches; empty for all.
    pub statuses: Vec<LessonStatus>,
    /// Search words, which order lessons by relevance; without them the newest come first.
    pub words: Option<SearchWords>,
    /// Also lessons without any of the words, behind the others.
    pub unrelated: bool,
    /// Keyset paging: lessons behind this position.
    pub after: Option<LessonPosition>,
    /// Number of lessons to skip; bounded by the caller.
    pub offset: u32,
    /// Maximum number of lessons, at least 1.
    pub limit: u32,
}

/// Query of the versions of one lesson.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionQuery {
    /// Key of any of its versions.
    pub key: String,
    /// Keyset paging: versions with a higher number.
    pub after: u32,
    /// Number of versions to skip; bounded by the caller.
    pub offset: u32,
    /// Maximum number of versions, at least 1.
    pub limit: u32,
}

/// Filter of lessons by the cause that several agents have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CauseFilter {
    /// Lessons without a cause, or whose cause was rejected.
    None,
    /// Lessons with the cause of this key.
    Of(String),
}

/// Position in the order of pages: the most relevant lessons first, then the newest.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonPosition {
    /// Relevance; 0 without search words.
    pub relevance: f64,
    /// Time of learning.
    pub ts: DateTime<Utc>,
    /// Key.
    pub lesson_key: String,
}

/// A lesson that matches a query.
#[derive(Debug, Clone, PartialEq)]
pub struct LessonMatch {
    /// The lesson.
    pub lesson: Lesson,
    /// Relevance, from 0; the scale depends on the database.
    pub relevance: f64,
}

/// Lesson store. Methods may be called from any task; a write is durable when it returns.
#[async_trait]
pub trait Lessons: Send + Sync + 'static {
    /// Upserts lessons and, in the same transaction, stores the position of a reader of the log.
    async fn upsert(&self, lessons: &[NewLesson], position: Option<(&str, Cursor)>) -> Result<UpsertCounts>;

    /// The stored position of a reader of the log.
    async fn position(&self, reader: &str) -> Result<Option<Cursor>>;

    /// Changes the latest version of a lesson; `key` is that of any of its versions.
    async fn change(&self, key: &str, request: &ChangeRequest) -> Result<ChangeOutcome>;

    /// Counts an outcome; the lesson, or none if the key is unknown.
    async fn record_outcome(&self, report: &OutcomeReport) -> Result<Option<Lesson>>;

    /// The version with this key.
    async fn version(&self, key: &str) -> Result<Option<Lesson>>;

    /// The latest version of a lesson; `key` is that of any of its versions.
    async fn latest(&self, key: &str) -> Result<Option<Lesson>>;

    /// A page of the versions of a lesson, from the first to the latest, of at most
    /// [`HistoryConfig::page_bytes`](super::HistoryConfig::page_bytes).
    async fn versions(&self, query: &VersionQuery) -> Result<Page<Lesson>>;

    /// The last `limit` operations on the lesson `root_key`, oldest first.
    async fn operations(&self, root_key: &str, limit: u32) -> Result<Vec<Operation>>;

    /// A page of lessons, of at most [`HistoryConfig::page_bytes`](super::HistoryConfig::page_bytes).
    async fn list(&self, query: &LessonQuery) -> Result<Page<LessonMatch>>;

    /// Candidates learned before `before`, oldest first; fewer than `limit` if they are large.
    async fn unreviewed(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Lesson>>;

    /// True if an operator rejected a lesson of the same agent, rule and signature at `since` or later.
    async fn was_rejected(&self, like: &Lesson, since: DateTime<Utc>) -> Result<bool>;

    /// Announcements that are not published yet, in order, each with its number; fewer than `limit` if they are large.
    async fn unpublished(&self, limit: u32) -> Result<Vec<(i64, Announcement)>>;

    /// Marks announcements as published.
    async fn mark_published(&self, numbers: &[i64]) -> Result<()>;
}
