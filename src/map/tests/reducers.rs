use serde_json::{Value, json};

use super::recorded::{self, AURORA, GARDEN};
use super::{Log, assert_typed, layers_of};
use crate::map::EntityFilter;
use crate::model::{EntityType, Layer, Status};

/// Messages recorded from the microDAO service.
const CAPTURED: [(&str, &str); 4] = [
    (
        "microdao.event.created",
        r#"{"microdao_id": "f73db57e-c5cf-4c3d-8f9b-90242c9567dd", "slug": "solar-guild", "name": "Solar Guild", "owner_user_id": "11111111-1111-4111-8111-111111111111", "ts": "2026-11-21T00:06:59.126416+00:00"}"#,
    ),
    (
        "microdao.event.updated",
        r#"{"microdao_id": "f73db57e-c5cf-4c3d-8f9b-90242c9567dd", "slug": "solar-guild", "changes": {"name": "Solar Guild 2"}, "ts": "2026-11-21T00:06:59.185545+00:00"}"#,
    ),
    (
        "microdao.event.member_added",
        r#"{"microdao_id": "f73db57e-c5cf-4c3d-8f9b-90242c9567dd", "slug": "solar-guild", "member_id": "9cc982fd-c4e6-40ea-a425-6d25d8aeb9a9", "role": "member", "ts": "2026-11-21T00:06:59.247936"}"#,
    ),
    (
        "microdao.event.treasury_updated",
        r#"{"microdao_id": "f73db57e-c5cf-4c3d-8f9b-90242c9567dd", "slug": "solar-guild", "token_symbol": "DCR", "delta": "100.5", "new_balance": "12920.50000000", "ts": "2026-11-21T00:07:33.165537"}"#,
    ),
];

#[test]
fn captured_events_of_the_microdao_service() {
    let mut log = Log::new();
    for (subject, body) in CAPTURED {
        let outcome = log.push_bytes(subject, body.as_bytes());
        assert_eq!(outcome.entity_id.as_deref(), Some("microdao:solar-guild"));
        let counts_unknown = subject == "microdao.event.member_added";
        assert_eq!(outcome.changes.is_empty(), counts_unknown, "{subject}");
    }
    let item = log.item("f73db57e-c5cf-4c3d-8f9b-90242c9567dd");
    assert_eq!(item["name"], "Solar Guild 2");
    assert_eq!(item["slug"], "solar-guild");
    assert_eq!(item["members"], Value::Null, "its first members are in no event");
    assert_eq!(item["treasury"], json!([{"token_symbol": "DCR", "balance": "12920.50000000"}]));
    log.push("microdao.event.deleted", &json!({"slug": "solar-guild"}));
    assert!(log.state.is_empty());
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn events_of_a_dao() {
    let mut log = Log::new();
    log.poll(&recorded::daos());
    let about = |more: Value| {
        let mut body = json!({"dao_id": AURORA});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (subject, more) in [
        ("dao.event.member_added", json!({"slug": "aurora-circle"})),
        ("dao.event.proposal_created", json!({"proposal_id": "p1", "slug": "budget", "status": "draft"})),
        ("dao.event.proposal_activated", json!({"proposal_id": "p1", "slug": "budget"})),
        ("dao.event.proposal_activated", json!({"proposal_id": "p1", "slug": "budget"})),
        ("dao.event.proposal_created", json!({"proposal_id": 2, "slug": "grants", "status": "active"})),
        ("dao.event.proposal_closed", json!({"proposal_id": "p1", "slug": "budget", "is_passed": true})),
        ("dao.event.vote_cast", json!({"proposal_id": 2, "vote_value": "yes"})),
        ("dao.event.treasury_updated", json!({"token_symbol": "USDT", "delta": "0.5", "new_balance": "2502.00000001"})),
    ] {
        log.push(subject, &about(more));
    }
    let planet = log.item("dao:aurora-circle");
    assert_eq!((&planet["members"], &planet["active_proposals"]), (&json!(3), &json!(2)));
    assert_eq!(planet["treasury"][1]["balance"], "2502.00000001");
    assert_eq!(planet["treasury_value"], 513_200.123_456_78 + 2_502.000_000_01);
    assert_eq!(log.ids(), ["dao:aurora-circle"]);
    assert_eq!(log.client, layers_of(&log.state));
}

/// An event says that there is one more, not how many there were: a count of events alone would be 1 after one of many.
#[test]
fn numbers_known_from_events_alone_are_null_until_counted() {
    let mut log = Log::new();
    log.push("microdao.event.created", &json!({"microdao_id": GARDEN, "slug": "quantum-garden"}));
    log.push("dao.event.created", &json!({"dao_id": AURORA, "slug": "aurora-circle"}));
    let change = |log: &mut Log, kind: &str| {
        log.push(&format!("microdao.event.{kind}"), &json!({"microdao_id": GARDEN}));
        log.push(&format!("dao.event.{kind}"), &json!({"dao_id": AURORA}));
    };
    let shown = |log: &Log| {
        let (microdao, dao) = (log.item("quantum-garden"), log.item("aurora-circle"));
        let users = log.layer(Layer::City)["active_users"].clone();
        [&microdao["members"], &dao["members"], &dao["active_proposals"], &users].map(Clone::clone)
    };
    assert_eq!(shown(&log), [Value::Null, Value::Null, Value::Null, json!(0)]);
    change(&mut log, "member_added");
    change(&mut log, "member_added");
    change(&mut log, "member_removed");
    let proposal = json!({"dao_id": AURORA, "proposal_id": "p1"});
    log.push("dao.event.proposal_activated", &proposal);
    assert_eq!(shown(&log), [Value::Null, Value::Null, Value::Null, json!(0)]);

    log.poll(&recorded::microdaos());
    log.poll(&recorded::daos());
    assert_eq!(shown(&log), [json!(5), json!(2), json!(1), json!(5)]);
    change(&mut log, "member_added");
    log.push("dao.event.proposal_closed", &proposal);
    assert_eq!(shown(&log), [json!(6), json!(3), json!(0), json!(6)]);
    change(&mut log, "member_removed");
    assert_eq!(shown(&log), [json!(5), json!(2), json!(0), json!(5)]);
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn metrics_of_a_node() {
    let mut log = Log::new();
    log.push(
        "node.metrics.node-05",
        &json!({"cpu": 0.5, "gpu": 25, "memory": 0.25, "alerts": ["hot"], "uptime": 9, "ts": 1_700_000_100}),
    );
    let node = log.item("node:node-05");
    assert_eq!(
        (&node["status"], &node["metrics"]["ram"], &node["metrics"]["gpu"]),
        (&json!("online"), &json!(0.25), &json!(0.25))
    );
    assert_eq!((&node["uptime_seconds"], &node["last_seen"]), (&json!(9), &json!("2023-11-14T22:15:00Z")));
    log.push("node.metrics.update", &json!({"node_id": "node-05", "cpu": 0.9, "ts": 1_700_000_000}));
    assert_eq!(log.item("node-05")["metrics"]["cpu"], 0.5, "older metrics do not overwrite newer ones");
    log.push("node.metrics.node-05", &json!({"cpu": 0.9, "ts": "9999-01-01T00:00:00Z"}));
    log.push("node.metrics.node-05", &json!({"cpu": 0.7}));
    assert_eq!(log.item("node-05")["metrics"]["cpu"], 0.7, "a clock that runs ahead does not stop the node");
    let nodes = log.layer(Layer::Nodes);
    assert_eq!((&nodes["total_cpu"], &nodes["total_ram"]), (&json!(0.7), &json!(0.25)));
    assert_eq!(log.layer(Layer::Space)["nodes"][0]["memory"], 0.25);
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn metrics_overrule_offline_but_not_a_warning() {
    let mut log = Log::new();
    let mut space = recorded::space();
    let mut say = |log: &mut Log, status: &str| {
        space.entities[1].fields.insert("status".into(), json!(status));
        log.poll(&space);
        log.push("node.metrics.update", &json!({"node_id": "node:03", "cpu": 0.1}));
        log.item("node:03")["status"].clone()
    };
    assert_eq!(say(&mut log, "degraded"), "warning");
    assert_eq!(say(&mut log, "offline"), "online");
    assert_eq!(say(&mut log, "healthy"), "online");
}

#[test]
fn status_of_an_agent() {
    let mut log = Log::new();
    for (subject, more, status) in [
        ("agent.event.created", json!({"name": "Sofia"}), "active"),
        ("agent.event.status", json!({"status": "busy"}), "active"),
        ("agent.event.status", json!({"status": "online"}), "online"),
        ("agent.event.status", json!({"status": "dancing"}), "online"),
        ("agent.event.llm_error", json!({}), "error"),
        ("agent.event.invocation", json!({}), "error"),
        ("usage.llm", json!({"model": "m", "success": false}), "error"),
        ("usage.llm", json!({"model": "m", "success": true}), "online"),
        ("agents.error", json!({"error_type": "x"}), "error"),
        ("agents.reply", json!({"tokens_used": 1}), "online"),
        ("agents.runs.finished", json!({"run_id": "r", "success": false}), "error"),
        ("agents.runs.finished", json!({"run_id": "r", "success": true}), "online"),
        ("agent.error", json!({}), "error"),
        ("agent.reply.sent", json!({}), "online"),
        ("agent.event.deactivated", json!({}), "inactive"),
        ("agent.event.activated", json!({}), "online"),
        ("agent.event.status", json!({"status": "idle"}), "idle"),
        ("city.event.presence", json!({"status": "offline"}), "offline"),
    ] {
        let mut body = json!({"agent_id": "sofia"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        log.push(subject, &body);
        assert_eq!(log.item("agent:sofia")["status"], status, "after {subject} {more}");
    }
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn health_follows_nodes_warnings_and_errors() {
    let mut log = Log::new();
    let health = |log: &Log| log.layer(Layer::City)["health"].clone();
    assert_eq!(health(&log), "green");
    for n in 0..11 {
        log.push("agent.event.created", &json!({"agent_id": format!("agent:{n}")}));
    }
    log.push("agent.event.error", &json!({"agent_id": "agent:0"}));
    assert_eq!(health(&log), "yellow");
    log.push("agent.event.error", &json!({"agent_id": "agent:1"}));
    assert_eq!(health(&log), "red");
    for n in 0..2 {
        log.push("agents.reply", &json!({"agent_id": format!("agent:{n}")}));
    }
    assert_eq!(health(&log), "green");
    log.push("node.metrics.n1", &json!({"cpu": 0.1, "status": "warn"}));
    assert_eq!(health(&log), "yellow");
    log.push("node.metrics.n1", &json!({"cpu": 0.1, "status": "offline"}));
    assert_eq!(health(&log), "red");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn messages_count_for_channel_and_sending_agent() {
    let mut log = Log::new();
    log.poll(&recorded::microdaos());
    let message = |sender: &str, kind: &str| {
        json!({"message_id": "m", "channel_id": "c1", "microdao_id": GARDEN, "sender_id": sender, "sender_type": kind,
            "created_at": "2026-01-19T12:00:00"})
    };
    log.push("messaging.message.created", &message("user:1", "human"));
    log.push("messaging.message.created", &message("agent:sofia", "agent"));
    let channel = log.item("channel:c1");
    assert_eq!(
        (&channel["messages_24h"], &channel["microdao_id"], &channel["last_active"], &channel["status"]),
        (&json!(2), &json!("microdao:7"), &json!("2026-01-19T12:00:00Z"), &json!("active"))
    );
    assert_eq!(log.item("agent:sofia")["usage"]["messages_24h"], 1);
    log.pass_hours(24);
    log.push("strange", &json!({}));
    assert_eq!(log.item("channel:c1")["status"], "idle");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn every_form_of_usage_counts() {
    let mut log = Log::new();
    for (subject, body) in [
        ("usage.llm", json!({"agent_id": "a", "model": "m", "prompt_tokens": 3, "completion_tokens": 4})),
        ("usage.llm", json!({"agent_id": "a", "model": "m", "tokens_input": 1, "tokens_output": 2, "latency_ms": 10})),
        ("usage.llm", json!({"actor_id": "agent:a", "total_tokens": 10, "latency_ms": 30})),
        ("usage.llm.increment", json!({"agent_id": "a", "team_id": "t", "metric": "llm_calls", "value": 2})),
        ("usage.llm.increment", json!({"agent_id": "a", "team_id": "t", "metric": "tokens", "value": 80})),
        ("usage.agent", json!({"agent_id": "a", "llm_calls": 7, "success": true})),
        ("usage.tool", json!({"agent_id": "a", "tool_id": "t", "success": true})),
    ] {
        log.push(subject, &body);
    }
    assert_eq!(
        log.item("agent:a")["usage"],
        json!({"llm_calls_24h": 5, "tokens_24h": 100, "messages_24h": 0, "avg_response_time_ms": 20.0})
    );
    assert_eq!(log.item("agent:a")["model"], "m");
}

#[test]
fn last_activity_does_not_run_backwards() {
    let mut log = Log::new();
    log.push("agents.reply", &json!({"agent_id": "a", "ts": "2026-01-19T12:00:00Z"}));
    log.push("agents.reply", &json!({"agent_id": "a", "ts": "2026-01-19T11:00:00Z"}));
    assert_eq!(log.item("agent:a")["last_active"], "2026-01-19T12:00:00Z");
}

#[test]
fn unknown_subjects_and_malformed_payloads_are_ignored() {
    let mut log = Log::new();
    for payload in [
        json!(null),
        json!(true),
        json!(5),
        json!("text"),
        json!([{"agent_id": "a"}]),
        json!({}),
        json!({"agent_id": {}, "dao_id": [], "microdao_id": null, "node_id": 1.5, "channel_id": "", "slug": 1.5}),
    ] {
        for subject in [
            "agent.event.created",
            "agent.event.deleted",
            "agents.reply",
            "agents.runs.finished",
            "agents",
            "dao.event.created",
            "dao.event.proposal_activated",
            "dao.event.treasury_updated",
            "microdao.event.created",
            "microdao.event",
            "node.metrics.update",
            "usage.llm",
            "usage.llm.increment",
            "usage.tool",
            "messaging.message.created",
            "city.event.x",
            "living_map.sync.agents",
            "living_map.sync",
            "agent.run.started",
            "message.received",
            "memory.store",
        ] {
            let outcome = log.push(subject, &payload);
            assert!(outcome.changes.is_empty() && log.state.is_empty(), "{subject} {payload}");
        }
    }
    log.push("agent.event.somersault", &json!({"agent_id": "a"}));
    assert!(log.state.is_empty());
}

#[test]
fn lists_are_filtered_and_paged() {
    let mut log = Log::new();
    for answer in [recorded::agents(), recorded::microdaos(), recorded::daos(), recorded::space(), recorded::city()] {
        log.poll(&answer);
    }
    let ids = |filter: EntityFilter, after: Option<&str>, limit| {
        let page = log.state.entities(&filter, after, 0, limit);
        (page.items.into_iter().map(|item| item.id).collect::<Vec<_>>(), page.has_more)
    };
    let filter = EntityFilter::default;
    assert_eq!(ids(filter(), None, 2), (vec!["agent:sofia".into(), "dao:aurora-circle".into()], true));
    assert_eq!(ids(filter(), Some("dao:aurora-circle"), 2), (vec!["microdao:7".into(), "node:03".into()], false));
    for (wanted, found) in [
        (EntityFilter { kind: Some(EntityType::Dao), ..filter() }, vec!["dao:aurora-circle"]),
        (EntityFilter { kind: Some(EntityType::City), ..filter() }, vec![]),
        (EntityFilter { layer: Some(Layer::Space), ..filter() }, vec!["dao:aurora-circle", "node:03"]),
        (EntityFilter { status: Some(Status::Online), ..filter() }, vec!["agent:sofia", "node:03"]),
        (
            EntityFilter { microdao_id: Some(GARDEN.into()), ..filter() },
            vec!["agent:sofia", "dao:aurora-circle", "node:03"],
        ),
        (EntityFilter { microdao_id: Some("nowhere".into()), ..filter() }, vec![]),
        (EntityFilter { q: Some("AURORA".into()), ..filter() }, vec!["dao:aurora-circle"]),
        (EntityFilter { q: Some(GARDEN[..8].into()), ..filter() }, vec!["microdao:7"]),
    ] {
        assert_eq!(ids(wanted.clone(), None, 10).0, found, "{wanted:?}");
    }
    assert_eq!(ids(EntityFilter { kind: Some(EntityType::Node), ..filter() }, Some("dao:z"), 10).0, ["node:03"]);
    assert_eq!(ids(EntityFilter { kind: Some(EntityType::Agent), ..filter() }, Some("dao:z"), 10).0, [""; 0]);
    let relations = log.state.relations("dao:3").unwrap();
    let of_dao: Vec<_> = relations.iter().map(|r| (r.relation.as_str(), r.id.as_str())).collect();
    assert_eq!(of_dao, [("governs", "microdao:7"), ("orbited_by", "node:03")]);
    assert_eq!(log.state.relations("nobody"), None);
    assert_typed(&layers_of(&log.state));
}

#[test]
fn an_agent_shows_its_run_until_it_ends() {
    let mut log = Log::new();
    log.push("agent.event.status", &json!({"agent_id": "sofia", "status": "idle"}));
    assert_eq!(log.item("agent:sofia")["current_run"], Value::Null);
    log.push("agent.run.started.agent:sofia", &json!({"run_id": "r1", "task_id": "t1", "ts": "2026-01-19T12:00:00Z"}));
    let run = |progress: Value| json!({"id": "r1", "started_at": "2026-01-19T12:00:00Z", "progress": progress});
    let sofia = log.item("agent:sofia");
    assert_eq!((&sofia["current_run"], &sofia["status"]), (&run(Value::Null), &json!("active")));
    log.push("agent.run.progress.t1", &json!({"progress": 40}));
    assert_eq!(log.item("agent:sofia")["current_run"], run(json!(0.4)), "joined by its task");
    log.push("agent.run.completed.agent:sofia", &json!({"run_id": "another"}));
    assert_eq!(log.item("agent:sofia")["current_run"]["id"], "r1");
    log.push("agent.run.failed.dlq", &json!({"run_id": "r1", "agent_id": "sofia"}));
    assert_eq!(log.item("agent:sofia")["current_run"]["id"], "r1", "a dead letter is no event");
    log.push("agent.run.completed", &json!({"agent_run_id": "r1"}));
    let sofia = log.item("agent:sofia");
    assert_eq!((&sofia["current_run"], &sofia["status"]), (&Value::Null, &json!("idle")), "joined by its run");
    log.push("agents.runs.created", &json!({"agent_id": "sofia", "run_id": "r2"}));
    log.push("agent.run.failed.agent:sofia", &json!({"run_id": "r2"}));
    let sofia = log.item("agent:sofia");
    assert_eq!((&sofia["current_run"], &sofia["status"]), (&Value::Null, &json!("error")));
    log.push("agent.run.started.agent:sofia", &json!({"run_id": "r3"}));
    log.pass_hours(24);
    log.push("strange", &json!({}));
    assert_eq!(log.item("agent:sofia")["current_run"], Value::Null, "its end was never said");
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn an_agent_shows_its_open_lessons() {
    let mut log = Log::new();
    let mut told = |key: &str, status: &str, supersedes: Option<&str>| {
        let lesson = json!({"lesson_key": key, "status": status, "agent_id": "agent:sofia", "supersedes": supersedes});
        log.push("agent.lesson.v1", &lesson);
        log.item("agent:sofia")["open_lessons"].clone()
    };
    assert_eq!(told("a", "candidate", None), json!({"count": 1, "keys": ["a"]}));
    assert_eq!(told("a", "active", None), json!({"count": 1, "keys": ["a"]}));
    assert_eq!(told("b", "candidate", None), json!({"count": 2, "keys": ["b", "a"]}));
    assert_eq!(told("a.2", "active", Some("a")), json!({"count": 2, "keys": ["a.2", "b"]}));
    assert_eq!(told("b", "rejected", None), json!({"count": 1, "keys": ["a.2"]}));
    assert_eq!(told("a.2", "retired", None), Value::Null);
    log.push("agent.lesson.v1", &json!({"lesson_key": "c", "status": "active", "agent_id": null}));
    log.push("agent.lesson.v1", &json!({"lesson_key": 7, "status": "new"}));
    assert_eq!(log.client, layers_of(&log.state));
}

#[test]
fn messages_memory_and_attachments_are_activity() {
    let mut log = Log::new();
    let body = |minute: u8| json!({"channel_id": "c1", "ts": format!("2026-01-19T12:{minute:02}:00Z")});
    log.push("message.received.agent:sofia", &body(1));
    log.push("message.processed.agent:sofia", &body(2));
    log.push("message.sent.agent:sofia", &body(3));
    log.push("message.sent.agent:sofia.dlq", &body(4));
    let (channel, sofia) = (log.item("channel:c1"), log.item("agent:sofia"));
    assert_eq!((&channel["messages_24h"], &channel["last_active"]), (&json!(2), &json!("2026-01-19T12:03:00Z")));
    assert_eq!((&sofia["usage"]["messages_24h"], &sofia["last_active"]), (&json!(1), &json!("2026-01-19T12:03:00Z")));
    for (minute, subject, payload) in [
        (5, "memory.store.agent:sofia", json!({})),
        (6, "memory.graph.updated.agent:sofia", json!({})),
        (7, "attachment.indexed.agent:sofia", json!({})),
        (8, "attachment.created.pdf", json!({"agent_id": "sofia"})),
    ] {
        let mut payload = payload;
        payload["ts"] = json!(format!("2026-01-19T12:{minute:02}:00Z"));
        log.push(subject, &payload);
        let shown = log.item("agent:sofia")["last_active"].clone();
        assert_eq!(shown, format!("2026-01-19T12:{minute:02}:00Z"), "{subject}");
    }
    let before = log.client.clone();
    for subject in ["audit.action.gateway", "ops.health.gateway", "attachment.parsed.pdf"] {
        assert!(log.push(subject, &json!({"n": 1})).changes.is_empty(), "{subject}");
    }
    assert_eq!((&log.client, &before), (&layers_of(&log.state), &log.client));
}
