//! An agent is slow again and again. Failures are not counted: they have a rule of their own.

use super::{Case, Finding, RuleConfig, during, span, when, with};
use crate::learner::usual::{Kind, Usual};
use crate::learner::window::Tally;
use crate::model::{NewLesson, Severity};

/// Its name.
pub const NAME: &str = "latency_spike";

/// Whether an experience is a slow answer.
#[must_use]
pub fn is_slow(case: Case<'_>, config: &RuleConfig) -> bool {
    let experience = case.experience;
    !experience.outcome.is_failure() && experience.latency_ms.is_some_and(|latency| latency > config.latency_spike_ms)
}

/// Takes in a slow answer of an agent with so many experiences in the window; the lesson it completes.
pub fn add(tally: &mut Tally, case: Case<'_>, pace: f64, usual: &mut Usual, config: &RuleConfig) -> Option<NewLesson> {
    let experience = case.experience;
    let reached = usual.add_to(tally, Kind::Slowness, case, pace, config)?;
    let agent = &*experience.agent_id;
    let text = format!(
        "{agent} needed more than {:.0} ms {} times within {}, since {}{}{}; the last time {:.0} ms. Allow more time, ask \
         for less at once, or take a faster model or tool while this lasts.",
        config.latency_spike_ms,
        reached.count,
        span(reached.last - reached.first),
        when(reached.first),
        during(experience),
        with(experience),
        experience.latency_ms.unwrap_or_default(),
    );
    let finding = Finding {
        agent: Some(agent),
        rule: NAME,
        signature: "latency",
        severity: Severity::Medium,
        title: "Repeated slow answers".to_owned(),
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
    fn three_slow_answers_are_worth_a_lesson_and_failures_are_none() {
        let config = RuleConfig::default();
        let slow = |outcome, latency_ms| {
            let mut slow = experience(outcome, 0);
            slow.latency_ms = latency_ms;
            is_slow(case(&slow), &config)
        };
        assert!(slow(Outcome::Ok, Some(5_001.0)) && slow(Outcome::Silent, Some(1e9)));
        assert!(!slow(Outcome::Ok, Some(5_000.0)) && !slow(Outcome::Timeout, Some(1e9)) && !slow(Outcome::Ok, None));
        let mut tally = Tally::default();
        let mut told =
            |seconds| add(&mut tally, case(&experience(Outcome::Ok, seconds)), 1.0, &mut Usual::default(), &config);
        assert!(told(0).is_none() && told(10).is_none());
        assert!(told(20).unwrap().text.contains("more than 5000 ms 3 times within 20 seconds"));
    }
}
