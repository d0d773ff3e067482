use serde_json::{Value, json};

use super::recorded::{self, GARDEN};
use super::{Log, answer, facts, layers_of};
use crate::map::{MapOptions, State};
use crate::model::{EntityType, Layer, Service};

fn empty(service: Service) -> crate::model::Answer {
    answer(service, Vec::new())
}

#[test]
fn an_agent_dropped_by_the_registry_can_return() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    log.push("agents.reply", &json!({"agent_id": "agent:sofia"}));
    log.poll(&empty(Service::Agents));
    assert!(log.state.is_empty());
    // late events do not restore it
    log.push("usage.llm", &json!({"agent_id": "agent:sofia", "model": "m"}));
    assert!(log.state.is_empty());
    log.poll(&recorded::agents());
    assert_eq!(log.ids(), ["agent:sofia"]);
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn facts_of_the_city_end_when_it_stops_listing() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    let registered = log.item("agent:sofia");
    log.poll(&recorded::city());
    assert_eq!(log.item("agent:sofia")["status"], "online");
    assert_eq!(log.ids(), ["agent:sofia", "node:03"]);
    log.poll(&empty(Service::City));
    assert_eq!(log.item("agent:sofia"), registered);
    assert_eq!(log.ids(), ["agent:sofia"], "no other origin knows the node");
    log.poll(&recorded::city());
    assert_eq!(log.ids(), ["agent:sofia", "node:03"]);
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn an_agent_seen_after_the_poll_began_stays() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    let mark = log.state.mark();
    log.push("agent.event.status", &json!({"agent_id": "agent:sofia", "status": "online"}));
    let payloads = log.state.diff(&mark, &empty(Service::Agents), 10_000);
    log.push_all(Service::Agents, &payloads);
    assert_eq!(log.ids(), ["agent:sofia"]);
    log.poll(&empty(Service::Agents));
    assert!(log.state.is_empty());
}

#[test]
fn a_deletion_is_not_undone_by_a_poll_that_began_before_it() {
    let mut log = Log::new();
    log.poll(&recorded::daos());
    let mark = log.state.mark();
    log.push("dao.event.deleted", &json!({"dao_id": recorded::AURORA, "slug": "aurora-circle"}));
    assert!(log.state.is_empty());
    assert!(log.state.diff(&mark, &recorded::daos(), 10_000).is_empty());
    log.poll(&recorded::daos());
    assert_eq!(log.ids(), ["dao:aurora-circle"]);
}

#[test]
fn a_deletion_of_an_unknown_entity_does_nothing() {
    let mut log = Log::new();
    for subject in ["dao.event.deleted", "microdao.event.deleted", "agent.event.deleted"] {
        let outcome = log.push(subject, &json!({"dao_id": "x", "microdao_id": "x", "agent_id": "x"}));
        assert!(outcome.changes.is_empty() && log.state.is_empty(), "{subject}");
    }
}

#[test]
fn an_unlisted_node_is_offline_and_can_return() {
    let mut log = Log::new();
    log.poll(&recorded::space());
    log.poll(&empty(Service::Space));
    assert_eq!(log.ids(), ["node:03"]);
    assert_eq!(log.item("node:03")["status"], "offline");
    assert_eq!(log.item("node:03")["metrics"]["cpu"], Value::Null);
    assert_eq!(log.layer(Layer::Nodes)["total_cpu"], 0.0);
    assert_eq!(log.layer(Layer::City)["health"], "red");
    log.poll(&recorded::space());
    assert_eq!(log.item("node:03")["status"], "online");
    assert_eq!(log.client, layers_of(&log.state));
}

/// Offline without metrics for two hours, forgotten after a week.
#[test]
fn an_unlisted_node_expires_without_metrics() {
    let mut log = Log::new();
    log.push("node.metrics.gpu-1", &json!({"cpu": 0.5}));
    log.pass_hours(1);
    log.push("strange", &json!({}));
    assert_eq!(log.item("node:gpu-1")["status"], "online");
    log.pass_hours(1);
    log.push("strange", &json!({}));
    assert_eq!(log.item("node:gpu-1")["status"], "offline");
    log.pass_hours(7 * 24);
    log.push("strange", &json!({}));
    assert!(log.state.is_empty());
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn only_mentioned_entities_are_forgotten_after_a_week() {
    let mut log = Log::new();
    log.push("usage.llm", &json!({"agent_id": "agent:ghost", "model": "m"}));
    log.push("agent.event.created", &json!({"agent_id": "agent:real"}));
    log.pass_hours(8 * 24);
    log.push("strange", &json!({}));
    assert_eq!(log.ids(), ["agent:real"]);
}

#[test]
fn inactive_entities_stay_on_the_map() {
    let mut log = Log::new();
    let inactive = facts(EntityType::Agent, "agent:sofia", &[], json!({"is_active": false}));
    log.poll(&answer(Service::Agents, vec![inactive]));
    assert_eq!(log.item("agent:sofia")["status"], "inactive");
    log.poll(&recorded::city());
    assert_eq!(log.item("agent:sofia")["status"], "inactive");
}

#[test]
fn references_to_a_deleted_microdao_are_kept_by_name() {
    let mut log = Log::new();
    log.poll(&recorded::agents());
    log.poll(&recorded::microdaos());
    log.push("microdao.event.deleted", &json!({"microdao_id": GARDEN}));
    assert_eq!(log.ids(), ["agent:sofia"]);
    assert_eq!(log.state.relations("agent:sofia").unwrap(), []);
    log.poll(&empty(Service::Microdao));
    log.pass_hours(25);
    log.push("strange", &json!({}));
    assert_eq!(log.item("agent:sofia")["microdao_id"], format!("microdao:{GARDEN}"));
    log.poll(&recorded::microdaos());
    assert_eq!(log.item("agent:sofia")["microdao_id"], "microdao:7");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn a_duplicate_event_changes_nothing() {
    let mut log = Log::new();
    let call = json!({"event_id": "e1", "agent_id": "agent:sofia", "model": "m", "total_tokens": 5});
    assert!(!log.push("usage.llm", &call).duplicate);
    let again = log.push("usage.llm", &call);
    assert!(again.duplicate && again.changes.is_empty());
    assert_eq!(again.entity_id.as_deref(), Some("agent:sofia"));
    assert_eq!(log.item("agent:sofia")["usage"]["tokens_24h"], 5);
    assert_eq!(log.state.cursor().seq, 2);
}

#[test]
fn a_flood_of_invented_ids_does_not_fill_the_map() {
    let mut log = Log::new();
    log.state =
        State::new(log.state.cursor().epoch).with_options(MapOptions { max_entities: 3, ..MapOptions::default() });
    for number in 0..10 {
        log.push(&format!("node.metrics.n{number}"), &json!({"cpu": 0.5}));
    }
    assert_eq!(log.ids(), ["node:n0", "node:n1", "node:n2"]);
    assert_eq!(log.state.turned_away(), 7);
    // known entities are still updated, and upstreams may add entities
    let outcome = log.push("node.metrics.n1", &json!({"cpu": 0.7}));
    assert!(!outcome.changes.is_empty());
    log.poll(&recorded::agents());
    assert!(log.ids().contains(&"agent:sofia".to_owned()));
    // a repeated poll has no further changes
    assert!(log.state.diff(&log.state.mark(), &recorded::agents(), 100_000).is_empty());
    assert_eq!(log.client, layers_of(&log.state));
}
