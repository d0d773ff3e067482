//! REST API of a running server.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::process::Process;
use crate::support::wait::until;

struct Api {
    server: Process,
    client: Client,
}

impl Api {
    async fn start() -> Self {
        // no automatic decompression: the tests check the bytes on the wire
        let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { server: Process::serve(&[]).await, client }
    }

    fn request(&self, path: &str) -> RequestBuilder {
        self.client.get(self.server.url(path))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(path).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        answer.json().await.unwrap()
    }

    async fn post(&self, events: &Value) -> Value {
        let answer = self.client.post(self.server.url("/living-map/events")).json(events).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    async fn problem(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{status}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], status.as_u16());
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        (status, problem)
    }

    /// Publishes a small network and waits until the map shows it.
    async fn with_network() -> Self {
        let api = Self::start().await;
        let mut events = vec![
            json!({"event_type": "microdao.event.created", "event_id": "m",
                "payload": {"microdao_id": "microdao:7", "slug": "energy", "name": "Energy Union"}}),
            json!({"event_type": "dao.event.created", "event_id": "d",
                "payload": {"dao_id": "710f", "slug": "aurora", "name": "Aurora", "microdao_id": "microdao:7"}}),
            json!({"event_type": "node.metrics.update", "event_id": "n", "payload": {"node_id": "node:03", "cpu": 0.5}}),
        ];
        events.extend((0..25).map(|n| {
            json!({"event_type": "agent.event.created", "event_id": format!("a{n}"),
                "payload": {"agent_id": format!("agent:a{n:02}"), "name": format!("Agent {n}"), "microdao_id": "microdao:7"}})
        }));
        let answer = api.post(&Value::Array(events)).await;
        for result in answer["results"].as_array().unwrap() {
            assert_eq!(result["status"], "accepted", "{result}");
        }
        until("the map to show the network", || async {
            (api.get("/living-map/entities/agent:a24").await.status() == 200).then_some(())
        })
        .await;
        api
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn root_health_and_readiness_respond_without_data() {
    let api = Api::start().await;
    let root = api.json("/").await;
    assert_eq!(root["service"], "living-map-service");
    for field in ["version", "phase"] {
        assert!(root[field].is_string(), "{root}");
    }
    for name in ["health", "snapshot", "entities", "history"] {
        let path = root["endpoints"][name].as_str().unwrap();
        assert_eq!(api.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(root["endpoints"]["stream"], "/living-map/stream");
    let health = api.json("/living-map/health").await;
    assert_eq!((&health["status"], &health["service"]), (&json!("ok"), &json!("living-map-service")));
    let ready = until("the server to be ready", || async {
        let ready: Value = api.get("/living-map/ready").await.json().await.ok()?;
        (ready["checks"]["map"]["following"] == "current").then_some(ready)
    })
    .await;
    assert_eq!(ready["checks"]["history"]["status"], "ok", "{ready}");
    assert_eq!(ready["checks"]["log"]["status"], "ok", "{ready}");
    assert_eq!(ready["checks"]["sources"].as_array().map(Vec::len), Some(6), "{ready}");
}

#[tokio::test]
async fn the_page_the_explorer_and_the_metrics_are_served() {
    let api = Api::start().await;
    let page = api.request("/").header("accept", "text/html").send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(api.json("/openapi.json").await["openapi"], "3.1.0");
    assert!(api.get("/docs").await.text().await.unwrap().contains("swagger"));
    until("the metrics to count requests", || async {
        let metrics = api.get("/metrics").await.text().await.ok()?;
        let counted = r#"living_map_http_requests_total{route="/openapi.json",method="GET",status_class="2xx"} 1"#;
        metrics.lines().any(|line| line == counted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_is_negotiated_and_validated() {
    let api = Api::with_network().await;
    let path = "/living-map/snapshot";
    // snapshots are built at intervals: wait for one with all entities
    let plain = until("the snapshot to show every agent", || async {
        let snapshot: Value = api.get(path).await.json().await.ok()?;
        (snapshot["layers"]["agents"]["total_agents"] == 25).then_some(snapshot)
    })
    .await;
    for layer in ["city", "space", "nodes", "agents"] {
        assert!(plain["layers"][layer].is_object(), "{layer}");
    }
    assert_eq!(plain["meta"]["version"], "1.0");

    let mut tags = Vec::new();
    for (accepted, expected) in [("identity", None), ("gzip", Some("gzip")), ("gzip;q=0.5, zstd", Some("zstd"))] {
        let answer = api.request(path).header("accept-encoding", accepted).send().await.unwrap();
        let coding = answer.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(coding.as_deref(), expected);
        assert_eq!(answer.headers()["vary"], "Accept-Encoding");
        let (etag, cursor) = (answer.headers()["etag"].clone(), answer.headers()["x-living-map-cursor"].clone());
        let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len(), length);
        let text = match expected {
            Some("gzip") => {
                let mut text = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text).unwrap();
                text
            }
            Some(_) => zstd::decode_all(&bytes[..]).unwrap(),
            None => bytes.to_vec(),
        };
        let snapshot: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(snapshot["meta"]["cursor"], cursor.to_str().unwrap());
        let again =
            api.request(path).header("accept-encoding", accepted).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!(again.status(), 304, "{accepted}");
        assert_eq!(again.headers()["etag"], etag);
        let head = api.client.head(api.server.url(path)).header("accept-encoding", accepted).send().await.unwrap();
        assert_eq!(head.headers()["content-length"].to_str().unwrap(), length.to_string());
        tags.push(etag);
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "each encoding has its own etag");

    let some = api.json("/living-map/snapshot?layers=agents").await;
    assert!(some["layers"]["agents"].is_object() && some["layers"]["city"].is_null());
    let (status, _) = api.problem(api.request(path).header("accept-encoding", "identity;q=0")).await;
    assert_eq!(status, 406);
    assert_eq!(api.get("/living-map/snapshot?fresh=true").await.status(), 200);
}

#[tokio::test]
async fn entities_are_found_by_alias_and_listed_in_pages() {
    let api = Api::with_network().await;
    let mut seen = Vec::new();
    let mut path = "/living-map/entities?type=agent&limit=10".to_owned();
    loop {
        let page = api.json(&path).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/living-map/entities?type=agent&limit=10&cursor={cursor}");
    }
    let expected: Vec<String> = (0..25).map(|n| format!("agent:a{n:02}")).collect();
    assert_eq!(seen, expected);

    for (query, expected) in [
        ("layer=space", vec!["dao:aurora", "node:03"]),
        ("type=node", vec!["node:03"]),
        ("q=ENERGY", vec!["microdao:7"]),
        ("type=agent&microdao_id=energy&limit=1", vec!["agent:a00"]),
        ("q=nothing-like-it", vec![]),
    ] {
        assert_eq!(ids(&api.json(&format!("/living-map/entities?{query}")).await), expected, "{query}");
    }
    let item = &api.json("/living-map/entities?type=dao").await["items"][0];
    for field in ["id", "type", "label", "status", "layer"] {
        assert!(item[field].is_string(), "{item}");
    }
    for name in ["dao:aurora", "dao%3Aaurora", "aurora", "710f", "dao:710f"] {
        let dao = api.json(&format!("/living-map/entities/{name}")).await;
        assert_eq!((&dao["id"], &dao["data"]["name"]), (&json!("dao:aurora"), &json!("Aurora")), "{name}");
    }
    let relations = api.json("/living-map/entities/aurora/relations").await;
    assert_eq!(relations["id"], "dao:aurora");
    assert!(relations["relations"].as_array().unwrap().iter().any(|relation| relation["id"] == "microdao:7"));
    for path in ["/living-map/entities/agent:unknown", "/living-map/entities/agent:unknown/relations"] {
        let (status, problem) = api.problem(api.request(path)).await;
        assert_eq!((status.as_u16(), &problem["parameter"]), (404, &json!("id")));
    }
}

#[tokio::test]
async fn published_events_are_in_the_history_once() {
    let api = Api::with_network().await;
    let again = api
        .post(&json!([
            {"event_type": "agent.event.created", "event_id": "a1", "payload": {"agent_id": "agent:a01"}},
            {"event_type": "agent.event.*"},
        ]))
        .await;
    assert_eq!(again["results"][0]["status"], "duplicate");
    assert_eq!(again["results"][1]["status"], "rejected");

    let all = until("all events to be recorded", || async {
        let page = api.json("/living-map/history?limit=1000&event_type=%3E").await;
        let ours =
            page["items"].as_array()?.iter().filter(|item| item["event_type"] != "living_map.initialized").count();
        (ours >= 28).then_some(page)
    })
    .await;
    let item = &all["items"][0];
    for field in ["id", "timestamp", "event_type", "payload", "source_service", "entity_id", "entity_type", "cursor"] {
        assert!(item.get(field).is_some(), "{field}: {item}");
    }
    let times: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|item| item["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first");

    let agents = "event_type=agent.event.*&source_service=agents&entity_type=agent";
    let mut seen = Vec::new();
    let mut path = format!("/living-map/history?{agents}&limit=7");
    loop {
        let page = api.json(&path).await;
        assert_eq!(page["total"], 25);
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/living-map/history?{agents}&limit=7&cursor={cursor}");
    }
    assert_eq!(seen.len(), 25);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25, "no event twice");

    let skipped = api.json(&format!("/living-map/history?{agents}&offset=20")).await;
    assert_eq!((ids(&skipped).len(), &skipped["has_more"]), (5, &json!(false)));
    for name in ["dao:aurora", "aurora", "710f"] {
        assert_eq!(ids(&api.json(&format!("/living-map/history?entity_id={name}")).await).len(), 1, "{name}");
    }
    let after = all["items"][3]["cursor"].as_str().unwrap();
    let page = api.json(&format!("/living-map/history?event_type=%3E&limit=1&cursor={after}")).await;
    assert_eq!(page["items"][0], all["items"][4], "the cursor of an event continues after it");
    assert_eq!(ids(&api.json("/living-map/history?since=2099-01-01T00:00:00%2B02:00").await).len(), 0);
}

#[tokio::test]
async fn accepted_events_survive_a_kill() {
    let mut api = Api::with_network().await;
    api.server.kill();
    api.server.restart().await;
    until("the map to be back", || async {
        (api.get("/living-map/entities/agent:a24").await.status() == 200).then_some(())
    })
    .await;
    let again = api
        .post(&json!({"event_type": "agent.event.created", "event_id": "a1", "payload": {"agent_id": "agent:a01"}}))
        .await;
    assert_eq!(again["results"][0]["status"], "duplicate");
}

#[tokio::test]
async fn invalid_input_is_rejected_and_not_stored() {
    let api = Api::start().await;
    let events = || api.client.post(api.server.url("/living-map/events")).header("content-type", "application/json");
    let deep = format!(r#"{{"event_type":"a.b","payload":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    for (body, expected) in [
        (b"{\"event_type\":".to_vec(), 400),
        (b"\xff\xfe".to_vec(), 400),
        (deep.into_bytes(), 400),
        (vec![b'['; 500_000], 400),
        (vec![b' '; 5_000_000], 413),
        (format!("[{}]", vec!["1"; 1_001].join(",")).into_bytes(), 413),
        (b"[]".to_vec(), 400),
        (b"[1,null,\"x\"]".to_vec(), 422),
        (b"{\"event_type\":\"living_map.sync.city\"}".to_vec(), 422),
    ] {
        let (status, problem) = api.problem(events().body(body)).await;
        assert_eq!(status, expected, "{problem}");
    }
    for query in [
        "entities?limit=-1",
        "entities?q=%ff",
        "entities?type=x",
        "history?since=x",
        "history?limit=1e9",
        "history?cursor=%00",
        "history?offset=999999999",
        "snapshot?layers=,x",
        "entities/%ff",
        "stream?layers=x",
    ] {
        let (status, problem) = api.problem(api.request(&format!("/living-map/{query}"))).await;
        assert!(status.is_client_error(), "{query}: {problem}");
    }
    let (status, _) = api.problem(api.client.delete(api.server.url("/living-map/snapshot"))).await;
    assert_eq!(status, 405);
    let recorded = api.json("/living-map/history?event_type=a.b").await;
    assert_eq!(recorded["total"], 0);
    assert!(!api.server.output().contains("panicked"), "{}", api.server.output());
}

#[tokio::test]
async fn a_huge_chunked_body_receives_413() {
    let api = Api::start().await;
    let address = api.server.url("").trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /living-map/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..64 {
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
