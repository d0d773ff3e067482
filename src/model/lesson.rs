//! What is worth remembering of what agents lived through.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::{UnknownName, wire_enum};

/// The subject of the events that tell of lessons.
pub const SUBJECT: &str = "agent.lesson.v1";

wire_enum! {
    /// Where in its life a lesson is.
    LessonStatus {
        /// Learned, and not reviewed yet.
        Candidate = "candidate",
        /// Confirmed; it is handed out.
        Active = "active",
        /// Reviewed and found wrong.
        Rejected = "rejected",
        /// A newer version has taken its place.
        Superseded = "superseded",
        /// No longer handed out.
        Retired = "retired",
    }
}

impl LessonStatus {
    /// Whether it still counts: it waits for its review, or is handed out.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Candidate | Self::Active)
    }
}

wire_enum! {
    /// How much it matters.
    Severity {
        /// Good to know.
        Low = "low",
        /// Wants care.
        Medium = "medium",
        /// Something is broken.
        High = "high",
    }
}

/// A lesson as a rule finds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewLesson {
    /// The same whenever the same is learned: made of agent, rule, signature and window.
    pub lesson_key: String,
    /// The agent; none for what holds for all of them.
    pub agent_id: Option<String>,
    /// The rule that found it.
    pub rule: String,
    /// What the rule tells apart: an error class, a model.
    pub signature: String,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in one line.
    pub title: String,
    /// What happened, how often, since when, and what to do.
    pub text: String,
    /// Ids of experiences that show it.
    pub evidence: Vec<String>,
    /// How often it was seen.
    pub occurrences: u64,
    /// The first time.
    pub first_seen: DateTime<Utc>,
    /// The last time.
    pub last_seen: DateTime<Utc>,
    /// When the experience that completed it was taken by the log.
    pub ts: DateTime<Utc>,
    /// The key of the lesson about the cause that this agent has in common with others.
    pub cause: Option<String>,
    /// Keys of lessons that were learned before and have this one as their cause.
    pub effects: Vec<String>,
}

/// A version of a lesson, with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "lesson_key": "error_burst-0f8f7f1f5f105d4e8d4e5b0d7c0e3c43",
    "root_key": "error_burst-0f8f7f1f5f105d4e8d4e5b0d7c0e3c43", "agent_id": "agent:sofia", "rule": "error_burst",
    "signature": "rate_limited", "status": "active", "version": 1, "severity": "high",
    "title": "Repeated failures: rate_limited",
    "text": "agent:sofia failed 3 times with 'rate_limited' within 4 minutes. Wait before the next try.",
    "evidence": ["e1", "e2", "e3"], "occurrences": 3, "first_seen": "2026-01-19T12:00:00Z",
    "last_seen": "2026-01-19T12:04:00Z", "replay_count": 0, "helped": 2, "not_helped": 0,
    "retirement_proposed": false, "reason": null, "superseded_by": null, "superseded_at": null,
    "ts": "2026-01-19T12:04:00Z", "cause": null, "effects": 0,
}))]
pub struct Lesson {
    /// Names this version.
    pub lesson_key: String,
    /// Names the lesson: the key of its first version.
    pub root_key: String,
    /// The agent; null for what holds for all of them.
    pub agent_id: Option<String>,
    /// The rule that found it.
    pub rule: String,
    /// What the rule tells apart: an error class, a model.
    pub signature: String,
    /// Where in its life it is.
    pub status: LessonStatus,
    /// From 1; a revision is the next one.
    pub version: u32,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in one line.
    pub title: String,
    /// What happened, how often, since when, and what to do.
    pub text: String,
    /// Ids of experiences that show it.
    pub evidence: Vec<String>,
    /// How often it was seen when it was learned.
    pub occurrences: u64,
    /// The first time.
    pub first_seen: DateTime<Utc>,
    /// The last time.
    pub last_seen: DateTime<Utc>,
    /// How often the same was learned again.
    pub replay_count: u64,
    /// How often it is said to have helped.
    pub helped: u64,
    /// How often it is said not to have helped.
    pub not_helped: u64,
    /// Whether it never helped so often that it should be retired.
    pub retirement_proposed: bool,
    /// Why it was revised, confirmed, rejected or retired.
    pub reason: Option<String>,
    /// The version that took its place.
    pub superseded_by: Option<String>,
    /// When it did.
    pub superseded_at: Option<DateTime<Utc>>,
    /// When it was learned, or revised.
    pub ts: DateTime<Utc>,
    /// The key of the lesson about the cause that this agent has in common with others; null without one.
    #[serde(default)]
    pub cause: Option<String>,
    /// How many lessons have this one as their cause.
    #[serde(default)]
    pub effects: u64,
}
