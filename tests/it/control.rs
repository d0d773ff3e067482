//! What the network tells this server: control events, reports of health and of errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::adapters::upstream::Upstream;
use crate::support::process::Process;
use crate::support::wait::until;

/// An agents service whose one agent's model can be changed.
async fn agents(model: &Arc<AtomicUsize>) -> Upstream {
    let model = Arc::clone(model);
    Upstream::serve(move |uri, _| {
        let agent = json!([{"id": "afd7", "external_id": "agent:sofia", "name": "Sofia",
            "model": format!("model-{}", model.load(Ordering::SeqCst))}]);
        let body = if uri.contains("is_active=false") { json!([]) } else { agent };
        async move { axum::Json(body).into_response() as Response }
    })
    .await
}

/// A server that polls at its start and then when it is told to.
async fn serve(agents: &Upstream) -> Process {
    let nowhere = "http://127.0.0.1:9";
    Process::serve(&[
        ("AGENTS_SERVICE_URL", agents.url.as_str()),
        ("MICRODAO_SERVICE_URL", nowhere),
        ("DAO_SERVICE_URL", nowhere),
        ("USAGE_ENGINE_URL", nowhere),
        ("CITY_SERVICE_URL", nowhere),
        ("SPACE_SERVICE_URL", nowhere),
        ("SYNC_INTERVAL_SECONDS", "3600"),
    ])
    .await
}

async fn get(server: &Process, path: &str) -> Option<Value> {
    let answer = reqwest::get(server.url(path)).await.unwrap();
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn publish(server: &Process, events: &Value) {
    let answer = reqwest::Client::new().post(server.url("/living-map/events")).json(events).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

async fn shows(server: &Process, model: usize) {
    until(&format!("model-{model} to be on the map"), || async {
        let agent = get(server, "/living-map/entities/agent:sofia").await?;
        (agent["data"]["model"] == format!("model-{model}")).then_some(())
    })
    .await;
}

async fn source(server: &Process, service: &str) -> Value {
    let snapshot = until("a snapshot", || get(server, "/living-map/snapshot")).await;
    let sources = snapshot["meta"]["sources"].as_array().unwrap();
    sources.iter().find(|source| source["service"] == service).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn control_events_bring_the_upstreams_new_answer_to_the_map() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    for (number, subject) in
        ["prompt.updated.agent:sofia", "policy.updated.agent:sofia", "config.updated.agents", "config.updated.other"]
            .into_iter()
            .enumerate()
    {
        model.store(number + 1, Ordering::SeqCst);
        publish(&server, &json!({"event_type": subject, "payload": {}})).await;
        shows(&server, number + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_control_events_is_no_flood_of_polls() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    let began = std::time::Instant::now();
    let before = upstream.requests().len();
    for _ in 0..20 {
        let events: Vec<Value> =
            (0..500).map(|n| json!({"event_type": format!("config.updated.k{n}"), "payload": {}})).collect();
        publish(&server, &json!(events)).await;
    }
    model.store(7, Ordering::SeqCst);
    publish(&server, &json!({"event_type": "prompt.updated.agent:sofia", "payload": {}})).await;
    shows(&server, 7).await;
    let polls = (upstream.requests().len() - before) / 2;
    // one in each half second, and those at both ends
    let bound = usize::try_from(began.elapsed().as_millis() / 500).unwrap() + 3;
    assert!(polls <= bound, "{polls} polls, at most {bound} expected, for 10,000 events");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reported_down_is_marked_until_it_answers_a_poll_again() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    assert_eq!(source(&server, "agents").await["status"], "ok");
    let report = |status: &str| json!({"event_type": "ops.health.agents-service", "payload": {"status": status, "message": "no disk"}});
    publish(&server, &report("degraded")).await;
    publish(&server, &report("down")).await;
    let marked = until("the mark", || async {
        let source = source(&server, "agents").await;
        (source["status"] == "stale").then_some(source)
    })
    .await;
    assert!(marked["last_error"].as_str().unwrap().contains("no disk"), "{marked}");
    publish(&server, &report("healthy")).await;
    until("the poll", || async { (source(&server, "agents").await["status"] == "ok").then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_other_services_are_in_the_journal() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    publish(
        &server,
        &json!([
            {"event_type": "audit.error.router", "payload": {"operation": "invoke", "error": "no route", "key": "agent:x"}},
            {"event_type": "audit.error.router", "payload": [1, 2]},
            {"event_type": "audit.error.router.dlq", "payload": {"error": "given up"}},
            {"event_type": "audit.action.router", "payload": {"error": "not one"}},
        ]),
    )
    .await;
    let items = until("two entries", || async {
        let errors = get(&server, "/living-map/errors?target=router").await?;
        let items = errors["items"].as_array()?.clone();
        (items.len() == 2).then_some(items)
    })
    .await;
    assert_eq!(
        (&items[0]["op"], &items[0]["error"], &items[0]["key"]),
        (&json!("invoke"), &json!("no route"), &json!("agent:x"))
    );
    assert_eq!(items[1]["error"], "[1,2]");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_the_network_are_raised_shown_and_cleared() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    let mut events = reqwest::get(server.url("/living-map/events/stream?types=ops.%3E&snapshot=false")).await.unwrap();
    publish(
        &server,
        &json!({"event_type": "ops.alert.critical", "source": "node-exporter",
            "payload": {"alert_id": "disk-full", "title": "disk full", "node_id": "node:a"}}),
    )
    .await;
    let mut text = String::new();
    while !text.contains("event: alert") || !text.ends_with("\n\n") {
        text.push_str(std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
    }
    let frame = text.split("event: alert").nth(1).unwrap();
    let data = frame.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let frame: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&frame["kind"], &frame["state"], &frame["alert"]["id"]),
        (&json!("alert"), &json!("raised"), &json!("disk-full"))
    );
    let alerts = get(&server, "/living-map/alerts").await.unwrap();
    assert_eq!(
        (&alerts["items"][0]["severity"], &alerts["items"][0]["source"]),
        (&json!("critical"), &json!("node-exporter"))
    );
    until("the snapshot to show it", || async {
        let snapshot = get(&server, "/living-map/snapshot").await?;
        (snapshot["layers"]["city"]["alerts"][0] == alerts["items"][0]).then_some(())
    })
    .await;
    publish(
        &server,
        &json!({"event_type": "ops.alert.critical", "payload": {"alert_id": "disk-full", "status": "resolved"}}),
    )
    .await;
    until("it to be over", || async {
        let alerts = get(&server, "/living-map/alerts").await?;
        alerts["items"].as_array()?.is_empty().then_some(())
    })
    .await;
}
