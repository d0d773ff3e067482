//! Alerts of the map: raised and cleared by events, expired by the log's time.

use chrono::Duration;
use serde_json::{Value, json};

use super::{Log, layers_of};
use crate::map::State;
use crate::model::{AlertSeverity, AlertState};

fn shown(log: &Log) -> Vec<String> {
    let alerts = log.client["city"]["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_alert_is_shown_until_it_is_cleared() {
    let mut log = Log::new();
    assert_eq!(log.client["city"]["alerts"], json!([]));
    let raised = json!({"alert_id": "disk", "title": "disk full", "message": "92 %", "service": "node-exporter"});
    let outcome = log.push("ops.alert.critical", &raised);
    assert_eq!(
        (outcome.alerts[0].state, outcome.alerts[0].alert.severity),
        (AlertState::Raised, AlertSeverity::Critical)
    );
    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(log.push("ops.alert.critical", &raised).changes, [], "a repetition changes nothing");
    let lowered = log.push("ops.alert.warning", &raised);
    assert_eq!(lowered.alerts[0].alert.severity, AlertSeverity::Warning);
    log.push("ops.alert.info", &json!({"summary": "hello", "service": "router"}));
    assert_eq!(shown(&log), ["disk", "router:hello"]);
    assert_eq!(log.client, layers_of(&log.state));
    let cleared = log.push("ops.alert.critical", &json!({"alert_id": "disk", "status": "RESOLVED"}));
    assert_eq!(cleared.alerts[0].state, AlertState::Cleared);
    assert_eq!(shown(&log), ["router:hello"]);
}

/// By the log's time; an alert of this server stays until it is cleared.
#[test]
fn alerts_of_the_network_expire() {
    let mut log = Log::new();
    log.push("ops.alert.warning", &json!({"id": "an-hour"}));
    log.push("ops.alert.warning", &json!({"id": "a-minute", "ttl_seconds": 60}));
    log.push("living_map.alert.raised", &json!({"alert_id": "dead_letters", "title": "many"}));
    log.now += Duration::seconds(60);
    let outcome = log.push("city.event.any", &json!({}));
    assert_eq!((outcome.alerts.len(), outcome.alerts[0].alert.id.as_str()), (1, "a-minute"));
    log.now += Duration::days(30);
    log.push("city.event.any", &json!({}));
    assert_eq!(shown(&log), ["dead_letters"]);
    log.push("living_map.alert.cleared", &json!({"alert_id": "dead_letters"}));
    assert_eq!(shown(&log), Vec::<String>::new());
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn malformed_alerts_and_dead_letters_are_harmless() {
    let mut log = Log::new();
    for subject in ["ops.alert.nonsense", "ops.alert.critical.dlq", "ops.alert", "living_map.alert.raised.dlq"] {
        assert_eq!(log.push(subject, &json!({"title": "x"})).alerts, [], "{subject}");
    }
    for body in [json!(null), json!([]), json!("x")] {
        assert_eq!(log.push("ops.alert.critical", &body).alerts, []);
    }
    let odd = json!({"alert_id": "x".repeat(9_999), "title": 7, "message": {}, "ttl_seconds": -1, "status": []});
    let raised = log.push("ops.alert.critical", &odd).alerts.remove(0).alert;
    assert_eq!((raised.id.as_str(), raised.message), (":ops.alert.critical", None), "a too long id is ignored");
    assert_eq!(raised.title, "ops.alert.critical");
    log.push("ops.alert.critical", &json!({"ttl_seconds": u64::MAX, "title": "t".repeat(9_999)}));
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn a_saved_map_keeps_alerts_and_their_ends() {
    let mut log = Log::new();
    log.push("ops.alert.warning", &json!({"id": "a", "ttl_seconds": 60}));
    let saved = log.state.to_saved().unwrap();
    let restored = State::from_saved(&saved).unwrap();
    assert_eq!(Value::Object(layers_of(&restored)), Value::Object(log.client.clone()));
    log.state = restored;
    log.now += Duration::seconds(60);
    assert_eq!(log.push("city.event.any", &json!({})).alerts.len(), 1);
}

#[test]
fn an_acknowledgement_stays_until_the_alert_is_cleared() {
    let mut log = Log::new();
    let raised = json!({"alert_id": "a", "title": "a", "rule": "errors", "group": "agent:x", "entity_id": "agent:x"});
    log.push("living_map.alert.raised", &raised);
    let acknowledgement = json!({"alert_id": "a", "by": "olena", "note": "on it"});
    assert_eq!(log.push("living_map.alert.acknowledged", &acknowledgement).alerts.len(), 1);
    assert_eq!(log.push("living_map.alert.acknowledged", &acknowledgement).alerts, [], "a repetition changes nothing");
    assert_eq!(log.push("living_map.alert.raised", &raised).alerts, [], "an alert raised again stays acknowledged");
    let alert = &log.client["city"]["alerts"][0];
    assert_eq!(
        (&alert["acknowledged_by"], &alert["note"], &alert["rule"]),
        (&json!("olena"), &json!("on it"), &json!("errors"))
    );
    log.push("living_map.alert.cleared", &json!({"alert_id": "a"}));
    assert_eq!(
        log.push("living_map.alert.acknowledged", &acknowledgement).alerts,
        [],
        "a cleared alert cannot be acknowledged"
    );
    log.push("living_map.alert.raised", &raised);
    assert_eq!(
        log.client["city"]["alerts"][0]["acknowledged_by"],
        Value::Null,
        "raised after it was cleared, it is a new alert"
    );
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn a_silence_is_shown_on_matching_alerts_until_it_ends() {
    let mut log = Log::new();
    let raise = |id: &str, rule: &str| json!({"alert_id": id, "title": id, "rule": rule});
    log.push("living_map.alert.raised", &raise("a", "errors"));
    log.push("living_map.alert.raised", &raise("b", "other"));
    let until = (log.now + Duration::minutes(10)).to_rfc3339();
    let silence = json!({"silence_id": "s", "rule": "errors", "until": until, "by": "olena"});
    assert_eq!(log.push("living_map.alert.silenced", &silence).alerts.len(), 1);
    log.push("living_map.alert.raised", &raise("c", "errors"));
    let silenced = |log: &Log| -> Vec<bool> {
        let alerts = log.client["city"]["alerts"].as_array().unwrap();
        alerts.iter().map(|alert| alert["silenced_until"].is_string()).collect()
    };
    assert_eq!(silenced(&log), [true, false, true], "also an alert that is raised later");
    for odd in [json!({"silence_id": "n", "until": until}), json!({"silence_id": "n", "rule": "other"}), json!([])] {
        assert_eq!(log.push("living_map.alert.silenced", &odd).alerts, []);
    }
    let saved = log.state.to_saved().unwrap();
    log.state = State::from_saved(&saved).unwrap();
    log.now += Duration::minutes(10);
    log.push("city.event.any", &json!({}));
    assert_eq!((silenced(&log), log.state.silences().count()), (vec![false; 3], 0));
    let until = (log.now + Duration::minutes(10)).to_rfc3339();
    log.push("living_map.alert.silenced", &json!({"silence_id": "s", "alert": "b", "until": until}));
    assert_eq!(silenced(&log), [false, true, false]);
    log.push("living_map.alert.unsilenced", &json!({"silence_id": "s"}));
    assert_eq!(silenced(&log), [false; 3]);
    assert_eq!(log.client, layers_of(&log.state));
}
