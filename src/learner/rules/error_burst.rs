//! Repeated failures of an agent in the same way: a number of failures of one class within the window.

use super::{Case, Finding, RuleConfig, duration_text, normalized, task_text, time_text, with_text};
use crate::learner::baseline_rates::{BaselineRates, Symptom};
use crate::learner::occurrences::{OccurrenceWindow, Occurrences};
use crate::model::{Experience, NewLesson, Outcome, Severity};

/// Name of the rule.
pub const NAME: &str = "error_burst";

/// Distinct classes of one agent at a time.
const MAX_CLASSES: usize = 8;

/// The failures of one agent, by class.
#[derive(Debug, Default)]
pub struct Errors(Vec<(Box<str>, OccurrenceWindow)>);

impl Errors {
    /// Adds a failure; `experiences` is the agent's number in the window. Returns the lesson that it completes.
    pub fn add(
        &mut self,
        case: Case<'_>,
        experiences: f64,
        rates: &mut BaselineRates,
        config: &RuleConfig,
    ) -> Option<NewLesson> {
        let class = class(case.experience);
        let reached = rates.add_to(self.window(&class), Symptom::Failure(&class), case, experiences, config);
        reached.map(|occurrences| lesson(case, &class, occurrences, config))
    }

    /// Drops all failures.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn window(&mut self, class: &str) -> &mut OccurrenceWindow {
        let index = self.0.iter().position(|(known, _)| **known == *class).unwrap_or_else(|| {
            if self.0.len() < MAX_CLASSES {
                self.0.push((class.into(), OccurrenceWindow::default()));
                return self.0.len() - 1;
            }
            // replaces the class whose last failure is oldest
            let oldest = self.0.iter().enumerate().min_by_key(|(_, (_, window))| window.newest());
            let index = oldest.map_or(0, |(index, _)| index);
            self.0[index] = (class.into(), OccurrenceWindow::default());
            index
        });
        &mut self.0[index].1
    }
}

/// The class of a failure: its error class, or else the beginning of its message with numbers masked.
#[must_use]
pub fn class(experience: &Experience) -> String {
    let named = experience.error_class.as_deref().map(normalized).filter(|class| !class.is_empty());
    let message = || {
        let text = experience.error_message.as_deref()?;
        let mut masked = String::new();
        for c in normalized(text).chars() {
            match c {
                '0'..='9' if masked.ends_with('#') => {}
                '0'..='9' => masked.push('#'),
                c => masked.push(c),
            }
        }
        Some(masked).filter(|text| !text.is_empty())
    };
    let fallback = || if experience.outcome == Outcome::Timeout { "timeout" } else { "error" }.to_owned();
    named.or_else(message).unwrap_or_else(fallback)
}

fn lesson(case: Case<'_>, class: &str, occurrences: Occurrences, config: &RuleConfig) -> NewLesson {
    let experience = case.experience;
    let agent = &*experience.agent_id;
    let message = experience.error_message.as_deref().map(|text| {
        let text: String = text.chars().take(200).collect();
        format!(" The last one said: {text}.")
    });
    let text = format!(
        "{agent} failed {} times with '{class}' within {}, since {}{}{}.{} Expect this failure to come again: check what \
         it depends on before the next try, wait longer between tries, or take another way.",
        occurrences.count,
        duration_text(occurrences.last - occurrences.first),
        time_text(occurrences.first),
        task_text(experience),
        with_text(experience),
        message.unwrap_or_default(),
    );
    let finding = Finding {
        agent: Some(agent),
        rule: NAME,
        signature: class,
        severity: Severity::High,
        title: format!("Repeated failures: {class}"),
        text,
        began: occurrences.first,
        occurrences,
    };
    finding.lesson(case.logged, config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::testing::{case, experience};

    #[test]
    fn three_failures_of_one_class_are_a_burst() {
        let (config, mut errors) = (RuleConfig::default(), Errors::default());
        let mut lessons = Vec::new();
        for (n, class) in ["a", "b", "c", "A ", "b", "a"].into_iter().enumerate() {
            let mut failure = experience(Outcome::Error, i64::try_from(n).unwrap() * 60);
            failure.error_class = Some(class.into());
            lessons.extend(errors.add(case(&failure), 1.0, &mut BaselineRates::default(), &config));
        }
        let [lesson] = &lessons[..] else { panic!("{lessons:?}") };
        assert_eq!((&*lesson.signature, lesson.occurrences, lesson.evidence.len()), ("a", 3, 3));
        assert_eq!(lesson.evidence, ["error-0", "error-180", "error-300"]);
        for part in ["agent:a failed 3 times with 'a'", "5 minutes", "1970-01-01T00:00:00Z", "model m1", "at answer"] {
            assert!(lesson.text.contains(part), "{part}: {}", lesson.text);
        }
    }

    #[test]
    fn a_failure_without_a_class_uses_its_masked_message() {
        let mut failure = experience(Outcome::Timeout, 0);
        failure.error_class = None;
        assert_eq!(class(&failure), "timeout");
        failure.error_message = Some("No answer after 3000 ms from 10.0.0.1".into());
        assert_eq!(class(&failure), "no answer after # ms from #.#.#.#");
    }

    #[test]
    fn classes_are_bounded_and_the_oldest_is_replaced() {
        let (config, mut errors) = (RuleConfig::default(), Errors::default());
        let mut lessons = 0;
        for n in 0..1_000 {
            let mut failure = experience(Outcome::Error, n);
            failure.error_class = Some(if n % 100 == 0 { "often".into() } else { format!("class {n}") });
            lessons += usize::from(errors.add(case(&failure), 1.0, &mut BaselineRates::default(), &config).is_some());
        }
        assert_eq!((errors.0.len(), lessons), (MAX_CLASSES, 0));
    }
}
