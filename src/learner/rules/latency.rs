//! Repeated slow answers of an agent. Failures do not count: they have their own rule.

use super::{Case, Finding, RuleConfig, duration_text, task_text, time_text, with_text};
use crate::learner::baseline_rates::{BaselineRates, Symptom};
use crate::learner::occurrences::OccurrenceWindow;
use crate::model::{NewLesson, Severity};

/// Name of the rule.
pub const NAME: &str = "latency_spike";

/// True for answers slower than [`RuleConfig::latency_spike_ms`].
#[must_use]
pub fn is_slow(case: Case<'_>, config: &RuleConfig) -> bool {
    let experience = case.experience;
    !experience.outcome.is_failure() && experience.latency_ms.is_some_and(|latency| latency > config.latency_spike_ms)
}

/// Adds a slow answer; `experiences` is the agent's number in the window. Returns the lesson that it completes.
pub fn add(
    window: &mut OccurrenceWindow,
    case: Case<'_>,
    experiences: f64,
    rates: &mut BaselineRates,
    config: &RuleConfig,
) -> Option<NewLesson> {
    let experience = case.experience;
    let occurrences = rates.add_to(window, Symptom::Slowness, case, experiences, config)?;
    let agent = &*experience.agent_id;
    let text = format!(
        "{agent} needed more than {:.0} ms {} times within {}, since {}{}{}; the last time {:.0} ms. Allow more time, ask \
         for less at once, or take a faster model or tool while this lasts.",
        config.latency_spike_ms,
        occurrences.count,
        duration_text(occurrences.last - occurrences.first),
        time_text(occurrences.first),
        task_text(experience),
        with_text(experience),
        experience.latency_ms.unwrap_or_default(),
    );
    let finding = Finding {
        agent: Some(agent),
        rule: NAME,
        signature: "latency",
        severity: Severity::Medium,
        title: "Repeated slow answers".to_owned(),
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
    fn three_slow_answers_give_a_lesson_and_failures_do_not() {
        let config = RuleConfig::default();
        let slow = |outcome, latency_ms| {
            let mut slow = experience(outcome, 0);
            slow.latency_ms = latency_ms;
            is_slow(case(&slow), &config)
        };
        assert!(slow(Outcome::Ok, Some(5_001.0)) && slow(Outcome::Silent, Some(1e9)));
        assert!(!slow(Outcome::Ok, Some(5_000.0)) && !slow(Outcome::Timeout, Some(1e9)) && !slow(Outcome::Ok, None));
        let mut window = OccurrenceWindow::default();
        let mut slow_answer = |seconds| {
            add(&mut window, case(&experience(Outcome::Ok, seconds)), 1.0, &mut BaselineRates::default(), &config)
        };
        assert!(slow_answer(0).is_none() && slow_answer(10).is_none());
        assert!(slow_answer(20).unwrap().text.contains("more than 5000 ms 3 times within 20 seconds"));
    }
}
