//! The rules: when what happened is worth a lesson.
//!
//! | rule | what it finds |
//! |---|---|
//! | [`error_burst`] | an agent fails again and again in the same way |
//! | [`silent`] | an agent gives no answer again and again |
//! | [`latency`] | an agent is slow again and again |
//! | [`recovery`] | a burst of failures is over |
//! | [`shared`] | many agents are in the same trouble at once: they have a cause in common |
//! | [`drift`] | an agent is slower than it was, compared with itself |
//! | [`sibling`] | a model or a tool does better or worse than the others |
//!
//! A rule is a function of the experiences in their order: it reads no clock. Its lesson says in plain words what happened,
//! how often, since when, and what to do; nothing in it differs when the same experiences come again.

pub mod drift;
pub mod error_burst;
pub mod latency;
pub mod recovery;
pub mod shared;
pub mod sibling;
pub mod silent;

use chrono::{DateTime, Utc};

use super::config::RuleConfig;
use super::key::lesson_key;
use super::window::Reached;
use crate::model::{Experience, NewLesson, Severity, time};

/// The rules' names.
pub const NAMES: [&str; 7] =
    [error_burst::NAME, silent::NAME, latency::NAME, recovery::NAME, shared::NAME, drift::NAME, sibling::NAME];

/// Characters of a name (of an error class, a model…) that are kept.
const MAX_NAME_CHARS: usize = 64;

/// An experience on its way through the rules.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What happened.
    pub experience: &'a Experience,
    /// When, by the producer's clock, but not after the log took it; unix milliseconds.
    pub at: i64,
    /// When the log took it.
    pub logged: i64,
    /// Whether it is one of the sample.
    pub sampled: bool,
}

/// What a rule says, without what follows from it.
struct Finding<'a> {
    agent: Option<&'a str>,
    rule: &'static str,
    signature: &'a str,
    severity: Severity,
    title: String,
    text: String,
    /// When what it tells of began; decides on its window.
    began: i64,
    reached: Reached,
}

impl Finding<'_> {
    fn lesson(self, logged: i64, config: &RuleConfig) -> NewLesson {
        let Reached { first, last, count, evidence } = self.reached;
        NewLesson {
            lesson_key: lesson_key(self.agent, self.rule, self.signature, self.began, config.window_ms),
            agent_id: self.agent.map(str::to_owned),
            rule: self.rule.to_owned(),
            signature: self.signature.to_owned(),
            severity: self.severity,
            title: self.title,
            text: self.text,
            evidence,
            occurrences: count as u64,
            first_seen: moment(first),
            last_seen: moment(last),
            ts: moment(logged),
            cause: None,
            effects: Vec::new(),
        }
    }
}

/// The time of unix milliseconds.
fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A time in a text, to the second.
fn when(millis: i64) -> String {
    time::text(moment(millis.div_euclid(1_000) * 1_000))
}

/// A length of time in words.
fn span(millis: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| millis >= 2 * unit).unwrap_or((1_000, "second"));
    let count = (millis + unit / 2) / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// A name in its usual form: one class is not two because somebody writes it in capitals.
fn name(text: &str) -> String {
    text.trim().chars().take(MAX_NAME_CHARS).flat_map(char::to_lowercase).collect()
}

/// With what it happened: ` with model m and tool t`.
fn with(experience: &Experience) -> String {
    match (&experience.model, &experience.tool) {
        (Some(model), Some(tool)) => format!(" with model {model} and tool {tool}"),
        (Some(model), None) => format!(" with model {model}"),
        (None, Some(tool)) => format!(" with tool {tool}"),
        (None, None) => String::new(),
    }
}

/// During what it happened: ` at task t`.
fn during(experience: &Experience) -> String {
    experience.task.as_ref().map(|task| format!(" at {}", name(task))).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::model::Outcome;
    use serde_json::Map;

    /// An experience of `agent:a` at so many seconds.
    pub fn experience(outcome: Outcome, seconds: i64) -> Experience {
        Experience {
            event_id: format!("{outcome}-{seconds}"),
            agent_id: "agent:a".into(),
            task: Some("answer".into()),
            outcome,
            latency_ms: Some(800.0),
            error_class: outcome.is_failure().then(|| "refused".into()),
            error_message: None,
            model: Some("m1".into()),
            provider: None,
            tool: None,
            trace_id: None,
            timestamp: moment(seconds * 1_000),
            version: 1,
            more: Map::new(),
        }
    }

    pub fn case(experience: &Experience) -> Case<'_> {
        let at = experience.timestamp.timestamp_millis();
        Case { experience, at, logged: at, sampled: true }
    }

    #[test]
    fn lengths_of_time_are_said_in_words() {
        for (millis, text) in [
            (0, "0 seconds"),
            (1_000, "1 second"),
            (119_000, "119 seconds"),
            (240_000, "4 minutes"),
            (7_200_000, "2 hours"),
            (200_000_000, "2 days"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
