//! The rules: which experiences are worth a lesson.
//!
//! | rule | finds |
//! |---|---|
//! | [`error_burst`] | repeated failures of an agent in the same way |
//! | [`silent`] | repeated missing answers of an agent |
//! | [`latency`] | repeated slow answers of an agent |
//! | [`recovery`] | the end of a burst of failures |
//! | [`shared`] | many agents with the same problem at once: they have a common cause |
//! | [`drift`] | an agent that is slower than its own baseline |
//! | [`sibling`] | a model or a tool that does better or worse than the others |
//!
//! A rule is a function of the experiences in their order: it reads no clock. Its lesson says in plain words what
//! happened, how often, since when, and what to do; the same experiences give the same lesson.

pub mod drift;
pub mod error_burst;
pub mod latency;
pub mod recovery;
pub mod shared;
pub mod sibling;
pub mod silent;

use chrono::{DateTime, Utc};

use super::case::Case;
use super::config::RuleConfig;
use super::key::lesson_key;
use super::occurrences::Occurrences;
use crate::model::{Experience, NewLesson, Severity, time};

/// Names of the rules.
pub const NAMES: [&str; 7] =
    [error_burst::NAME, silent::NAME, latency::NAME, recovery::NAME, shared::NAME, drift::NAME, sibling::NAME];

/// The longest normalized name (of an error class, a model…), in characters; longer ones are cut.
const MAX_NAME_CHARS: usize = 64;

/// Result of a rule, from which a lesson is made.
struct Finding<'a> {
    agent: Option<&'a str>,
    rule: &'static str,
    signature: &'a str,
    severity: Severity,
    title: String,
    text: String,
    /// Beginning, which determines the window of the lesson's key.
    began: i64,
    occurrences: Occurrences,
}

impl Finding<'_> {
    fn lesson(self, logged: i64, config: &RuleConfig) -> NewLesson {
        let Occurrences { first, last, count, evidence } = self.occurrences;
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
            first_seen: timestamp(first),
            last_seen: timestamp(last),
            ts: timestamp(logged),
            cause: None,
            effects: Vec::new(),
        }
    }
}

fn timestamp(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A time as text, to the second.
fn time_text(millis: i64) -> String {
    time::text(timestamp(millis.div_euclid(1_000) * 1_000))
}

/// A duration in words.
fn duration_text(millis: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")];
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| millis >= 2 * unit).unwrap_or((1_000, "second"));
    let count = (millis + unit / 2) / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// A name in lower case, trimmed and cut: spellings that differ in case are one name.
fn normalized(name: &str) -> String {
    name.trim().chars().take(MAX_NAME_CHARS).flat_map(char::to_lowercase).collect()
}

/// ` with model m and tool t`, as far as they are known.
fn with_text(experience: &Experience) -> String {
    match (&experience.model, &experience.tool) {
        (Some(model), Some(tool)) => format!(" with model {model} and tool {tool}"),
        (Some(model), None) => format!(" with model {model}"),
        (None, Some(tool)) => format!(" with tool {tool}"),
        (None, None) => String::new(),
    }
}

/// ` at task`, if the task is known.
fn task_text(experience: &Experience) -> String {
    experience.task.as_ref().map(|task| format!(" at {}", normalized(task))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_words() {
        for (millis, text) in [
            (0, "0 seconds"),
            (1_000, "1 second"),
            (119_000, "119 seconds"),
            (240_000, "4 minutes"),
            (7_200_000, "2 hours"),
            (200_000_000, "2 days"),
        ] {
            assert_eq!(duration_text(millis), text);
        }
    }
}
