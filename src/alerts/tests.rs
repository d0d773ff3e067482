//! Rules, kind by kind, with the time handed in.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::engine::{Effect, Engine};
use super::rules::{Rules, RulesLimits};
use crate::map::State;
use crate::model::{Cursor, Epoch, LogEntry, envelope};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds)
}

fn rules(text: &str) -> Arc<Rules> {
    Arc::new(Rules::parse(text, RulesLimits { max_groups: 4, ..RulesLimits::default() }).unwrap())
}

fn entry(seconds: i64, event_type: &str, payload: &Value) -> LogEntry {
    let event = json!({"event_type": event_type, "payload": payload});
    let event = envelope::publish(event, at(seconds)).unwrap().event;
    LogEntry { cursor: Cursor { epoch: Epoch(1), seq: 1 }, logged_at: at(seconds), event, raw: None }
}

/// `+` and the alert's id for one that is raised, `-` for one that is cleared.
fn told(effects: &[Effect]) -> Vec<String> {
    let mark = |effect: &Effect| if effect.raised { '+' } else { '-' };
    let id = |effect: &Effect| effect.event(at(0)).unwrap().event.payload["alert_id"].as_str().unwrap().to_owned();
    effects.iter().map(|effect| format!("{}{}", mark(effect), id(effect))).collect()
}

const RATE: &str = r#"
[[rule]]
name = "errors"
kind = "rate"
events = "agent.error"
group_by = "entity_id"
window_seconds = 60
above = 2
clear = 1
title = "{group} fails: {value}"
"#;

fn error(seconds: i64, agent: &str) -> LogEntry {
    entry(seconds, "agent.error", &json!({"agent_id": agent}))
}

#[test]
fn a_rate_is_raised_once_for_each_group_and_cleared_once_below_the_other_bound() {
    let mut engine = Engine::new(rules(RATE), at(0));
    let mut all = Vec::new();
    for second in 0..5 {
        all.extend(told(&engine.observe(&error(second, "agent:a"))));
        all.extend(told(&engine.observe(&entry(second, "agent.error.dlq", &json!({"agent_id": "agent:b"})))));
    }
    assert_eq!(all, ["+errors:agent:a"]);
    assert_eq!(engine.pass(at(62)), [], "two are in the window still");
    assert_eq!(told(&engine.pass(at(64))), ["-errors:agent:a"]);
    assert_eq!(engine.pass(at(200)), []);
    assert_eq!(told(&[]), Vec::<String>::new());
}

#[test]
fn an_absence_counts_from_the_last_event_and_from_the_beginning() {
    let text = r#"
        [[rule]]
        name = "silent"
        kind = "absence"
        events = "node.metrics.>"
        within_seconds = 30
        title = "no node says anything"
        [[rule]]
        name = "node"
        kind = "absence"
        events = "node.metrics.>"
        group_by = "entity_id"
        within_seconds = 30
        forget_hours = 1
        title = "{group} says nothing"
    "#;
    let mut engine = Engine::new(rules(text), at(0));
    assert_eq!(told(&engine.pass(at(29))), Vec::<String>::new());
    assert_eq!(told(&engine.pass(at(30))), ["+silent"]);
    assert_eq!(told(&engine.observe(&entry(40, "node.metrics.update", &json!({"node_id": "node:a"})))), ["-silent"]);
    assert_eq!(told(&engine.pass(at(70))), ["+silent", "+node:node:a"]);
    assert_eq!(told(&engine.pass(at(40 + 3_600))), ["-node:node:a"], "one that is gone for long is forgotten");
    assert_eq!(engine.pass(at(40 + 3_700)), []);
}

#[test]
fn a_threshold_is_wrong_for_a_time_before_it_is_raised_and_right_for_a_time_before_it_is_cleared() {
    let text = r#"
        [[rule]]
        name = "hot"
        kind = "threshold"
        events = "node.metrics.>"
        field = "payload.temperature"
        where = { "payload.rack" = ["r1", "r2"] }
        group_by = "entity_id"
        above = 80
        clear = 70
        for_seconds = 10
        clear_for_seconds = 20
        severity = "critical"
        title = "{group}: {value}"
    "#;
    let mut engine = Engine::new(rules(text), at(0));
    let says = |engine: &mut Engine, second, degrees: i64| {
        let payload = json!({"node_id": "node:a", "rack": "r1", "temperature": degrees});
        told(&engine.observe(&entry(second, "node.metrics.update", &payload)))
    };
    let nothing = Vec::<String>::new();
    assert_eq!(says(&mut engine, 0, 81), nothing);
    assert_eq!(says(&mut engine, 5, 79), nothing, "not for long enough");
    assert_eq!(says(&mut engine, 6, 90), nothing);
    assert_eq!(told(&engine.pass(at(16))), ["+hot:node:a"], "time alone raises it");
    assert_eq!(says(&mut engine, 20, 75), nothing, "between the bounds it stays");
    assert_eq!(says(&mut engine, 30, 60), nothing);
    assert_eq!(says(&mut engine, 40, 71), nothing, "it is wrong again");
    assert_eq!(says(&mut engine, 50, 70), nothing);
    assert_eq!(told(&engine.pass(at(70))), ["-hot:node:a"]);
    let elsewhere = json!({"node_id": "node:b", "rack": "r3", "temperature": 99});
    engine.observe(&entry(71, "node.metrics.update", &elsewhere));
    assert_eq!(engine.pass(at(99)), []);
}

#[test]
fn a_state_of_what_there_is_lasts_for_a_time_and_is_over_when_it_is_gone() {
    let text = r#"
        [[rule]]
        name = "offline"
        over = "entities"
        entity_type = "agent"
        kind = "state"
        is = ["offline", "error"]
        for_seconds = 60
        title = "{group} is {value}"
    "#;
    let mut engine = Engine::new(rules(text), at(0));
    let sample = |status: &str| vec![("agent:a".to_owned(), Some("agent:a".to_owned()), json!(status))];
    let mut look = |second, samples| {
        engine.sample(0, samples, at(second));
        told(&engine.pass(at(second)))
    };
    let nothing = Vec::<String>::new();
    assert_eq!(look(0, sample("offline")), nothing);
    assert_eq!(look(60, sample("error")), ["+offline:agent:a"], "either is bad");
    assert_eq!(look(61, sample("online")), ["-offline:agent:a"]);
    assert_eq!(look(70, sample("offline")), nothing);
    assert_eq!(look(130, sample("offline")), ["+offline:agent:a"]);
    assert_eq!(look(131, Vec::new()), ["-offline:agent:a"]);
}

#[test]
fn what_is_raised_on_the_map_is_taken_over_and_not_raised_again() {
    let mut engine = Engine::new(rules(RATE), at(0));
    let mut raised = Vec::new();
    for second in 0..3 {
        raised.extend(engine.observe(&error(second, "agent:a")));
    }
    let mut map = State::new(Epoch(1));
    let event = raised[0].event(at(3)).unwrap().event;
    map.apply(&LogEntry { cursor: Cursor { epoch: Epoch(1), seq: 1 }, logged_at: at(3), event, raw: None });
    let alert = map.alerts().next().unwrap().clone();
    assert_eq!((alert.id.as_str(), alert.title.as_str()), ("errors:agent:a", "agent:a fails: 3.0"));
    assert_eq!(alert.entity_id.as_deref(), Some("agent:a"));

    let mut next = Engine::new(rules(RATE), at(10));
    assert_eq!(next.adopt(&alert, at(10)), None);
    assert_eq!(next.pass(at(11)), [], "an empty window is no reason to clear it");
    for second in 12..20 {
        assert_eq!(next.observe(&error(second, "agent:a")), [], "it is raised already");
    }
    assert_eq!(told(&next.pass(at(90))), ["-errors:agent:a"]);

    let mut without = Engine::new(rules(""), at(10));
    assert_eq!(told(&without.adopt(&alert, at(10)).into_iter().collect::<Vec<_>>()), ["-errors:agent:a"]);
    let changed = rules(&RATE.replace("above = 2", "above = 3"));
    let mut engine = next.with_rules(changed, at(100));
    assert_eq!(engine.pass(at(100)), []);
}

#[test]
fn the_same_decision_has_the_same_key() {
    let run = || {
        let mut engine = Engine::new(rules(RATE), at(0));
        (0..9).flat_map(|second| engine.observe(&error(second, "agent:a"))).collect::<Vec<_>>()
    };
    let ids: Vec<_> = run().iter().chain(&run()).map(|effect| effect.event(Utc::now()).unwrap().event.id).collect();
    assert_eq!((ids.len(), ids[0]), (2, ids[1]));
}

#[test]
fn groups_are_bounded() {
    let mut engine = Engine::new(rules(RATE), at(0));
    let mut raised = 0;
    for number in 0..100 {
        for _ in 0..3 {
            raised += engine.observe(&error(1, &format!("agent:{number}"))).len();
        }
    }
    assert_eq!(raised, 4);
}

#[test]
fn a_wrong_file_is_refused_with_all_that_is_wrong_by_name() {
    let text = r#"
        [[rule]]
        name = "Bad Name"
        kind = "rate"
        events = "a..b"
        title = "x"
        above = 1
        below = 1
        window_seconds = 0
        [[rule]]
        name = "typo"
        kind = "rate"
        evnets = "a"
        title = "x"
        [[rule]]
        name = "odd"
        over = "journal"
        kind = "absence"
        title = "x"
    "#;
    let errors = Rules::parse(text, RulesLimits::default()).unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for part in [
        "rule Bad Name: name:",
        "rule Bad Name: events:",
        "rule Bad Name: above, below:",
        "rule Bad Name: window_seconds:",
        "rule typo:",
        "evnets",
        "rule odd: kind: 'absence' over 'journal'",
    ] {
        assert!(errors.iter().any(|error| error.contains(part)), "{part} is not in {errors:#?}");
    }
    assert!(Rules::parse("[[rule]", RulesLimits::default()).is_err());
    assert!(Rules::parse("rules = 1", RulesLimits::default()).is_err());
    let two = format!("{RATE}{RATE}");
    assert_eq!(
        Rules::parse(&two, RulesLimits::default()).unwrap_err()[0].to_string(),
        "rule errors: name: is there twice"
    );
    let limits = RulesLimits { max_rules: 1, ..RulesLimits::default() };
    assert!(Rules::parse(&two, limits).unwrap_err()[0].to_string().contains("ALERT_MAX_RULES"));
}

#[test]
fn the_rules_that_are_shipped_are_good() {
    let text = include_str!("../../deploy/alerts.toml");
    assert!(!Rules::parse(text, RulesLimits::default()).unwrap().is_empty());
}

proptest! {
    #[test]
    fn raised_and_cleared_take_turns(steps in proptest::collection::vec((0_i64..40, 0_u8..3), 1..200)) {
        let mut engine = Engine::new(rules(RATE), at(0));
        let (mut now, mut active) = (0, std::collections::BTreeSet::new());
        for (wait, what) in steps {
            now += wait;
            let effects = match what {
                0 => engine.pass(at(now)),
                1 => engine.observe(&error(now, "agent:a")),
                _ => engine.observe(&error(now, "agent:b")),
            };
            for effect in told(&effects) {
                let (mark, id) = effect.split_at(1);
                let turned = if mark == "+" { active.insert(id.to_owned()) } else { active.remove(id) };
                prop_assert!(turned, "{effect} twice");
            }
        }
        engine.pass(at(now + 61)).iter().for_each(|effect| { active.remove(&told(std::slice::from_ref(effect))[0][1..]); });
        prop_assert!(active.is_empty());
    }
}
