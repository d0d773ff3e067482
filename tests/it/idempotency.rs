//! Idempotency: an event counts once over redeliveries, restarts and replicas.

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::support::nats::NatsServer;
use crate::support::postgres;
use crate::support::process::Process;
use crate::support::wait::until;

async fn serve(nats: &NatsServer, database: &str) -> Process {
    let unreachable = "http://127.0.0.1:9";
    Process::serve(&[
        ("DATABASE_URL", database),
        ("NATS_URL", nats.url().as_str()),
        ("AGENTS_SERVICE_URL", unreachable),
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
    let answer = reqwest::get(server.url(path)).await.ok()?;
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn publish(jetstream: &async_nats::jetstream::Context, message_id: &str, body: &Value) {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", message_id);
    let ack = jetstream.publish_with_headers("messaging.message.created", headers, body.to_string().into()).await;
    ack.unwrap().await.unwrap();
}

/// A message in a channel of its own, so that the channel's count shows how often it was applied.
fn message(channel: &str, more: &Value) -> Value {
    let mut body = json!({"event_type": "messaging.message.created", "source": "gateway",
        "payload": {"message_id": "m", "channel_id": channel, "sender_type": "human"}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The message count of each channel on the map, and the number of rows in the history.
async fn counts(server: &Process) -> Option<(Vec<u64>, u64)> {
    let mut counts = Vec::new();
    for channel in ["key", "event", "message", "position"] {
        let channel = get(server, &format!("/living-map/entities/channel:{channel}")).await?;
        counts.push(channel["data"]["messages_24h"].as_u64()?);
    }
    let rows = get(server, "/living-map/history?event_type=messaging.message.created").await?;
    Some((counts, rows["total"].as_u64()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_on_every_replica() {
    let (nats, database) = (NatsServer::start().await, postgres::database().await);
    let (mut one, two) = (serve(&nats, &database).await, serve(&nats, &database).await);
    let jetstream = async_nats::jetstream::new(nats.client().await);
    until("the stream", || async { jetstream.get_stream("LIVING_MAP").await.ok() }).await;
    // weaker identifiers differ in each delivery, so that only the one under test identifies the event
    for round in 0..3 {
        let key =
            message("key", &json!({"idempotency_key": "gateway:m:sent:2026011912", "event_id": format!("e{round}")}));
        publish(&jetstream, &format!("a{round}"), &key).await;
        publish(&jetstream, &format!("b{round}"), &message("event", &json!({"event_id": "e"}))).await;
        // the NATS server drops the duplicate itself
        publish(&jetstream, "c", &message("message", &json!({}))).await;
        if round < 2 {
            let flat = json!({"message_id": "m", "channel_id": "position", "sender_type": "human"});
            let ack = jetstream.publish("messaging.message.created", flat.to_string().into()).await;
            ack.unwrap().await.unwrap();
        }
        if round == 1 {
            one.kill();
            one.restart().await;
        }
    }
    let expected = (vec![1, 1, 1, 2], 5);
    for server in [&one, &two] {
        until("each of them once", || async { counts(server).await.filter(|counts| *counts == expected) }).await;
        let again = json!({"event_type": "messaging.message.created", "idempotency_key": "gateway:m:sent:2026011912",
            "payload": {"channel_id": "key"}});
        let client = reqwest::Client::new();
        client.post(server.url("/living-map/events")).json(&again).send().await.unwrap();
    }
    let duplicates = until("duplicates to be counted", || async {
        let metrics = reqwest::get(two.url("/metrics")).await.ok()?.text().await.ok()?;
        let value = metrics.lines().find_map(|line| line.strip_prefix("living_map_fold_duplicates_total "))?;
        value.parse::<u64>().ok().filter(|count| *count >= 4)
    })
    .await;
    assert!(duplicates <= 6, "{duplicates}: two of each of the first two, and up to two of the posted ones");
    assert_eq!(counts(&two).await, Some(expected));
}
