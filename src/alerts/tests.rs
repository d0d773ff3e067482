//! Rules of each kind, evaluated at given times.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::engine::{AlertAction, Engine, Sample};
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

/// `+` and the alert's id for raise, `-` and the id for clear.
fn ids(actions: &[AlertAction]) -> Vec<String> {
    let sign = |action: &AlertAction| if action.raise { '+' } else { '-' };
    let id = |action: &AlertAction| action.event(at(0)).unwrap().event.payload["alert_id"].as_str().unwrap().to_owned();
    actions.iter().map(|action| format!("{}{}", sign(action), id(action))).collect()
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

/// Once for each group; the bound `clear` decides about the end.
#[test]
fn a_rate_is_raised_and_cleared_once() {
    let mut engine = Engine::new(rules(RATE), at(0));
    let mut all = Vec::new();
    for second in 0..5 {
        all.extend(ids(&engine.observe(&error(second, "agent:a"))));
        all.extend(ids(&engine.observe(&entry(second, "agent.error.dlq", &json!({"agent_id": "agent:b"})))));
    }
    assert_eq!(all, ["+errors:agent:a"]);
    assert_eq!(engine.tick(at(62)), [], "two events are still in the window");
    assert_eq!(ids(&engine.tick(at(64))), ["-errors:agent:a"]);
    assert_eq!(engine.tick(at(200)), []);
    assert_eq!(ids(&[]), Vec::<String>::new());
}

#[test]
fn absence_counts_from_the_last_event_and_from_the_start() {
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
    assert_eq!(ids(&engine.tick(at(29))), Vec::<String>::new());
    assert_eq!(ids(&engine.tick(at(30))), ["+silent"]);
    assert_eq!(ids(&engine.observe(&entry(40, "node.metrics.update", &json!({"node_id": "node:a"})))), ["-silent"]);
    assert_eq!(ids(&engine.tick(at(70))), ["+silent", "+node:node:a"]);
    assert_eq!(ids(&engine.tick(at(40 + 3_600))), ["-node:node:a"], "a group without events is dropped");
    assert_eq!(engine.tick(at(40 + 3_700)), []);
}

/// `for_seconds` delays raising, `clear_for_seconds` delays clearing.
#[test]
fn a_threshold_must_hold_for_a_time() {
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
    let measure = |engine: &mut Engine, second, degrees: i64| {
        let payload = json!({"node_id": "node:a", "rack": "r1", "temperature": degrees});
        ids(&engine.observe(&entry(second, "node.metrics.update", &payload)))
    };
    let nothing = Vec::<String>::new();
    assert_eq!(measure(&mut engine, 0, 81), nothing);
    assert_eq!(measure(&mut engine, 5, 79), nothing, "it did not hold for long enough");
    assert_eq!(measure(&mut engine, 6, 90), nothing);
    assert_eq!(ids(&engine.tick(at(16))), ["+hot:node:a"], "raised by time alone");
    assert_eq!(measure(&mut engine, 20, 75), nothing, "unchanged between the two bounds");
    assert_eq!(measure(&mut engine, 30, 60), nothing);
    assert_eq!(measure(&mut engine, 40, 71), nothing, "it holds again");
    assert_eq!(measure(&mut engine, 50, 70), nothing);
    assert_eq!(ids(&engine.tick(at(70))), ["-hot:node:a"]);
    let elsewhere = json!({"node_id": "node:b", "rack": "r3", "temperature": 99});
    engine.observe(&entry(71, "node.metrics.update", &elsewhere));
    assert_eq!(engine.tick(at(99)), []);
}

/// A state must last before it raises; it ends when its entity is gone.
#[test]
fn a_state_of_an_entity_raises_and_clears() {
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
    let sample = |status: &str| {
        vec![Sample { group: "agent:a".to_owned(), entity_id: Some("agent:a".to_owned()), value: json!(status) }]
    };
    let mut evaluate = |second, samples| {
        engine.sample(0, samples, at(second));
        ids(&engine.tick(at(second)))
    };
    let nothing = Vec::<String>::new();
    assert_eq!(evaluate(0, sample("offline")), nothing);
    assert_eq!(evaluate(60, sample("error")), ["+offline:agent:a"], "both statuses match");
    assert_eq!(evaluate(61, sample("online")), ["-offline:agent:a"]);
    assert_eq!(evaluate(70, sample("offline")), nothing);
    assert_eq!(evaluate(130, sample("offline")), ["+offline:agent:a"]);
    assert_eq!(evaluate(131, Vec::new()), ["-offline:agent:a"]);
}

#[test]
fn an_active_alert_is_adopted_and_not_raised_again() {
    let mut engine = Engine::new(rules(RATE), at(0));
    let mut raised = Vec::new();
    for second in 0..3 {
        raised.extend(engine.observe(&error(second, "agent:a")));
    }
    let mut map = State::new(Epoch(1));
    let event = raised[0].event(at(3)).unwrap().event;
    map.apply(&LogEntry { cursor: Cursor { epoch: Epoch(1), seq: 1 }, logged_at: at(3), event, raw: None });
    let alert = map.alerts().next().unwrap().clone();
    assert_eq!((alert.id.as_str(), alert.title.as_str()), ("errors:agent:a", "agent:a fails: 3"));
    let measurement = json!({"field": null, "value": 3.0, "condition": "above", "bound": 2.0, "window_seconds": 60});
    assert_eq!(json!(alert.measurement), measurement);
    assert_eq!(alert.entity_id.as_deref(), Some("agent:a"));

    let mut next = Engine::new(rules(RATE), at(10));
    assert_eq!(next.adopt(&alert, at(10)), None);
    assert_eq!(next.tick(at(11)), [], "an empty window does not clear it");
    for second in 12..20 {
        assert_eq!(next.observe(&error(second, "agent:a")), [], "already raised");
    }
    assert_eq!(ids(&next.tick(at(90))), ["-errors:agent:a"]);

    let mut without = Engine::new(rules(""), at(10));
    assert_eq!(ids(&without.adopt(&alert, at(10)).into_iter().collect::<Vec<_>>()), ["-errors:agent:a"]);
    let changed = rules(&RATE.replace("above = 2", "above = 3"));
    next.replace_rules(changed, at(100));
    assert_eq!(next.tick(at(100)), []);
}

#[test]
fn the_same_action_has_the_same_key() {
    let run = || {
        let mut engine = Engine::new(rules(RATE), at(0));
        (0..9).flat_map(|second| engine.observe(&error(second, "agent:a"))).collect::<Vec<_>>()
    };
    let ids: Vec<_> = run().iter().chain(&run()).map(|action| action.event(Utc::now()).unwrap().event.id).collect();
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
fn all_errors_of_a_file_are_reported_by_name() {
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
        "rule errors: name: is used twice"
    );
    let limits = RulesLimits { max_rules: 1, ..RulesLimits::default() };
    assert!(Rules::parse(&two, limits).unwrap_err()[0].to_string().contains("ALERT_MAX_RULES"));
}

#[test]
fn the_shipped_rules_are_valid() {
    let text = include_str!("../../deploy/alerts.toml");
    assert!(!Rules::parse(text, RulesLimits::default()).unwrap().is_empty());
}

proptest! {
    #[test]
    fn raised_and_cleared_alternate(steps in proptest::collection::vec((0_i64..40, 0_u8..3), 1..200)) {
        let mut engine = Engine::new(rules(RATE), at(0));
        let (mut now, mut active) = (0, std::collections::BTreeSet::new());
        for (wait, step) in steps {
            now += wait;
            let actions = match step {
                0 => engine.tick(at(now)),
                1 => engine.observe(&error(now, "agent:a")),
                _ => engine.observe(&error(now, "agent:b")),
            };
            for action in ids(&actions) {
                let (sign, id) = action.split_at(1);
                let changed = if sign == "+" { active.insert(id.to_owned()) } else { active.remove(id) };
                prop_assert!(changed, "{action} twice");
            }
        }
        engine.tick(at(now + 61)).iter().for_each(|action| { active.remove(&ids(std::slice::from_ref(action))[0][1..]); });
        prop_assert!(active.is_empty());
    }
}
