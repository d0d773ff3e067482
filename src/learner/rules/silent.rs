//! An agent gives no answer again and again.

use super::{Case, Finding, RuleConfig, during, span, when, with};
use crate::learner::usual::{Kind, Usual};
use crate::learner::window::Tally;
use crate::model::{NewLesson, Severity};

/// Its name.
pub const NAME: &str = "silent_answers";

/// Takes in a silent answer of an agent with so many experiences in the window; the lesson it completes.
pub fn add(tally: &mut Tally, case: Case<'_>, pace: f64, usual: &mut Usual, config: &RuleConfig) -> Option<NewLesson> {
    let experience = case.experience;
    let reached = usual.add_to(tally, Kind::Silence, case, pace, config)?;
    let agent = &*experience.agent_id;
    let text = format!(
        "{agent} gave no answer {} times within {}, since {}{}{}. Check whether its policy is SILENT here on purpose; if \
         not, say at least that it was heard, and look at what made the answer empty.",
        reached.count,
        span(reached.last - reached.first),
        when(reached.first),
        during(experience),
        with(experience),
    );
    let finding = Finding {
        agent: Some(agent),
        rule: NAME,
        signature: "silent",
        severity: Severity::Medium,
        title: "Repeated silence".to_owned(),
        text,
        began: reached.first,
        reached,
    };
    Some(finding.lesson(case.logged, config))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{case, experience};
    use super::*;
    use crate::model::Outcome;

    #[test]
    fn the_fifth_silent_answer_within_the_window_is_worth_a_lesson() {
        let (config, mut tally) = (RuleConfig::default(), Tally::default());
        let mut told =
            |seconds| add(&mut tally, case(&experience(Outcome::Silent, seconds)), 1.0, &mut Usual::default(), &config);
        assert!([0, 400, 800, 1_200].into_iter().all(|at| told(at).is_none()));
        let lesson = told(1_600).unwrap();
        assert_eq!((lesson.occurrences, lesson.severity), (5, Severity::Medium));
        assert!(lesson.text.contains("no answer 5 times within 27 minutes"), "{}", lesson.text);
        assert!(told(1_700).is_none(), "it goes on");
    }
}
