//! Lessons learned from the experiences of agents.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::{UnknownName, wire_enum};

/// Subject of events about lessons.
pub const SUBJECT: &str = "agent.lesson.v1";

wire_enum! {
    /// Lifecycle state of a lesson.
    LessonStatus {
        /// Learned, not reviewed yet.
        Candidate = "candidate",
        /// Confirmed; delivered to agents.
        Active = "active",
        /// Reviewed and found wrong.
        Rejected = "rejected",
        /// Replaced by a newer version.
        Superseded = "superseded",
        /// No longer delivered.
        Retired = "retired",
    }
}

impl LessonStatus {
    /// Returns `true` if it is a candidate or active.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Candidate | Self::Active)
    }
}

wire_enum! {
    /// Severity of a lesson.
    Severity {
        /// For information.
        Low = "low",
        /// Needs attention.
        Medium = "medium",
        /// Reports a failure.
        High = "high",
    }
}

/// A lesson found by a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewLesson {
    /// Deterministic key, derived from agent, rule, signature and window.
    pub lesson_key: String,
    /// The agent; none for a lesson that applies to all agents.
    pub agent_id: Option<String>,
    /// The rule that found it.
    pub rule: String,
    /// The rule's distinguishing feature: an error class, a model.
    pub signature: String,
    /// Severity.
    pub severity: Severity,
    /// Summary in one line.
    pub title: String,
    /// Observation, frequency, period, and recommendation.
    pub text: String,
    /// Ids of experiences that support it.
    pub evidence: Vec<String>,
    /// Number of occurrences.
    pub occurrences: u64,
    /// Time of the first occurrence.
    pub first_seen: DateTime<Utc>,
    /// Time of the last occurrence.
    pub last_seen: DateTime<Utc>,
    /// The log's time of the experience that completed it.
    pub ts: DateTime<Utc>,
    /// Key of the lesson about a cause that this agent shares with others.
    pub cause: Option<String>,
    /// Keys of earlier lessons that have this one as their cause.
    pub effects: Vec<String>,
}

/// A version of a lesson, with its review and feedback.
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
    /// Key of this version.
    pub lesson_key: String,
    /// Key of the lesson, which is the key of its first version.
    pub root_key: String,
    /// The agent; null for a lesson that applies to all agents.
    pub agent_id: Option<String>,
    /// The rule that found it.
    pub rule: String,
    /// The rule's distinguishing feature: an error class, a model.
    pub signature: String,
    /// Lifecycle state.
    pub status: LessonStatus,
    /// Version, from 1; each revision increments it.
    pub version: u32,
    /// Severity.
    pub severity: Severity,
    /// Summary in one line.
    pub title: String,
    /// Observation, frequency, period, and recommendation.
    pub text: String,
    /// Ids of experiences that support it.
    pub evidence: Vec<String>,
    /// Number of occurrences when it was learned.
    pub occurrences: u64,
    /// Time of the first occurrence.
    pub first_seen: DateTime<Utc>,
    /// Time of the last occurrence.
    pub last_seen: DateTime<Utc>,
    /// Number of times that it was learned again.
    pub replay_count: u64,
    /// Number of reports that it helped.
    pub helped: u64,
    /// Number of reports that it did not help.
    pub not_helped: u64,
    /// `true` if it should be retired because of many reports that it did not help.
    pub retirement_proposed: bool,
    /// Reason of the revision, confirmation, rejection or retirement.
    pub reason: Option<String>,
    /// Key of the version that replaced it.
    pub superseded_by: Option<String>,
    /// Time of the replacement.
    pub superseded_at: Option<DateTime<Utc>>,
    /// Time at which it was learned or revised.
    pub ts: DateTime<Utc>,
    /// The key of the lesson about the cause that this agent has in common with others; null without one.
    #[serde(default)]
    pub cause: Option<String>,
    /// Number of lessons that have this one as their cause.
    #[serde(default)]
    pub effects: u64,
}
