use serde_json::{Value, json};

use super::recorded::{self, GARDEN};
use super::{Log, answer, facts, layers_of};
use crate::map::State;
use crate::model::{Cursor, EntityType, Epoch, Facts, Layer, Service};

fn agent(fields: Value) -> crate::model::Answer {
    answer(Service::Agents, vec![facts(EntityType::Agent, "agent:sofia", &[], fields)])
}

#[test]
fn only_a_poll_that_began_later_overrules_an_event() {
    let mut log = Log::new();
    log.poll(&agent(json!({"name": "old", "model": "m1"})));
    let before = log.state.mark();
    log.push("agent.event.updated", &json!({"agent_id": "agent:sofia", "changes": {"name": "new"}}));
    let late = log.state.diff(&before, &agent(json!({"name": "older", "model": "m2"})), 10_000);
    log.push_all(Service::Agents, &late);
    assert_eq!((&log.item("agent:sofia")["name"], &log.item("agent:sofia")["model"]), (&json!("new"), &json!("m2")));
    log.poll(&agent(json!({"name": "newest", "model": "m2"})));
    assert_eq!(log.item("agent:sofia")["name"], "newest");
}

/// Positions of an earlier log are before every position of the log that begins with its map.
#[test]
fn a_poll_of_the_next_log_overrules_a_carried_map() {
    let mut log = Log::new();
    log.poll(&agent(json!({"name": "polled", "model": "m1"})));
    for name in ["one", "two", "three"] {
        log.push("agent.event.updated", &json!({"agent_id": "agent:sofia", "changes": {"name": name}}));
    }
    let before = layers_of(&log.state);
    let cursor = Cursor { epoch: Epoch(2), seq: 0 };
    log.state = std::mem::replace(&mut log.state, State::new(Epoch(0))).carried_to(cursor);
    (log.seq, log.entries) = (0, Vec::new());
    log.pass_hours(1);
    assert_eq!((log.state.cursor(), layers_of(&log.state)), (cursor, before));
    assert_eq!(log.poll(&agent(json!({"name": "newest", "model": "m1"}))).len(), 1);
    assert_eq!(log.item("agent:sofia")["name"], "newest");
}

#[test]
fn an_unchanged_answer_overrules_an_earlier_event() {
    let mut log = Log::new();
    log.poll(&agent(json!({"name": "Sofia"})));
    log.push("agent.event.updated", &json!({"agent_id": "agent:sofia", "changes": {"name": "a mistake"}}));
    assert_eq!(log.poll(&agent(json!({"name": "Sofia"}))).len(), 1);
    assert_eq!(log.item("agent:sofia")["name"], "Sofia");
    assert!(log.poll(&agent(json!({"name": "Sofia"}))).is_empty());
}

/// Also after a restart.
#[test]
fn absent_fields_of_a_partial_record_keep_their_values() {
    let mut log = Log::new();
    log.poll(&recorded::daos());
    let saved = log.state.to_saved().unwrap();
    log.state = crate::map::State::from_saved(&saved).unwrap();
    let renamed = facts(EntityType::Dao, "dao:aurora-circle", &[], json!({"name": "Aurora", "slug": "aurora-circle"}));
    log.poll(&answer(Service::Dao, vec![Facts { partial: true, ..renamed.clone() }]));
    let planet = log.item("dao:aurora-circle");
    assert_eq!(
        (&planet["name"], &planet["active_proposals"], &planet["members"]),
        (&json!("Aurora"), &json!(1), &json!(2))
    );
    assert_eq!(planet["treasury"][0]["balance"], "513200.12345678");
    log.poll(&answer(Service::Dao, vec![renamed]));
    assert_eq!(
        log.item("dao:aurora-circle")["members"],
        Value::Null,
        "in a complete record an absent field has no value"
    );
}

#[test]
fn a_lower_ranked_service_does_not_overrule_an_event() {
    let mut log = Log::new();
    log.poll(&agent(json!({"name": "Sofia"})));
    log.push("agent.event.updated", &json!({"agent_id": "agent:sofia", "changes": {"name": "Sofia 2"}}));
    log.poll(&recorded::city());
    assert_eq!(log.item("agent:sofia")["name"], "Sofia 2");
}

#[test]
fn usage_is_the_services_figure_plus_later_events() {
    let call = json!({"agent_id": "agent:sofia", "model": "m", "total_tokens": 100});
    let mut log = Log::new();
    log.poll(&recorded::agents());
    log.push("usage.llm", &call);
    let mark = log.state.mark();
    log.push("usage.llm", &call);
    let payloads = log.state.diff(&mark, &recorded::usage(), 10_000);
    log.push_all(Service::Usage, &payloads);
    assert_eq!(log.item("agent:sofia")["usage"]["llm_calls_24h"], 45);
    assert_eq!(log.item("agent:sofia")["usage"]["tokens_24h"], 7_600);
    assert_eq!(log.layer(Layer::Agents)["total_llm_calls_24h"], 124);
    assert!(log.state.diff(&mark, &recorded::usage(), 10_000).is_empty());
    log.push("usage.llm", &call);
    log.push("usage.llm", &json!({"actor_id": "user:1", "model": "m"}));
    assert_eq!(log.item("agent:sofia")["usage"]["llm_calls_24h"], 46);
    assert_eq!(log.layer(Layer::Agents)["total_llm_calls_24h"], 126);
}

#[test]
fn an_absent_usage_figure_is_not_reset() {
    let of_sofia = |calls: u64| {
        let usage = json!({"usage": {"llm_calls_24h": calls, "tokens_24h": 10 * calls}});
        answer(Service::Usage, vec![facts(EntityType::Agent, "agent:sofia", &[], usage)])
    };
    let message = json!({"sender_id": "agent:sofia", "sender_type": "agent", "channel_id": "c", "message_id": "m"});
    let mut log = Log::new();
    log.poll(&recorded::agents());
    log.push("messaging.message.created", &message);
    log.push("usage.llm", &json!({"agent_id": "agent:sofia", "model": "m", "latency_ms": 50}));
    for calls in [7, 8] {
        log.poll(&of_sofia(calls));
        assert_eq!(
            log.item("agent:sofia")["usage"],
            json!({"llm_calls_24h": calls, "tokens_24h": 10 * calls, "messages_24h": 1, "avg_response_time_ms": 50.0})
        );
        assert!(log.poll(&of_sofia(calls)).is_empty());
    }
    assert_eq!(log.client, layers_of(&log.state));
}

/// Also before the first poll of the usage service.
#[test]
fn calls_count_in_the_totals_for_a_day() {
    let mut log = Log::new();
    log.push("usage.llm", &json!({"agent_id": "agent:zoe", "tokens_input": 3, "tokens_output": 4, "latency_ms": 50}));
    assert_eq!(
        log.item("agent:zoe")["usage"],
        json!({"llm_calls_24h": 1, "tokens_24h": 7, "messages_24h": 0, "avg_response_time_ms": 50.0})
    );
    assert_eq!(log.layer(Layer::Agents)["total_llm_calls_24h"], 1);
    log.pass_hours(24);
    log.push("strange.subject", &json!({}));
    assert_eq!(log.item("agent:zoe")["usage"]["llm_calls_24h"], 0);
    assert_eq!(log.layer(Layer::Agents)["total_llm_calls_24h"], 0);
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn usage_figures_of_zero_add_no_agents() {
    let zero = json!({"usage": {"llm_calls_24h": 0, "tokens_24h": 0, "messages_24h": 0}});
    let of_zoe = |figures: Value| answer(Service::Usage, vec![facts(EntityType::Agent, "agent:zoe", &[], figures)]);
    let mut log = Log::new();
    assert!(log.poll(&of_zoe(zero.clone())).is_empty());
    log.poll(&of_zoe(json!({"usage": {"llm_calls_24h": 4}})));
    assert_eq!(log.ids(), ["agent:zoe"]);
    log.poll(&of_zoe(zero));
    assert!(log.state.is_empty());
}

#[test]
fn a_large_answer_is_split_into_parts() {
    let many = (0..10_000).map(|n| {
        let fields = json!({"name": format!("Agent {n}"), "model": "m", "microdao_id": GARDEN, "is_active": true});
        facts(EntityType::Agent, &format!("agent:{n}"), &[], fields)
    });
    let many = answer(Service::Agents, many.collect());
    let mut log = Log::new();
    let payloads = log.state.diff(&log.state.mark(), &many, 64 * 1024);
    assert!(payloads.len() > 10);
    assert!(payloads.iter().all(|payload| payload.to_string().len() <= 64 * 1024));
    log.push_all(Service::Agents, &payloads);
    assert_eq!(log.state.len(), 10_000);
    assert_eq!(log.state.agent_ids().len(), 10_000);
    assert!(log.state.diff(&log.state.mark(), &many, 64 * 1024).is_empty());
}

#[test]
fn a_poll_that_overlaps_a_folded_one_is_stale() {
    let mut log = Log::new();
    let early = log.state.mark();
    log.push("strange", &json!(1));
    log.poll(&agent(json!({"name": "new"})));
    assert!(log.state.diff(&early, &agent(json!({"name": "old"})), 10_000).is_empty());
    let stale = json!({"mark": 0, "entities": [{"type": "agent", "id": "agent:sofia", "fields": {"name": "old"}}]});
    assert!(log.push("living_map.sync.agents", &stale).changes.is_empty());
}

#[test]
fn city_figures_and_quests_are_layer_data() {
    let mut log = Log::new();
    log.poll(&recorded::city());
    let city = log.layer(Layer::City);
    assert_eq!(city["metrics"]["activity_index"], 0.71);
    assert_eq!(city["metrics"]["error_rate"], Value::Null);
    assert_eq!(city["quests"][0]["id"], "q1");
    assert_eq!(log.client["city"], city);
    assert!(log.poll(&recorded::city()).is_empty());
    assert_eq!(log.state.encode().services, ["city"]);
}

/// A repeated poll with duplicates has no changes.
#[test]
fn duplicates_within_an_answer_are_merged() {
    let named = |name: &str| facts(EntityType::Agent, "agent:sofia", &[], json!({"name": name}));
    let twice = answer(Service::Agents, vec![named("one"), named("two")]);
    let mut log = Log::new();
    assert_eq!(log.poll(&twice).len(), 1);
    assert!(log.poll(&twice).is_empty());
}

#[test]
fn a_malformed_poll_event_changes_nothing() {
    let mut log = Log::new();
    log.push("strange", &json!(1));
    let before = layers_of(&log.state);
    for payload in [
        json!(null),
        json!([1]),
        json!({"mark": "1", "entities": [{"type": "agent", "id": "agent:a"}]}),
        json!({"mark": 1_000_000, "entities": [{"type": "agent", "id": "agent:a"}]}),
        json!({"mark": 0, "entities": {"type": "agent"}, "gone": "agent:a", "layers": []}),
        json!({"mark": 0, "entities": [1, {}, {"type": "agent"}, {"type": "star", "id": "star:1"},
            {"type": "agent", "id": ""}, {"type": "agent", "id": 5}], "gone": [1, null, "x", "agent:a"]}),
        json!({"mark": 0, "layers": {"city": {"metrics": 1, "quests": {}}, "agents": {"total_llm_calls_24h": "x"}}}),
    ] {
        for service in ["agents", "usage", "city", "nonsense"] {
            assert!(log.push(&format!("living_map.sync.{service}"), &payload).changes.is_empty(), "{payload}");
        }
    }
    assert_eq!(layers_of(&log.state), before);
    assert!(log.state.encode().services.is_empty());
}
