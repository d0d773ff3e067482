//! Compatibility with the service that this one replaces: a client of its protocol, recorded answers of its upstreams, its
//! existing database, and events over core NATS.

use std::collections::BTreeSet;

use futures::{SinkExt, StreamExt};
use living_map::model::Service;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio_tungstenite::tungstenite::Message;

use crate::adapters::upstream::{TOKEN, Upstream};
use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

const OLD_SCHEMA: &str = include_str!("../fixtures/old_schema.sql");

struct Installation {
    server: Process,
    nats: NatsServer,
    adopted: i64,
    _upstreams: Vec<Upstream>,
}

impl Installation {
    /// This server in the environment of the old service.
    async fn start() -> Self {
        let (nats, database) = (NatsServer::start().await, postgres::database().await);
        let mut connection = PgConnection::connect(&database).await.unwrap();
        connection.execute(AssertSqlSafe(OLD_SCHEMA)).await.unwrap();
        let adopted = sqlx::query_scalar("SELECT count(*) FROM living_map_history").fetch_one(&mut connection).await;
        let nats_url = nats.url();
        let mut environment =
            vec![("DATABASE_URL", database), ("NATS_URL", nats_url), ("SYNC_INTERVAL_SECONDS", "1".to_owned())];
        let mut upstreams = Vec::new();
        for (service, url, token) in [
            (Service::Agents, "AGENTS_SERVICE_URL", "AGENTS_TOKEN"),
            (Service::Microdao, "MICRODAO_SERVICE_URL", "MICRODAO_TOKEN"),
            (Service::Dao, "DAO_SERVICE_URL", "DAO_TOKEN"),
            (Service::Usage, "USAGE_ENGINE_URL", "USAGE_TOKEN"),
            (Service::City, "CITY_SERVICE_URL", "CITY_TOKEN"),
            (Service::Space, "SPACE_SERVICE_URL", "SPACE_TOKEN"),
        ] {
            let upstream = Upstream::recorded(service).await;
            environment.extend([(url, upstream.url.clone()), (token, TOKEN.to_owned())]);
            upstreams.push(upstream);
        }
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = Process::serve(&environment).await;
        let installation = Self { server, nats, adopted: adopted.unwrap(), _upstreams: upstreams };
        until("all six services to be on the map", || async {
            let snapshot = installation.get("/living-map/snapshot").await?;
            (snapshot["meta"]["source_services"].as_array()?.len() == 6).then_some(())
        })
        .await;
        installation
    }

    /// JSON of a successful response.
    async fn get(&self, path: &str) -> Option<Value> {
        let answer = reqwest::get(self.server.url(path)).await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.unwrap_or_else(|| panic!("GET {path} failed"))
    }

    /// Publishes as the network's services do: core NATS, flat JSON.
    async fn publish(&self, subject: &'static str, payload: Value) {
        let client = self.nats.client().await;
        client.publish(subject, payload.to_string().into()).await.unwrap();
        client.flush().await.unwrap();
    }
}

/// Asserts that `value` has the types in `shape`: `"s"` is a string, `"n"` a number, `"s?"` a string or null, another string
/// itself, `[x]` a list, and an object is compared field by field. `value` may have additional fields.
fn has_shape(value: &Value, shape: &Value, path: &str) {
    match shape {
        Value::String(kind) => {
            let fits = match kind.trim_end_matches('?') {
                "s" => value.is_string(),
                "n" => value.is_number(),
                "time" => value.as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok()),
                "load" => value.as_f64().is_some_and(|load| (0.0..=1.0).contains(&load)),
                "status" => value.as_str().is_some_and(|text| {
                    ["active", "inactive", "online", "offline", "warning", "error", "idle"].contains(&text)
                }),
                literal => value == literal,
            };
            assert!(fits || (kind.ends_with('?') && value.is_null()), "{path} is {value}, expected {kind}");
        }
        Value::Array(items) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{path} is not a list: {value}"));
            for (index, item) in list.iter().enumerate() {
                has_shape(item, &items[0], &format!("{path}[{index}]"));
            }
        }
        Value::Object(fields) => {
            let object = value.as_object().unwrap_or_else(|| panic!("{path} is not an object: {value}"));
            for (name, field) in fields {
                let inner = object.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing"));
                has_shape(inner, field, &format!("{path}.{name}"));
            }
        }
        other => assert_eq!(value, other, "{path}"),
    }
}

fn snapshot_shape() -> Value {
    json!({
        "generated_at": "time",
        "layers": {
            "city": {
                "microdaos_total": "n", "active_users": "n", "active_agents": "n", "health": "s",
                "items": [{"id": "s", "slug": "s?", "name": "s", "status": "status", "agents": "n", "nodes": "n",
                    "members": "n", "description": "s?"}],
            },
            "space": {
                "planets": [{"id": "s", "name": "s", "type": "s", "status": "status", "orbits": ["s"],
                    "treasury_value": "n", "active_proposals": "n"}],
                "nodes": [{"id": "s", "name": "s", "status": "status", "cpu": "load?", "gpu": "load?",
                    "memory": "load?", "alerts": ["s"]}],
            },
            "nodes": {
                "items": [{"id": "s", "name": "s", "microdao_id": "s?", "status": "status",
                    "metrics": {"cpu": "load?", "gpu": "load?", "ram": "load?", "disk": "load?", "net_in": "n?",
                        "net_out": "n?", "temperature": "n?"},
                    "alerts": ["s"], "uptime_seconds": "n?", "last_seen": "time?"}],
                "total_cpu": "n", "total_gpu": "n", "total_ram": "n",
            },
            "agents": {
                "items": [{"id": "s", "name": "s", "kind": "s?", "microdao_id": "s?", "status": "status",
                    "usage": {"llm_calls_24h": "n?", "tokens_24h": "n?", "messages_24h": "n",
                        "avg_response_time_ms": "n?"},
                    "model": "s?", "last_active": "time?"}],
                "total_agents": "n", "online_agents": "n", "total_llm_calls_24h": "n",
            },
        },
        "meta": {"source_services": ["s"], "generated_at": "time", "version": "1.0"},
    })
}

fn item<'a>(list: &'a Value, id: &str) -> &'a Value {
    let items = list.as_array().expect("a list");
    items.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no {id} in {list}"))
}

#[tokio::test]
async fn every_field_of_the_old_service_is_present() {
    let installation = Installation::start().await;

    let root = installation.json("/").await;
    let names = json!({"health": "s", "snapshot": "s", "entities": "s", "history": "s", "stream": "s"});
    has_shape(&root, &json!({"service": "s", "version": "s", "phase": "s", "endpoints": names}), "root");
    let health = installation.json("/living-map/health").await;
    has_shape(
        &health,
        &json!({"status": "ok", "service": "living-map-service", "version": "s", "time": "time"}),
        "health",
    );

    let snapshot = installation.json("/living-map/snapshot").await;
    has_shape(&snapshot, &snapshot_shape(), "snapshot");
    let layers = &snapshot["layers"];

    // entities are identified across services, which use different ids and aliases
    let agents = &layers["agents"]["items"];
    assert_eq!(agents.as_array().unwrap().len(), 6, "{agents}");
    let sofia = item(agents, "agent:sofia");
    assert_eq!((&sofia["microdao_id"], &sofia["model"]), (&json!("microdao:daarion"), &json!("gpt-4.1-mini")));
    assert_eq!(sofia["usage"]["tokens_24h"], 7500);
    assert_eq!(item(agents, "agent:retired")["status"], "inactive");
    assert_eq!(layers["agents"]["total_llm_calls_24h"], 123);
    let daarion = item(&layers["city"]["items"], "microdao:daarion");
    assert_eq!(
        (&daarion["slug"], &daarion["members"], &daarion["agents"]),
        (&json!("daarion-city"), &json!(2), &json!(3))
    );
    assert_eq!(layers["city"]["microdaos_total"], 2);
    let aurora = item(&layers["space"]["planets"], "dao:aurora-circle");
    assert_eq!((&aurora["orbits"], &aurora["active_proposals"]), (&json!(["node:03"]), &json!(1)));
    assert!(aurora["treasury_value"].as_f64().unwrap() > 513_200.0, "{aurora}");
    assert_eq!(layers["space"]["planets"].as_array().unwrap().len(), 2, "dao:3 is aurora-circle: {layers}");
    let node = item(&layers["nodes"]["items"], "node:03");
    assert_eq!((&node["metrics"]["cpu"], &node["metrics"]["ram"]), (&json!(0.44), &json!(0.35)));
    assert_eq!(node["microdao_id"], "microdao:7");
    assert!(layers["nodes"]["total_cpu"].as_f64().unwrap() > 0.0, "{layers}");

    // entities of every layer and type
    let entities = installation.json("/living-map/entities?limit=500").await;
    let summary = json!({"id": "s", "type": "s", "label": "s", "status": "status", "layer": "s"});
    has_shape(&entities, &json!({"items": [summary]}), "entities");
    let types: BTreeSet<&str> =
        entities["items"].as_array().unwrap().iter().filter_map(|entity| entity["type"].as_str()).collect();
    assert!(types.is_superset(&BTreeSet::from(["agent", "dao", "microdao", "node"])), "{types:?}");
    for (query, all) in [("type=dao", "dao"), ("layer=nodes", "node"), ("layer=agents&type=agent", "agent")] {
        let answer = installation.json(&format!("/living-map/entities?{query}")).await;
        let items = answer["items"].as_array().unwrap();
        assert!(!items.is_empty() && items.iter().all(|entity| entity["type"] == all), "{query}: {answer}");
    }
    let one = installation.json("/living-map/entities/agent:sofia").await;
    has_shape(
        &one,
        &json!({"id": "agent:sofia", "type": "agent", "layer": "agents", "data": {"name": "Sofia"}}),
        "entity",
    );
    let by_uuid = installation.json("/living-map/entities/afd7ae6d-a9fe-4a65-a41b-326be0e23f2c").await;
    assert_eq!(by_uuid["id"], "agent:sofia");
}

#[tokio::test]
async fn an_existing_history_is_adopted_and_extended() {
    let installation = Installation::start().await;
    let payload = json!({"agent_id": "agent:sofia", "status": "offline", "event_id": "drop-in-1"});
    installation.publish("agent.event.status", payload.clone()).await;
    installation.publish("agent.event.status", payload).await;
    let row = json!({"id": "s", "timestamp": "time", "event_type": "s", "payload": {}, "source_service": "s?",
        "entity_id": "s?", "entity_type": "s?"});
    let ours = |page: &Value| {
        let items = page["items"].as_array().unwrap();
        items.iter().filter(|item| item["payload"]["event_id"] == "drop-in-1").count()
    };
    let page = until("the event to be in history", || async {
        let page = installation.get("/living-map/history?limit=1000&offset=0&event_type=agent.event.status").await?;
        (ours(&page) > 0).then_some(page)
    })
    .await;
    has_shape(&page, &json!({"items": [row], "total": "n", "has_more": false}), "history");
    assert_eq!(ours(&page), 1, "{page}");

    let everything = installation.json("/living-map/history?limit=1000").await;
    let items = everything["items"].as_array().unwrap();
    let times: Vec<_> = items
        .iter()
        .map(|item| chrono::DateTime::parse_from_rfc3339(item["timestamp"].as_str().unwrap()).unwrap())
        .collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first");
    let old = items.iter().filter(|item| item["cursor"].is_null()).count();
    assert_eq!(i64::try_from(old).unwrap(), installation.adopted, "no row of the old service is lost");
    assert!(items.iter().any(|item| item["event_type"] == "living_map.initialized"));
}

#[tokio::test]
async fn the_stream_is_compatible_with_old_clients() {
    let installation = Installation::start().await;
    let (mut stream, _) =
        tokio_tungstenite::connect_async(installation.server.ws_url("/living-map/stream")).await.unwrap();
    let first = next_frame(&mut stream).await;
    has_shape(&first, &json!({"kind": "snapshot", "data": snapshot_shape()}), "frame");

    installation
        .publish("agents.error", json!({"agent_id": "agent:alex", "error_type": "timeout", "error_message": "x"}))
        .await;
    let event = loop {
        let frame = next_frame(&mut stream).await;
        if frame["event_type"] == "agents.error" {
            break frame;
        }
    };
    let payload = json!({"agent_id": "agent:alex"});
    has_shape(&event, &json!({"kind": "event", "event_type": "s", "timestamp": "time", "payload": payload}), "event");
    assert_eq!((&event["entity_id"], &event["entity_type"]), (&json!("agent:alex"), &json!("agent")));

    // old clients send arbitrary text as a keepalive, which must not close the connection
    stream.send(Message::text("ping")).await.unwrap();
    let answer = loop {
        let frame = next_frame(&mut stream).await;
        if frame["kind"] != "event" {
            break frame;
        }
    };
    assert!(answer["timestamp"].is_string() && (answer["kind"] == "ping" || answer["kind"] == "error"), "{answer}");
    installation.publish("agents.reply", json!({"agent_id": "agent:alex", "tokens_used": 3, "latency_ms": 5})).await;
    while next_frame(&mut stream).await["event_type"] != "agents.reply" {}
}

async fn next_frame<S>(stream: &mut S) -> Value
where
    S: futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        let message = tokio::time::timeout(crate::support::wait::PATIENCE, stream.next());
        let message = message.await.expect("a frame in time").expect("the stream stays open").expect("no error");
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).expect("a frame is JSON");
        }
    }
}
