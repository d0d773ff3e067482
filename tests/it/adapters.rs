//! The upstream clients against recorded responses of the services, and against failing services.

mod demo;
mod faults;
pub mod upstream;

use std::time::Duration;

use living_map::adapters::{AdapterError, AdaptersConfig, PollContext, Upstreams};
use living_map::journal::Journal;
use living_map::model::{Answer, EntityType, Facts, Layer, Service};
use serde_json::{Value, json};
use tokio::time::Instant;

use upstream::{Recording, TOKEN, Upstream, body, plain};

async fn poll(service: Service, config: &AdaptersConfig) -> Result<Answer, AdapterError> {
    poll_with(&Upstreams::new(config, &Journal::default()).unwrap(), service, &[]).await
}

async fn poll_with(upstreams: &Upstreams, service: Service, agents: &[&str]) -> Result<Answer, AdapterError> {
    let agent_ids = agents.iter().map(ToString::to_string).collect();
    let context = PollContext { deadline: Instant::now() + Duration::from_secs(20), agent_ids };
    upstreams.poll(service, &context).await
}

fn entity<'a>(answer: &'a Answer, id: &str) -> &'a Facts {
    answer.entities.iter().find(|facts| facts.id == id).unwrap_or_else(|| panic!("{id} in {answer:?}"))
}

fn fields(answer: &Answer, id: &str) -> Value {
    Value::Object(entity(answer, id).fields.clone())
}

fn ids(answer: &Answer) -> Vec<&str> {
    let mut ids: Vec<_> = answer.entities.iter().map(|facts| facts.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn agents_active_and_inactive_are_one_list() {
    let upstream = Upstream::recorded(Service::Agents).await;
    let answer = poll(Service::Agents, &upstream.config(None)).await.unwrap();
    assert_eq!(answer.complete, [EntityType::Agent]);
    let expected = ["agent:alex", "agent:guardian", "agent:node-03", "agent:quest-7", "agent:retired", "agent:sofia"];
    assert_eq!(ids(&answer), expected);
    let alex = entity(&answer, "agent:alex");
    assert_eq!(
        (alex.kind, &alex.aliases[..]),
        (EntityType::Agent, &["b757665e-4568-4d3e-9f1f-71c4c67d7393".to_owned()][..])
    );
    let expected = json!({
        "name": "Alex", "kind": "analyst", "description": "Аналітик даних та метрик", "model": "deepseek-r1",
        "microdao_id": "c45505c7-38d1-4666-b4ab-7707314e14d3", "is_active": true,
    });
    assert_eq!(fields(&answer, "agent:alex"), expected);
    let retired = fields(&answer, "agent:retired");
    assert_eq!((&retired["is_active"], &retired["microdao_id"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn a_failed_list_of_agents_fails_the_poll() {
    let recording = std::sync::Arc::new(Recording::of(Service::Agents));
    let upstream =
        Upstream::serve(move |uri, token| {
            let recording = recording.clone();
            async move {
                if uri.contains("is_active") { plain(404, "no") } else { recording.answer(&uri, token.as_deref()) }
            }
        })
        .await;
    let error = poll(Service::Agents, &upstream.config(None)).await.unwrap_err();
    assert_eq!(error.to_string(), "agents /agents?is_active=false: answered 404: no");
}

#[tokio::test]
async fn microdaos_have_the_members_of_their_details() {
    let upstream = Upstream::recorded(Service::Microdao).await;
    let answer = poll(Service::Microdao, &upstream.config(Some(TOKEN))).await.unwrap();
    assert_eq!(answer.complete, [EntityType::Microdao]);
    assert_eq!(ids(&answer), ["microdao:7", "microdao:daarion"]);
    let core = entity(&answer, "microdao:daarion");
    assert_eq!(core.aliases, ["daarion-city", "c45505c7-38d1-4666-b4ab-7707314e14d3"]);
    let expected = json!({
        "name": "DAARION Core", "slug": "daarion-city", "is_active": true, "members": 2, "agents": 3,
        "description": "Децентралізована платформа для AI-агентів та microDAO",
    });
    assert_eq!(fields(&answer, "microdao:daarion"), expected, "a treasury that was not recorded is left out");
    let garden = fields(&answer, "microdao:7");
    assert_eq!(garden["treasury"], json!([{"token_symbol": "DCR", "balance": "12920.50000000"}]));
    assert_eq!(
        (garden.get("members"), &garden["agents"]),
        (None, &json!(2)),
        "a detail that was not recorded is left out"
    );
}

#[tokio::test]
async fn a_missing_internal_list_is_not_requested_again() {
    let upstream = Upstream::recorded(Service::Microdao).await;
    let upstreams = Upstreams::new(&upstream.config(Some(TOKEN)), &Journal::default()).unwrap();
    poll_with(&upstreams, Service::Microdao, &[]).await.unwrap();
    poll_with(&upstreams, Service::Microdao, &[]).await.unwrap();
    let requests = |path: &str| upstream.requests().iter().filter(|uri| *uri == path).count();
    assert_eq!((requests("/internal/microdaos"), requests("/microdao")), (1, 2));
}

#[tokio::test]
async fn an_internal_list_needs_no_token() {
    let list = body("microdao/list.json");
    let upstream = Upstream::serve(move |uri, _| {
        let found = uri == "/internal/microdaos";
        std::future::ready(if found { plain(200, list.clone()) } else { plain(401, "{}") })
    })
    .await;
    let answer = poll(Service::Microdao, &upstream.config(None)).await.unwrap();
    assert_eq!(ids(&answer), ["microdao:7", "microdao:daarion"]);
    assert!(answer.entities.iter().all(|facts| !facts.fields.contains_key("members")));
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_an_error_with_status_401() {
    for (service, token, expected) in [
        (Service::Microdao, None, "microdao /microdao: answered 401: "),
        (Service::Microdao, Some("wrong-token"), "microdao /microdao: answered 401: "),
        (Service::Dao, None, "dao /dao: answered 401: "),
    ] {
        let upstream = Upstream::recorded(service).await;
        let error = poll(service, &upstream.config(token)).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(upstream.requests().iter().filter(|uri| !uri.contains("internal")).count(), 1, "401 is not retried");
    }
}

#[tokio::test]
async fn daos_have_treasury_and_proposals() {
    let upstream = Upstream::recorded(Service::Dao).await;
    let answer = poll(Service::Dao, &upstream.config(Some(TOKEN))).await.unwrap();
    assert_eq!(ids(&answer), ["dao:aurora-circle", "dao:daarion-governance"]);
    assert_eq!(entity(&answer, "dao:aurora-circle").aliases, ["aurora-circle", "710f0dc1-4c22-4afc-a85f-af13634be32a"]);
    let expected = json!({
        "name": "Aurora Circle", "slug": "aurora-circle", "description": "Budget and grants", "is_active": true,
        "microdao_id": "1ce95e3b-e40c-44ae-b355-0988e3f07bf7", "members": 2, "active_proposals": 1,
        "treasury": [
            {"token_symbol": "DAAR", "balance": "513200.12345678"},
            {"token_symbol": "USDT", "balance": "2501.50000000"},
        ],
    });
    assert_eq!(fields(&answer, "dao:aurora-circle"), expected);
}

#[tokio::test]
async fn usage_of_each_agent_is_from_its_own_summary() {
    let recording = std::sync::Arc::new(Recording::of(Service::Usage));
    let upstream = Upstream::serve(move |uri, token| {
        let recording = recording.clone();
        async move {
            // the service reports an unknown agent as zeros
            if uri.contains("agent%3Aalex") {
                return plain(500, "{}");
            }
            if uri.contains("agent%3Aidle") {
                let zeros = json!({"llm_calls_total": 0, "llm_tokens_total": 0, "llm_latency_avg_ms": 0.0,
                    "agent_invocations_total": 0, "messages_sent": 32});
                return plain(200, json!({"summary": zeros}).to_string());
            }
            recording.answer(&uri, token.as_deref())
        }
    })
    .await;
    let upstreams = Upstreams::new(&upstream.config(None), &Journal::default()).unwrap();
    let answer = poll_with(&upstreams, Service::Usage, &["agent:idle", "agent:sofia"]).await.unwrap();
    assert_eq!(answer.layers.len(), 1);
    assert_eq!(answer.layers[0].0, Layer::Agents);
    assert_eq!(Value::Object(answer.layers[0].1.clone()), json!({"total_llm_calls_24h": 123}));
    assert!(answer.complete.is_empty());
    let sofia = json!({"usage": {"llm_calls_24h": 43, "tokens_24h": 7500, "messages_24h": 16,
        "avg_response_time_ms": 712.790_697_674_418_7}});
    assert_eq!(fields(&answer, "agent:sofia"), sofia);
    assert_eq!(ids(&answer), ["agent:idle", "agent:sofia"], "the top list has no figures of its own");
    let idle = json!({"usage": {"llm_calls_24h": 0, "tokens_24h": 0}});
    assert_eq!(fields(&answer, "agent:idle"), idle, "messages of all agents are not counted for one");
}

#[tokio::test]
async fn usage_of_many_agents_is_requested_over_several_polls() {
    let upstream = Upstream::serve(|uri, _| {
        let calls = if uri.contains("agent_id") { 5 } else { 50 };
        let top = json!([{"agent_id": "agent:d", "invocations": 9}, {"agent_id": "b", "invocations": 3}]);
        let summary = json!({"summary": {"llm_calls_total": calls, "llm_tokens_total": 7}, "agents": top});
        std::future::ready(plain(200, summary.to_string()))
    })
    .await;
    let config = AdaptersConfig { usage_agents_per_poll: 2, ..upstream.config(None) };
    let upstreams = Upstreams::new(&config, &Journal::default()).unwrap();
    let agents = ["agent:a", "agent:b", "agent:c", "agent:d", "agent:e"];
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = poll_with(&upstreams, Service::Usage, &agents).await.unwrap();
        seen.push(ids(&answer).join(" "));
    }
    assert_eq!(seen, ["agent:b agent:d", "agent:a agent:c", "agent:d agent:e", "agent:a agent:b"], "the busiest first");
    assert!(upstream.requests().iter().any(|uri| uri.contains("agent_id=b&")), "by the name that the service has");
}

#[tokio::test]
async fn city_adds_fields_and_its_lists_are_complete() {
    let upstream = Upstream::recorded(Service::City).await;
    let answer = poll(Service::City, &upstream.config(None)).await.unwrap();
    assert_eq!(answer.complete, [EntityType::Microdao, EntityType::Node, EntityType::Agent]);
    assert_eq!(ids(&answer), ["agent:sofia", "microdao:7", "node:03", "node:04"]);
    let garden = json!({"name": "Quantum Garden", "members": 7, "humans": 4, "agents": 3, "balance": 12820.0,
        "activity_24h": 0.84});
    assert_eq!(fields(&answer, "microdao:7"), garden);
    let node = json!({"name": "Atlas Engine", "gpu": 0.88, "latency_ms": 19.0, "agents": 11, "status": "warn"});
    assert_eq!(fields(&answer, "node:04"), node);
    let sofia = json!({"name": "Sofia-Prime", "role": "System Architect", "status": "online",
        "last_action": "Summarized DAO events 2m ago"});
    assert_eq!(fields(&answer, "agent:sofia"), sofia);
    let (layer, data) = &answer.layers[0];
    assert_eq!(*layer, Layer::City);
    let metrics = json!({"activity_index": 0.71, "avg_agent_latency_ms": 13.0, "nats_tps": 48200.0,
        "node_avg_load": 0.66, "error_rate": 0.009, "quest_engagement": 0.62});
    assert_eq!(data["metrics"], metrics);
    assert_eq!(data["quests"][1], json!({"id": "q2", "label": "Vote in DAO proposal", "progress": 0.0}));
}

#[tokio::test]
async fn space_has_planets_with_orbits_and_nodes_with_metrics() {
    let upstream = Upstream::recorded(Service::Space).await;
    let answer = poll(Service::Space, &upstream.config(None)).await.unwrap();
    assert_eq!(answer.complete, [EntityType::Dao, EntityType::Node]);
    assert_eq!(ids(&answer), ["dao:3", "node:03"]);
    let planet = json!({"name": "Aurora Circle", "health": "good", "treasury_value": 513_200.0, "activity": 0.84,
        "anomaly_score": 0.04, "position": {"x": 120.0, "y": 40.0, "z": -300.0}, "orbits": ["node:03"]});
    assert_eq!(fields(&answer, "dao:3"), planet);
    let node = json!({"name": "Quantum Relay", "microdao_id": "microdao:7", "status": "healthy", "cpu": 0.44,
        "gpu": 0.72, "ram": 0.35, "temperature": 71.0, "latency_ms": 12.0, "net_in": 540.0, "net_out": 430.0,
        "agents": 14});
    assert_eq!(fields(&answer, "node:03"), node);
}

#[tokio::test]
async fn an_older_space_service_has_both_lists_in_one_response() {
    let planets: Value = serde_json::from_str(&body("space/planets.json")).unwrap();
    let scene = json!({"planets": planets, "nodes": [{"id": "node-9", "name": "Old", "cpu": 0.5, "memory": 0.25}]});
    let upstream = Upstream::serve(move |uri, _| {
        let found = uri == "/api/space/scene";
        std::future::ready(if found { plain(200, scene.to_string()) } else { plain(404, "{}") })
    })
    .await;
    let answer = poll(Service::Space, &upstream.config(None)).await.unwrap();
    assert_eq!(ids(&answer), ["dao:3", "node:03", "node:node-9"]);
    assert_eq!(fields(&answer, "node:node-9"), json!({"name": "Old", "cpu": 0.5, "ram": 0.25}));
    let satellite = json!({"gpu": 0.66, "latency_ms": 14.0, "agents": 22});
    assert_eq!(fields(&answer, "node:03"), satellite, "the node is listed only as a satellite");
}
