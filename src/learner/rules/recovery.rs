//! The end of a burst of failures: a number of successes without a failure in between. The lesson says what had
//! changed.
//!
//! The longer the burst, the more successes it takes, up to [`MAX_SUCCESSES`]: an agent that fails half of the time has
//! not recovered after each success.

use super::{Case, Finding, RuleConfig, duration_text, time_text};
use crate::learner::occurrences::{EVIDENCE, Occurrences};
use crate::model::{Experience, NewLesson, Severity};

/// Name of the rule.
pub const NAME: &str = "recovery";

/// Maximum number of successes that end a burst, unless the threshold is higher.
pub const MAX_SUCCESSES: u32 = 10;

/// A current burst.
#[derive(Debug, Clone)]
pub struct Burst {
    class: String,
    began: i64,
    last: i64,
    failures: u64,
    model: Option<String>,
    tool: Option<String>,
    /// Ids of the successes since the last failure.
    successes: Vec<String>,
    count: u32,
}

impl Burst {
    /// The burst of a lesson that this failure has completed.
    #[must_use]
    pub fn new(lesson: &NewLesson, case: Case<'_>) -> Self {
        Self {
            class: lesson.signature.clone(),
            began: lesson.first_seen.timestamp_millis(),
            last: case.at,
            failures: lesson.occurrences,
            model: case.experience.model.clone(),
            tool: case.experience.tool.clone(),
            successes: Vec::new(),
            count: 0,
        }
    }

    /// Its beginning by the producer's clock, unix milliseconds.
    #[must_use]
    pub const fn began(&self) -> i64 {
        self.began
    }

    /// Adds a failure.
    pub fn fail(&mut self, case: Case<'_>) {
        self.failures += 1;
        self.last = self.last.max(case.at);
        self.successes.clear();
        self.count = 0;
        self.model.clone_from(&case.experience.model);
        self.tool.clone_from(&case.experience.tool);
    }

    /// Adds a success, unless it is older than the last failure. Returns the lesson if it ends the burst.
    pub fn succeed(&mut self, case: Case<'_>, config: &RuleConfig) -> Option<NewLesson> {
        if case.at < self.last {
            return None;
        }
        self.count += 1;
        if self.successes.len() < EVIDENCE {
            self.successes.push(case.experience.event_id.clone());
        }
        let threshold = config.recovery_threshold.max(1);
        let failures = u32::try_from(self.failures).unwrap_or(u32::MAX);
        if self.count < failures.clamp(threshold, threshold.max(MAX_SUCCESSES)) {
            return None;
        }
        let agent = &*case.experience.agent_id;
        let text = format!(
            "{agent} works again after {} failures with '{}' from {} to {} ({}).{} If this failure comes back, expect it to \
             last about as long, and try {} first.",
            self.failures,
            self.class,
            time_text(self.began),
            time_text(self.last),
            duration_text(self.last - self.began),
            self.difference(case.experience).unwrap_or_default(),
            if self.difference(case.experience).is_some() { "that change" } else { "waiting" },
        );
        let finding = Finding {
            agent: Some(agent),
            rule: NAME,
            signature: &self.class,
            severity: Severity::Low,
            title: format!("Recovered from: {}", self.class),
            text,
            began: case.at,
            occurrences: Occurrences {
                first: self.began,
                last: case.at,
                count: usize::try_from(self.failures).unwrap_or(usize::MAX),
                evidence: std::mem::take(&mut self.successes),
            },
        };
        Some(finding.lesson(case.logged, config))
    }

    /// The model or tool that changed between the last failure and the success, as a sentence.
    fn difference(&self, success: &Experience) -> Option<String> {
        let change = |what: &str, before: &Option<String>, now: &Option<String>| match (before, now) {
            (Some(before), Some(now)) if before != now => Some(format!(" The {what} is {now} now, it was {before}.")),
            _ => None,
        };
        change("model", &self.model, &success.model).or_else(|| change("tool", &self.tool, &success.tool))
    }
}

#[cfg(test)]
mod tests {
    use super::super::error_burst::Errors;
    use super::*;
    use crate::learner::baseline_rates::BaselineRates;
    use crate::learner::testing::{case, experience};
    use crate::model::Outcome;

    fn burst(config: &RuleConfig) -> Burst {
        let mut errors = Errors::default();
        let failures: Vec<Experience> = (0..3).map(|n| experience(Outcome::Error, n * 60)).collect();
        let lesson = failures
            .iter()
            .filter_map(|failure| errors.add(case(failure), 1.0, &mut BaselineRates::default(), config))
            .next_back()
            .unwrap();
        Burst::new(&lesson, case(&failures[2]))
    }

    #[test]
    fn as_many_successes_in_a_row_as_failures_end_a_burst() {
        let config = RuleConfig::default();
        let mut burst = burst(&config);
        let ok = |burst: &mut Burst, seconds| burst.succeed(case(&experience(Outcome::Ok, seconds)), &config);
        assert!(ok(&mut burst, 130).is_none() && ok(&mut burst, 140).is_none());
        burst.fail(case(&experience(Outcome::Error, 150)));
        assert!(ok(&mut burst, 149).is_none(), "before the last failure");
        assert!([160, 170, 180].into_iter().all(|at| ok(&mut burst, at).is_none()), "as many as there were failures");
        let lesson = ok(&mut burst, 190).unwrap();
        assert_eq!((lesson.occurrences, &*lesson.signature), (4, "refused"));
        assert_eq!(lesson.evidence, ["ok-160", "ok-170", "ok-180", "ok-190"]);
        assert!(lesson.text.contains("works again after 4 failures with 'refused'"), "{}", lesson.text);
    }

    #[test]
    fn the_lesson_says_what_changed() {
        let config = RuleConfig { recovery_threshold: 1, ..RuleConfig::default() };
        let mut success = experience(Outcome::Ok, 500);
        success.model = Some("m2".into());
        let mut burst = burst(&config);
        assert!((0..2).all(|_| burst.succeed(case(&success), &config).is_none()));
        let lesson = burst.succeed(case(&success), &config).unwrap();
        assert!(lesson.text.contains("The model is m2 now, it was m1."), "{}", lesson.text);
    }
}
