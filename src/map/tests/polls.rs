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
    assert_eq!(log.item("agent:zoe")["usage"]["llm_calls_24h"], Value::Null, "nobody was asked");
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

/// The usage service has more calls of an agent than the log, and the sum of the agents is a part of its total.
#[test]
fn calls_of_all_agents_and_of_others_add_up_to_the_total() {
    let registered = (0..25).map(|n| facts(EntityType::Agent, &format!("agent:{n:02}"), &[], json!({"name": "x"})));
    let of_usage = |agents: std::ops::Range<u64>, calls: u64, total: u64| {
        let figures = |n| json!({"usage": {"llm_calls_24h": n * calls, "tokens_24h": n * 100}});
        let agents = agents.map(|n| facts(EntityType::Agent, &format!("agent:{n:02}"), &[], figures(n)));
        let mut answer = answer(Service::Usage, agents.collect());
        let Value::Object(layer) = json!({"total_llm_calls_24h": total}) else { unreachable!() };
        answer.layers.push((Layer::Agents, layer));
        answer
    };
    let call = |agent: &str| json!({"agent_id": agent, "model": "m", "total_tokens": 10});
    let of_network = |log: &Log| {
        let layer = log.layer(Layer::Agents);
        let items = layer["items"].as_array().unwrap().clone();
        let sum: u64 = items.iter().filter_map(|agent| agent["usage"]["llm_calls_24h"].as_u64()).sum();
        let unknown = items.iter().filter(|agent| agent["usage"]["llm_calls_24h"].is_null()).count();
        let without_agent = layer["llm_calls_24h_without_agent"].as_u64().unwrap();
        assert_eq!(layer["total_llm_calls_24h"], sum + without_agent);
        assert_eq!(log.client, layers_of(&log.state));
        (sum, without_agent, unknown)
    };
    let mut log = Log::new();
    log.poll(&answer(Service::Agents, registered.collect()));
    log.push("usage.llm", &call("agent:24"));
    assert_eq!(of_network(&log), (1, 0, 24), "counted from events without the service");
    log.poll(&of_usage(0..10, 1, 400));
    assert_eq!(of_network(&log), (45, 355, 15), "null until asked, also the agent with an event");
    log.poll(&of_usage(10..25, 1, 400));
    assert_eq!(of_network(&log), (300, 100, 0));
    log.push("usage.llm", &call("agent:03"));
    log.push("usage.llm", &json!({"actor_id": "user:1", "model": "m"}));
    assert_eq!(of_network(&log), (301, 101, 0));
    // asked at a later moment than the total
    log.poll(&of_usage(0..25, 2, 500));
    assert_eq!(of_network(&log), (600, 0, 0));
    log.pass_hours(13);
    assert!(!log.poll(&of_usage(0..25, 2, 500)).is_empty(), "figures are renewed within their window");
    log.pass_hours(13);
    log.push("strange", &json!({}));
    assert_eq!(of_network(&log), (600, 0, 0), "an answer that stays the same does not expire");
    log.pass_hours(24);
    for _ in 0..5 {
        log.push("strange", &json!({}));
    }
    assert_eq!(of_network(&log), (0, 0, 25), "a day without an answer");
}

fn space_node(metrics: Value) -> crate::model::Answer {
    answer(Service::Space, vec![facts(EntityType::Node, "node:03", &[], metrics)])
}

/// The poll that follows the event by seconds has the value from before the event.
#[test]
fn an_unchanged_answer_does_not_overrule_a_measurement() {
    let mut log = Log::new();
    let cpu = |log: &Log| log.item("node:03")["metrics"]["cpu"].clone();
    let event = |log: &mut Log, cpu: f64| {
        log.push("node.metrics.update", &json!({"node_id": "node:03", "cpu": cpu}));
    };
    let wait = |log: &mut Log, seconds: i64| log.now += chrono::Duration::seconds(seconds);
    let relay = space_node(json!({"name": "Relay", "status": "healthy", "cpu": 0.44}));
    log.poll(&relay);
    event(&mut log, 0.9);
    for _ in 0..4 {
        wait(&mut log, 60);
        assert!(log.poll(&relay).is_empty());
        assert_eq!(cpu(&log), 0.9);
    }
    // the entry at which the time passes decides nothing: the next answer does, also on a silent log
    wait(&mut log, 59);
    assert!(log.poll(&relay).is_empty());
    wait(&mut log, 1);
    assert_eq!(log.poll(&relay).len(), 1);
    assert_eq!(cpu(&log), 0.44);
    assert!(log.poll(&relay).is_empty());
    // each event has its own time
    event(&mut log, 0.7);
    wait(&mut log, 200);
    event(&mut log, 0.7);
    wait(&mut log, 200);
    assert!(log.poll(&relay).is_empty());
    // a changed answer counts at once, and the event after it again
    let changed = space_node(json!({"name": "Relay", "status": "healthy", "cpu": 0.45}));
    log.poll(&changed);
    assert_eq!(cpu(&log), 0.45);
    event(&mut log, 0.8);
    assert!(log.poll(&changed).is_empty());
    assert_eq!(cpu(&log), 0.8);
    assert_eq!(log.client, layers_of(&log.state));
}

/// Also where the map was saved and loaded in between.
#[test]
fn all_measurements_are_held_and_no_other_fields() {
    let node = json!({"gpu": 0.5, "ram": 0.5, "disk": 0.5, "net_in": 5.0, "net_out": 5.0, "temperature": 50.0,
        "latency_ms": 5.0, "agents": 5, "uptime_seconds": 5});
    let treasury = |balance: &str| json!([{"token_symbol": "DCR", "balance": balance}]);
    let microdao = json!({"name": "Garden", "members": 5, "treasury": treasury("5")});
    let dao =
        json!({"name": "Aurora", "slug": "aurora", "members": 5, "active_proposals": 1, "treasury": treasury("5")});
    let answers = [
        space_node(node.clone()),
        answer(Service::Microdao, vec![facts(EntityType::Microdao, "microdao:7", &[], microdao)]),
        answer(Service::Dao, vec![facts(EntityType::Dao, "dao:aurora", &[], dao)]),
    ];
    let mut log = Log::new();
    for answer in &answers {
        log.poll(answer);
    }
    let before = layers_of(&log.state);
    let mut metrics = node;
    for value in metrics.as_object_mut().unwrap().values_mut() {
        *value = json!(if value.is_u64() { json!(6) } else { json!(value.as_f64().unwrap() * 1.5) });
    }
    metrics["node_id"] = json!("node:03");
    log.push("node.metrics.update", &metrics);
    log.push("microdao.event.member_added", &json!({"microdao_id": "microdao:7"}));
    log.push(
        "microdao.event.treasury_updated",
        &json!({"microdao_id": "microdao:7", "token_symbol": "DCR", "new_balance": "6"}),
    );
    log.push("dao.event.member_removed", &json!({"dao_id": "dao:aurora"}));
    log.push("dao.event.proposal_created", &json!({"dao_id": "dao:aurora", "proposal_id": "p", "status": "active"}));
    log.push("dao.event.treasury_updated", &json!({"dao_id": "dao:aurora", "token_symbol": "DCR", "new_balance": "6"}));
    let measured = layers_of(&log.state);
    assert_ne!(measured, before);
    log.push("microdao.event.updated", &json!({"microdao_id": "microdao:7", "changes": {"name": "Weeds"}}));
    log.now += chrono::Duration::seconds(100);
    log.state = crate::map::State::from_saved(&log.state.to_saved().unwrap()).unwrap();
    for answer in &answers {
        log.poll(answer);
    }
    assert_eq!(
        layers_of(&log.state),
        measured,
        "the name is that of the answer again, the measurements are those of the events"
    );
    log.now += chrono::Duration::seconds(200);
    for answer in &answers {
        log.poll(answer);
    }
    for (id, field) in [
        ("microdao:7", "members"),
        ("microdao:7", "treasury"),
        ("dao:aurora", "members"),
        ("dao:aurora", "active_proposals"),
        ("dao:aurora", "treasury"),
        ("node:03", "latency_ms"),
        ("node:03", "agents"),
    ] {
        let layer = if id.starts_with("dao") {
            "space"
        } else if id.starts_with("node") {
            "nodes"
        } else {
            "city"
        };
        let list = if layer == "space" { "planets" } else { "items" };
        assert_eq!(log.item(id)[field], before[layer][list][0][field], "{id} {field}");
    }
    assert_eq!(log.item("node:03")["metrics"], before["nodes"]["items"][0]["metrics"]);
    assert_eq!(log.client, layers_of(&log.state));
}
