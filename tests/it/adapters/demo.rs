//! The simulated services, polled by the upstream clients.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use living_map::adapters::{AdaptersConfig, Endpoint, Endpoints, ErrorKind, Upstreams};
use living_map::demo::{Demo, DemoConfig, DemoHandle, Fault};
use living_map::journal::Journal;
use living_map::log::{Appended, Bounds, EventLog, LogError};
use living_map::model::{Answer, Epoch, LogEntry, NewEvent, Service};
use serde_json::{Value, json};

use super::{entity, fields, ids, poll_with};
use crate::support::wait::until;

/// A log that keeps appended events in memory and cannot be read.
#[derive(Default)]
struct MemoryLog(Mutex<Vec<NewEvent>>);

impl MemoryLog {
    fn count(&self, event_type: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|event| event.event.event_type == event_type).count()
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        let appended = |event: &NewEvent| Ok(Appended { id: event.event.id, cursor: None, duplicate: false });
        let results = events.iter().map(appended).collect();
        self.0.lock().unwrap().extend(events);
        results
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        Err(LogError::Unavailable("not readable".into()))
    }

    async fn read(&self, _: Epoch, _: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        Err(LogError::Unavailable("not readable".into()))
    }

    async fn ready(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}

async fn network(config: &DemoConfig) -> (DemoHandle, Arc<MemoryLog>, Upstreams) {
    let log = Arc::new(MemoryLog::default());
    let demo = Demo::start(config, log.clone()).await.unwrap();
    let upstreams = client(demo.endpoints().clone());
    (demo, log, upstreams)
}

fn client(endpoints: Endpoints) -> Upstreams {
    let config =
        AdaptersConfig { endpoints, call_timeout: Duration::from_secs(2), max_retries: 0, ..AdaptersConfig::default() };
    Upstreams::new(&config, &Journal::default()).unwrap()
}

async fn answer(upstreams: &Upstreams, service: Service) -> Answer {
    poll_with(upstreams, service, &[]).await.unwrap()
}

fn without_events() -> DemoConfig {
    DemoConfig { events_per_second: 0.0, ..DemoConfig::default() }
}

#[tokio::test]
async fn the_clients_can_read_every_simulated_service() {
    let (demo, _, upstreams) = network(&without_events()).await;
    let agents = answer(&upstreams, Service::Agents).await;
    assert_eq!(agents.entities.len(), 60);
    assert_eq!(agents.entities.iter().filter(|agent| agent.fields["is_active"] == false).count(), 7);
    assert_eq!(entity(&agents, "agent:sofia").aliases.len(), 1, "the alias is its UUID");

    let microdaos = answer(&upstreams, Service::Microdao).await;
    assert_eq!(microdaos.entities.len(), 6);
    for microdao in &microdaos.entities {
        assert!(microdao.fields["members"].as_u64() > Some(1), "members come from the details: {microdao:?}");
        assert_eq!(microdao.fields["treasury"][0]["token_symbol"], "DCR");
    }

    let daos = answer(&upstreams, Service::Dao).await;
    assert_eq!(ids(&daos), ["dao:aurora-circle", "dao:daarion-governance", "dao:forest-council", "dao:sun-treasury"]);
    assert_eq!(fields(&daos, "dao:aurora-circle")["active_proposals"], 1);

    let city = answer(&upstreams, Service::City).await;
    assert_eq!(city.entities.len(), 1 + 12 + 53, "one microDAO, the nodes, the active agents");
    assert_eq!(city.layers.len(), 1);

    let space = answer(&upstreams, Service::Space).await;
    assert_eq!(space.entities.len(), 4 + 12);
    assert_eq!(fields(&space, "dao:1")["orbits"], json!(["node:01", "node:05", "node:09"]));
    assert!(fields(&space, "node:01")["ram"].as_f64() < Some(1.0));
    demo.stop().await;
}

#[tokio::test]
async fn usage_reaches_agents_beyond_the_top_list() {
    let (demo, _, upstreams) = network(&without_events()).await;
    let top = answer(&upstreams, Service::Usage).await;
    assert_eq!(top.entities.len(), 20);
    let agents = answer(&upstreams, Service::Agents).await;
    let all = poll_with(&upstreams, Service::Usage, &ids(&agents)).await.unwrap();
    assert_eq!(all.entities.len(), 60);
    let calls = |facts: &living_map::model::Facts| facts.fields["usage"]["llm_calls_24h"].as_u64().unwrap();
    let sum: u64 = all.entities.iter().map(calls).sum();
    assert_eq!(all.layers[0].1["total_llm_calls_24h"], sum, "the total is the sum of all agents");
    assert!(all.entities.iter().any(|facts| calls(facts) == 0), "some agents are idle");
    demo.stop().await;
}

#[tokio::test]
async fn services_reject_missing_and_wrong_tokens() {
    let (demo, _, _) = network(&without_events()).await;
    for (token, expected) in
        [(None, "Missing or invalid authorization header"), (Some("wrong-token"), "Invalid or expired token")]
    {
        let endpoint = |service| {
            let url = demo.endpoints().get(service).url().as_str();
            Endpoint::new(url, token.map(living_map::adapters::Secret::new)).unwrap()
        };
        let upstreams = client(Endpoints::new(endpoint));
        for service in [Service::Dao, Service::Microdao] {
            let error = poll_with(&upstreams, service, &[]).await.unwrap_err();
            assert!(error.to_string().contains("401") && error.to_string().contains(expected), "{error}");
        }
    }
    demo.stop().await;
}

#[tokio::test]
async fn a_poll_after_the_events_agrees_with_them() {
    let config = DemoConfig { events_per_second: 2_000.0, ..DemoConfig::default() };
    let (demo, log, upstreams) = network(&config).await;
    until("agents that were created and deleted", async || {
        (log.count("agent.event.created") > 3 && log.count("agent.event.deleted") > 3).then_some(())
    })
    .await;
    // events during the poll may be in its response or not, so the log must be equal before and after
    let (before, agents, after) = until("a poll during which no agent is created or deleted", async || {
        let existing = || existing_agents(&log.0.lock().unwrap());
        let before = existing();
        let agents = poll_with(&upstreams, Service::Agents, &[]).await.unwrap();
        let after = existing();
        (before == after).then_some((before, agents, after))
    })
    .await;
    let known: BTreeSet<String> = agents.entities.iter().map(|agent| agent.id.clone()).collect();
    assert!(before.0.is_subset(&known) && after.1.is_disjoint(&known), "{before:?} {known:?}");
    demo.stop().await;
}

/// Agents that exist, and agents that were deleted.
fn existing_agents(events: &[NewEvent]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut created, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let id = || event.event.entity_id.clone().unwrap();
        match event.event.event_type.as_str() {
            "agent.event.created" => _ = created.insert(id()),
            "agent.event.deleted" => _ = deleted.insert(id()),
            _ => {}
        }
    }
    (created.difference(&deleted).cloned().collect(), deleted)
}

#[tokio::test]
async fn faults_can_be_set_and_cleared_at_runtime() {
    let config = DemoConfig { faults: vec!["city=garbage".parse().unwrap()], ..without_events() };
    let (demo, _, upstreams) = network(&config).await;
    let failure = async |service| poll_with(&upstreams, service, &[]).await.unwrap_err().kind;
    assert!(matches!(failure(Service::City).await, ErrorKind::NotJson(_)));
    demo.faults().set(Service::City, Some(Fault::Slow));
    assert!(matches!(failure(Service::City).await, ErrorKind::Timeout(_)));
    demo.faults().set(Service::City, Some(Fault::Down));
    assert!(matches!(failure(Service::City).await, ErrorKind::Status { status: 500, .. }));
    assert!(poll_with(&upstreams, Service::Agents, &[]).await.is_ok(), "other services still work");
    demo.faults().set(Service::City, None);
    assert!(poll_with(&upstreams, Service::City, &[]).await.is_ok());
    demo.stop().await;
}

#[tokio::test]
async fn responses_have_the_fields_of_recorded_ones() {
    let (demo, _, _) = network(&without_events()).await;
    let http = reqwest::Client::new();
    for (service, path, recorded) in [
        (Service::Agents, "/agents", "agents/list_agents.json"),
        (Service::Microdao, "/microdao", "microdao/list.json"),
        (Service::Microdao, "/microdao/daarion-city", "microdao/get_daarion-city.json"),
        (Service::Microdao, "/microdao/quantum-garden/treasury", "microdao/treasury.json"),
        (Service::Microdao, "/microdao/no-such", "microdao/get_missing.json"),
        (Service::Dao, "/dao", "dao/list.json"),
        (Service::Dao, "/dao/aurora-circle", "dao/overview_aurora-circle.json"),
        (Service::Dao, "/dao/no-such", "dao/get_missing.json"),
        (Service::Usage, "/internal/usage/summary?period_hours=24", "usage/summary_24h.json"),
        (Service::Usage, "/internal/usage/summary?period_hours=721", "usage/summary_error_422.json"),
        (Service::City, "/api/city/snapshot", "city/snapshot.json"),
        (Service::Space, "/space/planets", "space/planets.json"),
        (Service::Space, "/space/nodes", "space/nodes.json"),
    ] {
        let endpoint = demo.endpoints().get(service);
        let mut request = http.get(endpoint.url().join(path).unwrap());
        if let Some(token) = endpoint.token() {
            request = request.bearer_auth(token.expose());
        }
        let simulated: Value = request.send().await.unwrap().json().await.unwrap();
        let recorded: Value = serde_json::from_str(&super::body(recorded)).unwrap();
        assert_eq!(keys(&simulated), keys(&recorded), "{service} {path}");
    }
    demo.stop().await;
}

/// The paths of all keys; of a list those of its first item, since all items have the same.
fn keys(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(map) => open.extend(map.iter().map(|(key, value)| (format!("{path}.{key}"), value))),
            Value::Array(items) => open.extend(items.first().map(|item| (format!("{path}[]"), item))),
            _ => _ = found.insert(path),
        }
    }
    // the simulation leaves empty what no client reads: the city's events, and tools without calls
    found.retain(|path| !path.starts_with(".events") && !path.starts_with(".tools"));
    found
}
