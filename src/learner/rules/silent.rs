//! Repeated missing answers of an agent.

use super::{Case, Finding, RuleConfig, duration_text, task_text, time_text, with_text};
use crate::learner::baseline_rates::{BaselineRates, Symptom};
use crate::learner::occurrences::OccurrenceWindow;
use crate::model::{NewLesson, Severity};

/// Name of the rule.
pub const NAME: &str = "silent_answers";

/// Adds a missing answer; `experiences` is the agent's number in the window. Returns the lesson that it completes.
pub fn add(
    window: &mut OccurrenceWindow,
    case: Case<'_>,
    experiences: f64,
    rates: &mut BaselineRates,
    config: &RuleConfig,
) -> Option<NewLesson> {
    let experience = case.experience;
    let occurrences = rates.add_to(window, Symptom::Silence, case, experiences, config)?;
    let agent = &*experience.agent_id;
    let text = format!(
        "{agent} gave no answer {} times within {}, since {}{}{}. Check whether its policy is SILENT here on purpose; if \
         not, say at least that it was heard, and look at what made the answer empty.",
        occurrences.count,
        duration_text(occurrences.last - occurrences.first),
        time_text(occurrences.first),
        task_text(experience),
        with_text(experience),
    );
    let finding = Finding {
        agent: Some(agent),
        rule: NAME,
        signature: "silent",
        severity: Severity::Medium,
        title: "Repeated silence".to_owned(),
        text,
        began: occurrences.first,
        occurrences,
    };
    Some(finding.lesson(case.logged, config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learner::testing::{case, experience};
    use crate::model::Outcome;

    #[test]
    fn the_fifth_missing_answer_in_the_window_gives_a_lesson() {
        let (config, mut window) = (RuleConfig::default(), OccurrenceWindow::default());
        let mut silence = |seconds| {
            add(&mut window, case(&experience(Outcome::Silent, seconds)), 1.0, &mut BaselineRates::default(), &config)
        };
        assert!([0, 400, 800, 1_200].into_iter().all(|at| silence(at).is_none()));
        let lesson = silence(1_600).unwrap();
        assert_eq!((lesson.occurrences, lesson.severity), (5, Severity::Medium));
        assert!(lesson.text.contains("no answer 5 times within 27 minutes"), "{}", lesson.text);
        assert!(silence(1_700).is_none(), "the burst continues");
    }
}
