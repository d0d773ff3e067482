//! Figures that polls and events both report, from the services through the log to the map, its past, and a restart.

use serde_json::{Value, json};

use crate::adapters::upstream::{Upstream, plain};
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

const AGENTS: usize = 25;

/// Calls of the model by one agent, by the summary of its own.
const fn calls(agent: usize) -> u64 {
    agent as u64 * 3
}

/// Calls without an agent.
const OTHERS: u64 = 41;

/// The agents service with 25 agents.
async fn agents_service() -> Upstream {
    let agents: Vec<Value> = (0..AGENTS)
        .map(|number| json!({"id": null, "external_id": format!("agent:{number}"), "name": "x", "is_active": true}))
        .collect();
    Upstream::serve(move |uri, _| {
        let inactive = uri.contains("is_active=false");
        std::future::ready(plain(200, if inactive { json!([]) } else { json!(agents) }.to_string()))
    })
    .await
}

/// The usage service. The figures of its top list are sums of another table.
async fn usage_service() -> Upstream {
    Upstream::serve(|uri, _| {
        let agent = uri.split("agent%3A").nth(1).and_then(|rest| rest.split('&').next()?.parse::<usize>().ok());
        let total = (0..AGENTS).map(calls).sum::<u64>() + OTHERS;
        let of_summary = agent.map_or(total, calls);
        let top: Vec<Value> = (0..20)
            .map(|number| json!({"agent_id": format!("agent:{number}"), "invocations": 99, "llm_calls": 1_000}))
            .collect();
        let summary = json!({"llm_calls_total": of_summary, "llm_tokens_total": of_summary * 100});
        std::future::ready(plain(200, json!({"summary": summary, "agents": top}).to_string()))
    })
    .await
}

/// The space service with one node, whose figures are always the same.
async fn space_service() -> Upstream {
    let node = json!({"node_id": "node:03", "name": "Relay", "status": "healthy", "cpu": {"load": 0.44}, "gpu": {"load": 0.72}});
    Upstream::serve(move |uri, _| {
        let body = if uri.contains("nodes") { json!([node]) } else { json!([]) };
        std::future::ready(plain(200, body.to_string()))
    })
    .await
}

async fn snapshot(server: &Process, query: &str) -> Option<Value> {
    let answer = reqwest::get(server.url(&format!("/living-map/snapshot{query}"))).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

/// Sum of the agents' calls, calls without an agent, and agents whose calls are unknown.
fn figures(snapshot: &Value) -> (u64, u64, usize) {
    let layer = &snapshot["layers"]["agents"];
    let items = layer["items"].as_array().expect("agents");
    let calls: Vec<Option<u64>> = items.iter().map(|agent| agent["usage"]["llm_calls_24h"].as_u64()).collect();
    let sum: u64 = calls.iter().flatten().sum();
    let without_agent = layer["llm_calls_24h_without_agent"].as_u64().expect("a number");
    assert_eq!(layer["total_llm_calls_24h"], sum + without_agent, "{layer}");
    (sum, without_agent, calls.iter().filter(|calls| calls.is_none()).count())
}

#[tokio::test]
async fn calls_of_25_agents_add_up_to_the_total() {
    let (agents, usage) = (agents_service().await, usage_service().await);
    let environment = [
        ("AGENTS_SERVICE_URL", agents.url.as_str()),
        ("USAGE_ENGINE_URL", usage.url.as_str()),
        ("SYNC_INTERVAL_SECONDS", "1"),
        ("USAGE_AGENTS_PER_POLL", "10"),
    ];
    let mut server = Process::serve(&environment).await;
    let expected = ((0..AGENTS).map(calls).sum::<u64>(), OTHERS, 0);
    let now = until("all agents to be asked for", || async {
        let now = snapshot(&server, "").await?;
        (now["layers"]["agents"]["total_agents"] == AGENTS && figures(&now) == expected).then_some(now)
    })
    .await;
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let deferred = metrics.lines().find(|line| line.starts_with("living_map_usage_agents_deferred_total")).unwrap();
    assert!(!deferred.ends_with(" 0"), "10 agents in each poll: {deferred}");

    let cursor = now["meta"]["cursor"].as_str().unwrap().to_owned();
    let call = json!({"event_type": "usage.llm", "payload": {"agent_id": "agent:7", "model": "m", "total_tokens": 10}});
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(&call).send().await.unwrap();
    assert!(answer.status().is_success());
    let later = (expected.0 + 1, expected.1, 0);
    until("the call to be counted", || async {
        snapshot(&server, "").await.filter(|now| figures(now) == later).map(drop)
    })
    .await;
    let past = snapshot(&server, &format!("?at={cursor}")).await.expect("the past");
    assert_eq!(past["layers"]["agents"], now["layers"]["agents"]);

    // the services are gone
    assert!(server.stop().await.success());
    drop((agents, usage));
    server.restart().await;
    let restarted = until("the map", || async {
        snapshot(&server, "").await.filter(|now| now["layers"]["agents"]["total_agents"] == AGENTS)
    })
    .await;
    assert_eq!(figures(&restarted), later);
}

#[tokio::test]
async fn metrics_from_nats_outlast_polls_with_an_unchanged_answer() {
    let (nats, database, space) = (NatsServer::start().await, postgres::database().await, space_service().await);
    let nats_url = nats.url();
    let environment = [
        ("DATABASE_URL", database.as_str()),
        ("NATS_URL", &nats_url),
        ("SPACE_SERVICE_URL", &space.url),
        ("SYNC_INTERVAL_SECONDS", "1"),
    ];
    let mut server = Process::serve(&environment).await;
    let loads = |snapshot: &Value| {
        let metrics = snapshot["layers"]["nodes"]["items"][0]["metrics"].clone();
        (metrics["cpu"].as_f64(), metrics["gpu"].as_f64())
    };
    until("the node", || async {
        snapshot(&server, "").await.filter(|now| loads(now) == (Some(0.44), Some(0.72))).map(drop)
    })
    .await;
    let client = nats.client().await;
    let metrics = json!({"node_id": "node:03", "cpu": 0.9});
    client.publish("node.metrics.update", metrics.to_string().into()).await.unwrap();
    client.flush().await.unwrap();
    until("the event's value", || async {
        snapshot(&server, "").await.filter(|now| loads(now) == (Some(0.9), Some(0.72))).map(drop)
    })
    .await;
    for restart in [false, true] {
        if restart {
            server.restart().await;
        }
        let before = space.requests().len();
        until("four more polls", || async { (space.requests().len() > before + 8).then_some(()) }).await;
        let now = until("the map", || async {
            snapshot(&server, "").await.filter(|now| now["layers"]["nodes"]["items"][0].is_object())
        })
        .await;
        assert_eq!(loads(&now), (Some(0.9), Some(0.72)), "after a restart: {restart}");
        let cursor = now["meta"]["cursor"].as_str().unwrap();
        let past = snapshot(&server, &format!("?at={cursor}")).await.expect("the map at its own position");
        assert_eq!(past["layers"], now["layers"]);
    }
}
