//! An agent fails again and again in the same way: so many failures of one class within the window.

use super::{Case, Finding, RuleConfig, during, name, span, when, with};
use crate::learner::usual::{Kind, Usual};
use crate::learner::window::{Reached, Tally};
use crate::model::{Experience, NewLesson, Outcome, Severity};

/// Its name.
pub const NAME: &str = "error_burst";

/// Classes that are told apart for one agent at a time.
const MAX_CLASSES: usize = 8;

/// The failures of one agent, by class.
#[derive(Debug, Default)]
pub struct Errors(Vec<(Box<str>, Tally)>);

impl Errors {
    /// Takes in a failure of an agent with so many experiences in the window; the lesson it completes.
    pub fn add(&mut self, case: Case<'_>, pace: f64, usual: &mut Usual, config: &RuleConfig) -> Option<NewLesson> {
        let class = class(case.experience);
        let reached = usual.add_to(self.tally(&class), Kind::Failure(&class), case, pace, config);
        reached.map(|reached| lesson(case, &class, reached, config))
    }

    /// They are over.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn tally(&mut self, class: &str) -> &mut Tally {
        let place = self.0.iter().position(|(known, _)| **known == *class).unwrap_or_else(|| {
            if self.0.len() < MAX_CLASSES {
                self.0.push((class.into(), Tally::default()));
                return self.0.len() - 1;
            }
            // the one that has not happened for longest
            let oldest = self.0.iter().enumerate().min_by_key(|(_, (_, tally))| tally.newest());
            let place = oldest.map_or(0, |(place, _)| place);
            self.0[place] = (class.into(), Tally::default());
            place
        });
        &mut self.0[place].1
    }
}

/// The class of a failure: what it says, else what its message begins with, without the numbers in it.
#[must_use]
pub fn class(experience: &Experience) -> String {
    let named = experience.error_class.as_deref().map(name).filter(|class| !class.is_empty());
    let message = || {
        let text = experience.error_message.as_deref()?;
        let mut masked = String::new();
        for c in name(text).chars() {
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

fn lesson(case: Case<'_>, class: &str, reached: Reached, config: &RuleConfig) -> NewLesson {
    let experience = case.experience;
    let agent = &*experience.agent_id;
    let message = experience.error_message.as_deref().map(|text| {
        let text: String = text.chars().take(200).collect();
        format!(" The last one said: {text}.")
    });
    let text = format!(
        "{agent} failed {} times with '{class}' within {}, since {}{}{}.{} Expect this failure to come again: check what \
         it depends on before the next try, wait longer between tries, or take another way.",
        reached.count,
        span(reached.last - reached.first),
        when(reached.first),
        during(experience),
        with(experience),
        message.unwrap_or_default(),
    );
    let finding = Finding {
        agent: Some(agent),
        rule: NAME,
        signature: class,
        severity: Severity::High,
        title: format!("Repeated failures: {class}"),
        text,
        began: reached.first,
        reached,
    };
    finding.lesson(case.logged, config)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{case, experience};
    use super::*;

    #[test]
    fn three_of_one_class_are_a_burst_and_of_three_classes_are_none() {
        let (config, mut errors) = (RuleConfig::default(), Errors::default());
        let mut lessons = Vec::new();
        for (n, class) in ["a", "b", "c", "A ", "b", "a"].into_iter().enumerate() {
            let mut failure = experience(Outcome::Error, i64::try_from(n).unwrap() * 60);
            failure.error_class = Some(class.into());
            lessons.extend(errors.add(case(&failure), 1.0, &mut Usual::default(), &config));
        }
        let [lesson] = &lessons[..] else { panic!("{lessons:?}") };
        assert_eq!((&*lesson.signature, lesson.occurrences, lesson.evidence.len()), ("a", 3, 3));
        assert_eq!(lesson.evidence, ["error-0", "error-180", "error-300"]);
        for said in ["agent:a failed 3 times with 'a'", "5 minutes", "1970-01-01T00:00:00Z", "model m1", "at answer"] {
            assert!(lesson.text.contains(said), "{said}: {}", lesson.text);
        }
    }

    #[test]
    fn a_failure_without_a_class_goes_by_its_message_without_numbers() {
        let mut failure = experience(Outcome::Timeout, 0);
        failure.error_class = None;
        assert_eq!(class(&failure), "timeout");
        failure.error_message = Some("No answer after 3000 ms from 10.0.0.1".into());
        assert_eq!(class(&failure), "no answer after # ms from #.#.#.#");
    }

    #[test]
    fn classes_are_bounded_and_the_oldest_goes() {
        let (config, mut errors) = (RuleConfig::default(), Errors::default());
        let mut lessons = 0;
        for n in 0..1_000 {
            let mut failure = experience(Outcome::Error, n);
            failure.error_class = Some(if n % 100 == 0 { "often".into() } else { format!("class {n}") });
            lessons += usize::from(errors.add(case(&failure), 1.0, &mut Usual::default(), &config).is_some());
        }
        assert_eq!((errors.0.len(), lessons), (MAX_CLASSES, 0));
    }
}
