//! `CloudEvents` over HTTP, as brokers and functions send them.

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::wait::until;

struct Sink {
    server: Process,
    client: Client,
}

impl Sink {
    async fn start() -> Self {
        Self { server: Process::serve(&[]).await, client: Client::new() }
    }

    /// Status and body of the answer to a request with these headers.
    async fn send(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Value) {
        let mut request = self.client.post(self.server.url("/living-map/events")).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Events of a type, once there are `count`.
    async fn events(&self, event_type: &str, count: usize) -> Vec<Value> {
        until("events in the history", || async {
            let url = self.server.url(&format!("/living-map/history?event_type={event_type}"));
            let list: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
            list["items"].as_array().filter(|items| items.len() >= count).cloned()
        })
        .await
    }
}

fn event(id: &str, kind: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/gateway", "type": kind, "time": "2026-01-19T12:00:00Z",
        "partitionkey": "7", "data": {"agent_id": "agent:sofia", "status": "online"}})
}

const STRUCTURED: [(&str, &str); 1] = [("content-type", "application/cloudevents+json; charset=utf-8")];
const BATCH: [(&str, &str); 1] = [("content-type", "application/cloudevents-batch+json")];

#[tokio::test]
async fn the_three_content_modes_store_the_same_event_once() {
    let sink = Sink::start().await;
    let kind = "agent.event.status";
    let (status, structured) = sink.send(&STRUCTURED, event("e 1", kind).to_string()).await;
    assert_eq!((status, &structured["results"][0]["status"]), (200, &json!("accepted")), "{structured}");
    let batch = json!([event("e 1", kind), event("e 2", kind), event("e 2", kind)]);
    let (status, batched) = sink.send(&BATCH, batch.to_string()).await;
    let statuses: Vec<_> = (0..3).map(|index| batched["results"][index]["status"].as_str().unwrap()).collect();
    assert_eq!((status, statuses), (200, vec!["duplicate", "accepted", "duplicate"]), "{batched}");
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e%201"),
        ("ce-source", "/gateway"),
        ("ce-type", kind),
        ("ce-time", "2026-01-19T12:00:00Z"),
        ("ce-partitionkey", "7"),
    ];
    let body = r#"{"agent_id": "agent:sofia", "status": "online"}"#;
    let (status, again) = sink.send(&binary, body).await;
    assert_eq!((status, &again["results"][0]["status"]), (200, &json!("duplicate")), "{again}");
    assert_eq!(again["results"][0]["id"], structured["results"][0]["id"]);
    let stored = sink.events(kind, 2).await;
    assert_eq!(stored.len(), 2);
    for event in &stored {
        assert_eq!(event["source_service"], "/gateway", "{event}");
        assert_eq!(event["entity_id"], "agent:sofia", "{event}");
        assert_eq!(event["payload"]["status"], "online", "{event}");
        assert_eq!(event["timestamp"], "2026-01-19T12:00:00Z", "{event}");
    }
}

#[tokio::test]
async fn binary_bodies_are_read_by_their_type() {
    let sink = Sink::start().await;
    let payload = async |kind: &str, content_type: Option<&str>, body: &'static [u8]| {
        let id = uuid::Uuid::new_v4().to_string();
        let mut headers = vec![("ce-specversion", "1.0"), ("ce-id", &id), ("ce-source", "s"), ("ce-type", kind)];
        headers.extend(content_type.map(|kind| ("content-type", kind)));
        let (status, answer) = sink.send(&headers, body).await;
        assert_eq!(status, 200, "{content_type:?}: {answer}");
        sink.events(kind, 1).await[0]["payload"].clone()
    };
    assert_eq!(payload("agent.event.a_json", Some("application/vnd.a+json"), b"{\"a\": 1}").await, json!({"a": 1}));
    assert_eq!(payload("agent.event.a_text", Some("text/plain"), "ї".as_bytes()).await, json!("ї"));
    assert_eq!(payload("agent.event.untyped", None, b"[1]").await, json!([1]));
    assert_eq!(payload("agent.event.bytes", Some("application/octet-stream"), b"\xff\x00").await, Value::Null);
    assert_eq!(payload("agent.event.empty", Some("application/json"), b"").await, Value::Null);
    let mut encoded = event("b", "agent.event.base64");
    encoded["data"].take();
    encoded["data_base64"] = json!("eyJhIjogMX0=");
    assert_eq!(sink.send(&STRUCTURED, encoded.to_string()).await.0, 200);
    assert_eq!(sink.events("agent.event.base64", 1).await[0]["payload"], json!({"a": 1}));
}

#[tokio::test]
async fn a_rejected_cloud_event_names_the_attribute() {
    let sink = Sink::start().await;
    for (attribute, value) in
        [("specversion", json!("0.2")), ("id", Value::Null), ("type", json!("a b")), ("type", json!("living_map.x"))]
    {
        let mut invalid = event("e", "agent.event.x");
        invalid[attribute] = value;
        let (status, problem) = sink.send(&STRUCTURED, invalid.to_string()).await;
        assert_eq!((status, problem["field"].as_str()), (422, Some(attribute)), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{attribute}: ")) || detail.contains("reserved"), "{problem}");
        let (status, answer) = sink.send(&BATCH, json!([invalid, event("ok", "agent.event.x")]).to_string()).await;
        assert_eq!((status, answer["results"][0]["field"].as_str()), (200, Some(attribute)), "{answer}");
    }
    let headers = [("ce-specversion", "1.0"), ("ce-source", "s"), ("ce-type", "agent.event.x")];
    let (status, problem) = sink.send(&headers, "").await;
    assert_eq!((status, problem["field"].as_str()), (422, Some("id")), "{problem}");
    let headers = [("ce-id", "%ff"), ("ce-type", "agent.event.x")];
    let (status, problem) = sink.send(&headers, "").await;
    assert_eq!((status, problem["parameter"].as_str()), (400, Some("ce-id")), "{problem}");
    for (headers, body) in [(STRUCTURED, "[]"), (BATCH, "{}"), (BATCH, "[]"), (STRUCTURED, "{")] {
        let (status, problem) = sink.send(&headers, body).await;
        assert_eq!((status, problem["field"].as_str()), (400, Some("body")), "{body}: {problem}");
    }
    let (status, problem) = sink.send(&[("content-type", "application/cloudevents+avro")], "x").await;
    assert_eq!((status, problem["parameter"].as_str()), (415, Some("Content-Type")), "{problem}");
    // without a media type of CloudEvents they are recognized, too
    let (status, answer) =
        sink.send(&[("content-type", "application/json")], event("e", "agent.event.x").to_string()).await;
    assert_eq!(status, 200, "{answer}");
}
