//! Control events: changed configuration, health reports, reported errors, alerts of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::adapters::upstream::Upstream;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

/// An agents service with one agent, whose model can be changed.
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

/// A server that polls at its start and then only on request.
async fn serve(agents: &Upstream) -> Process {
    let unreachable = "http://127.0.0.1:9";
    Process::serve(&[
        ("AGENTS_SERVICE_URL", agents.url.as_str()),
        ("MICRODAO_SERVICE_URL", unreachable),
        ("DAO_SERVICE_URL", unreachable),
        ("USAGE_ENGINE_URL", unreachable),
        ("CITY_SERVICE_URL", unreachable),
        ("SPACE_SERVICE_URL", unreachable),
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
async fn control_events_poll_the_upstream_again() {
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
async fn clients_get_a_control_events_change_within_a_second() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(server.ws_url("/living-map/stream?snapshot=false")).await.unwrap();
    let mut took = Vec::new();
    // all but the first arrive within the minimum gap of half a second after a poll
    for number in 1..=8 {
        model.store(number, Ordering::SeqCst);
        let started = std::time::Instant::now();
        publish(&server, &json!({"event_type": "prompt.updated.agent:sofia", "payload": {}})).await;
        let changed = format!("\"model\":\"model-{number}\"");
        let seen = async {
            while let Some(Ok(message)) = socket.next().await {
                if message.to_text().is_ok_and(|text| text.contains(&changed)) {
                    return;
                }
            }
            panic!("the stream ended");
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("the change arrives in time");
        took.push(started.elapsed());
    }
    // the median, so that a short stall of a busy machine is not a failure
    took.sort_unstable();
    assert!(took[took.len() / 2] < std::time::Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_control_events_causes_few_polls() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    let started = std::time::Instant::now();
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
    // one per half second, and one more at each end
    let bound = usize::try_from(started.elapsed().as_millis() / 500).unwrap() + 3;
    assert!(polls <= bound, "{polls} polls, at most {bound} expected, for 10,000 events");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reported_down_is_stale_until_its_next_good_poll() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    assert_eq!(source(&server, "agents").await["status"], "ok");
    let report = |status: &str| json!({"event_type": "ops.health.agents-service", "payload": {"status": status, "message": "no disk"}});
    publish(&server, &report("degraded")).await;
    publish(&server, &report("down")).await;
    let stale = until("the stale status", || async {
        let source = source(&server, "agents").await;
        (source["status"] == "stale").then_some(source)
    })
    .await;
    assert!(stale["last_error"].as_str().unwrap().contains("no disk"), "{stale}");
    publish(&server, &report("healthy")).await;
    until("the poll", || async { (source(&server, "agents").await["status"] == "ok").then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_reported_by_services_are_in_the_error_journal() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let server = serve(&upstream).await;
    shows(&server, 0).await;
    publish(
        &server,
        &json!([
            {"event_type": "audit.error.router", "payload": {"operation": "invoke", "error": "no route", "key": "agent:x"}},
            {"event_type": "audit.error.router", "payload": [1, 2]},
            {"event_type": "audit.error.router.dlq", "payload": {"error": "dead"}},
            {"event_type": "audit.action.router", "payload": {"error": "not an error event"}},
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
    until("the snapshot to show the alert", || async {
        let snapshot = get(&server, "/living-map/snapshot").await?;
        (snapshot["layers"]["city"]["alerts"][0] == alerts["items"][0]).then_some(())
    })
    .await;
    publish(
        &server,
        &json!({"event_type": "ops.alert.critical", "payload": {"alert_id": "disk-full", "status": "resolved"}}),
    )
    .await;
    until("the alert to be cleared", || async {
        let alerts = get(&server, "/living-map/alerts").await?;
        alerts["items"].as_array()?.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_and_silences_survive_a_kill() {
    let model = Arc::new(AtomicUsize::new(0));
    let upstream = agents(&model).await;
    let mut server = serve(&upstream).await;
    shows(&server, 0).await;
    let raise = json!({"event_type": "ops.alert.critical", "payload": {"alert_id": "disk:a", "title": "disk full"}});
    publish(&server, &raise).await;
    until("the alert", || async { get(&server, "/living-map/alerts").await?["items"][0]["id"].as_str().map(|_| ()) })
        .await;
    let client = reqwest::Client::new();
    let post = async |server: &Process, path: &str, body: Value| {
        let answer = client.post(server.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, alert) =
        post(&server, "/living-map/alerts/disk%3Aa/acknowledge", json!({"by": "olena", "note": "on it"})).await;
    assert_eq!((status, &alert["acknowledged_by"], &alert["note"]), (200, &json!("olena"), &json!("on it")), "{alert}");
    assert_eq!(post(&server, "/living-map/alerts/none/acknowledge", json!({})).await.0, 404);
    assert_eq!(post(&server, "/living-map/alerts/disk:a/acknowledge", json!({"note": 7})).await.0, 422);

    let silences = "/living-map/alerts/silences";
    assert_eq!(post(&server, silences, json!({"minutes": 5})).await.0, 422, "it names no alert");
    assert_eq!(post(&server, silences, json!({"alert": "disk:a", "minutes": 0})).await.0, 422);
    let (status, silence) = post(&server, silences, json!({"alert": "disk:a", "minutes": 5, "note": "moving"})).await;
    assert_eq!((status, &silence["alert"], &silence["note"]), (201, &json!("disk:a"), &json!("moving")), "{silence}");
    assert_eq!(get(&server, silences).await.unwrap()["items"], json!([silence]));
    server.restart().await;
    let shown = until("the map", || get(&server, "/living-map/alerts")).await["items"][0].clone();
    assert_eq!((&shown["acknowledged_by"], &shown["silenced_until"]), (&json!("olena"), &silence["until"]), "{shown}");

    let end = server.url(&format!("{silences}/{}", silence["id"].as_str().unwrap()));
    assert_eq!(client.delete(&end).send().await.unwrap().status(), 204);
    assert_eq!(client.delete(&end).send().await.unwrap().status(), 404);
    let shown = get(&server, "/living-map/alerts").await.unwrap();
    assert_eq!(shown["items"][0]["silenced_until"], Value::Null, "{shown}");
}
