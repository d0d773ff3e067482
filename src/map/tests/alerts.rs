//! Alerts are part of the map: raised and cleared by events, over by the log's time.

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
fn an_alert_is_shown_from_its_raising_to_its_clearing() {
    let mut log = Log::new();
    assert_eq!(log.client["city"]["alerts"], json!([]));
    let raised = json!({"alert_id": "disk", "title": "disk full", "message": "92 %", "service": "node-exporter"});
    let outcome = log.push("ops.alert.critical", &raised);
    assert_eq!(
        (outcome.alerts[0].state, outcome.alerts[0].alert.severity),
        (AlertState::Raised, AlertSeverity::Critical)
    );
    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(log.push("ops.alert.critical", &raised).changes, [], "the same again is nothing new");
    let softer = log.push("ops.alert.warning", &raised);
    assert_eq!(softer.alerts[0].alert.severity, AlertSeverity::Warning);
    log.push("ops.alert.info", &json!({"summary": "hello", "service": "router"}));
    assert_eq!(shown(&log), ["disk", "router:hello"]);
    assert_eq!(log.client, layers_of(&log.state));
    let over = log.push("ops.alert.critical", &json!({"alert_id": "disk", "status": "RESOLVED"}));
    assert_eq!(over.alerts[0].state, AlertState::Cleared);
    assert_eq!(shown(&log), ["router:hello"]);
}

#[test]
fn an_alert_of_the_network_runs_out_by_the_logs_time_and_one_of_this_server_does_not() {
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
fn odd_alerts_do_no_harm_and_dead_letters_are_none() {
    let mut log = Log::new();
    for subject in ["ops.alert.nonsense", "ops.alert.critical.dlq", "ops.alert", "living_map.alert.raised.dlq"] {
        assert_eq!(log.push(subject, &json!({"title": "x"})).alerts, [], "{subject}");
    }
    for body in [json!(null), json!([]), json!("x")] {
        assert_eq!(log.push("ops.alert.critical", &body).alerts, []);
    }
    let odd = json!({"alert_id": "x".repeat(9_999), "title": 7, "message": {}, "ttl_seconds": -1, "status": []});
    let raised = log.push("ops.alert.critical", &odd).alerts.remove(0).alert;
    assert_eq!((raised.id.as_str(), raised.message), (":ops.alert.critical", None), "an id too long names nothing");
    assert_eq!(raised.title, "ops.alert.critical");
    log.push("ops.alert.critical", &json!({"ttl_seconds": u64::MAX, "title": "t".repeat(9_999)}));
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn a_saved_map_keeps_its_alerts_and_when_they_end() {
    let mut log = Log::new();
    log.push("ops.alert.warning", &json!({"id": "a", "ttl_seconds": 60}));
    let saved = serde_json::to_vec(&log.state).unwrap();
    let restored: State = serde_json::from_slice(&saved).unwrap();
    assert_eq!(Value::Object(layers_of(&restored)), Value::Object(log.client.clone()));
    log.state = restored;
    log.now += Duration::seconds(60);
    assert_eq!(log.push("city.event.any", &json!({})).alerts.len(), 1);
}
