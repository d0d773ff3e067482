//! The rule for shared causes, together with the fold and the rules before it.

use std::collections::HashSet;

use super::rules::{error_burst, shared};
use super::testing::experience;
use super::{Fold, FoldResult, RuleConfig};
use crate::model::{NewLesson, Outcome};

/// Simulates agents with an experience every minute. `fails(agent, minute)` decides its outcome; the first half of the
/// agents uses the model `bad`.
fn simulate(agents: i64, minutes: i64, fails: impl Fn(i64, i64) -> bool) -> Vec<NewLesson> {
    let mut fold = Fold::new(RuleConfig::default());
    let mut lessons = Vec::new();
    for minute in 0..minutes {
        for agent in 0..agents {
            let outcome = if fails(agent, minute) { Outcome::Error } else { Outcome::Ok };
            let mut one = experience(outcome, minute * 60);
            one.event_id = format!("{agent}-{minute}");
            one.agent_id = format!("agent:{agent}");
            one.model = Some(if agent < agents / 2 { "bad" } else { "good" }.to_owned());
            if let FoldResult::Counted(found) = fold.fold(&one, one.timestamp.timestamp_millis()) {
                lessons.extend(found);
            }
        }
    }
    lessons
}

fn of<'a>(lessons: &'a [NewLesson], rule: &str) -> Vec<&'a NewLesson> {
    lessons.iter().filter(|lesson| lesson.rule == rule).collect()
}

#[test]
fn a_failing_model_is_one_lesson_that_its_agents_lessons_name() {
    // half of the answers of one model fail for an hour, after a day without any failure
    let day = 24 * 60;
    let fails =
        |agent: i64, minute: i64| agent < 20 && (day..day + 60).contains(&minute) && (agent * 7 + minute * 5) % 4 < 2;
    let lessons = simulate(40, day + 120, fails);
    let [cause] = of(&lessons, shared::NAME)[..] else { panic!("{lessons:#?}") };
    assert_eq!((cause.agent_id.as_deref(), &*cause.signature), (None, "error_burst:refused"));
    assert!(
        cause.text.contains("model bad") && cause.text.contains("of the 20 agents that work with it"),
        "{}",
        cause.text
    );
    let bursts = of(&lessons, error_burst::NAME);
    let before = bursts.iter().filter(|burst| cause.effects.contains(&burst.lesson_key)).count();
    let after = bursts.iter().filter(|burst| burst.cause.as_ref() == Some(&cause.lesson_key)).count();
    assert!(before >= 5 && after > 0, "{before} {after}");
    assert_eq!((bursts.len(), before + after), (20, 20), "one for each agent");
    let recoveries = of(&lessons, "recovery");
    assert_eq!(recoveries.len(), 20);
    assert!(recoveries.iter().all(|lesson| lesson.cause.as_ref() == Some(&cause.lesson_key)));
    let keys: HashSet<&str> = lessons.iter().map(|lesson| &*lesson.lesson_key).collect();
    assert_eq!(keys.len(), lessons.len());
}

#[test]
fn agents_that_fail_one_after_the_other_have_no_shared_cause() {
    let lessons = simulate(40, 26 * 60, |agent, minute| minute / 40 == agent && minute % 40 < 10);
    assert_eq!((of(&lessons, error_burst::NAME).len(), of(&lessons, shared::NAME).len()), (39, 0));
}

#[test]
fn a_shared_cause_needs_a_large_enough_share_of_agents() {
    let day = 24 * 60;
    let fails = |agent: i64, minute: i64| agent < 6 && minute >= day;
    assert_eq!(of(&simulate(120, day + 30, fails), shared::NAME).len(), 0, "6 of 60");
    assert_eq!(of(&simulate(40, day + 30, fails), shared::NAME).len(), 1, "6 of 20");
}

#[test]
fn a_failure_after_a_shared_cause_has_no_cause() {
    let day = 24 * 60;
    let fails = |agent: i64, minute: i64| {
        (agent < 20 && (day..day + 20).contains(&minute)) || (agent == 3 && (day + 100..day + 110).contains(&minute))
    };
    let lessons = simulate(40, day + 140, fails);
    let of_three = |rule| of(&lessons, rule).into_iter().filter(|lesson| lesson.agent_id.as_deref() == Some("agent:3"));
    let without_cause: Vec<bool> = of_three("recovery").map(|lesson| lesson.cause.is_none()).collect();
    assert_eq!((without_cause, of_three(error_burst::NAME).count()), (vec![false, true], 2));
}
