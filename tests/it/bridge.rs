//! Subjects recorded by subscription (`BRIDGE_SUBJECTS`), with real processes.

use std::collections::BTreeMap;

use async_nats::jetstream::{self, stream};
use serde_json::Value;

use crate::faults::environment;
use crate::support::nats::NatsServer;
use crate::support::postgres::Postgres;
use crate::support::process::Process;
use crate::support::wait::until;
use crate::work_queues::{checks, create, messages};

/// How often each number is in the history, among the events of these types.
async fn numbers(server: &Process, event_type: &str) -> Option<BTreeMap<u64, usize>> {
    let url = server.url(&format!("/living-map/history?event_type={event_type}&limit=1000"));
    let page: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
    let mut numbers = BTreeMap::new();
    for number in page["items"].as_array()?.iter().filter_map(|item| item["payload"]["n"].as_u64()) {
        *numbers.entry(number).or_default() += 1;
    }
    Some(numbers)
}

async fn all_recorded(server: &Process, event_type: &str, range: std::ops::Range<u64>) {
    until("all numbers to be in the history", || async {
        let numbers = numbers(server, event_type).await?;
        range.clone().all(|n| numbers.contains_key(&n)).then_some(())
    })
    .await;
}

async fn publish(client: &async_nats::Client, subject: &str, range: std::ops::Range<u64>) {
    for n in range {
        client.publish(subject.to_owned(), format!("{{\"n\":{n}}}").into()).await.unwrap();
    }
    client.flush().await.unwrap();
}

async fn subscribed(server: &Process) -> Option<Value> {
    let bridge = checks(server).await?["bridge"].clone();
    (bridge["status"] == "ok").then_some(bridge)
}

async fn scrape(server: &Process) -> String {
    reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap()
}

/// Messages are lost while no server subscribes, and none is recorded twice.
#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_records_once_when_the_leader_is_killed() {
    let (nats, postgres) = (NatsServer::start().await, Postgres::start().await);
    let client = nats.client().await;
    let jetstream = jetstream::new(client.clone());
    create(&jetstream, "STREAM_RAG", &["rag.>"], stream::RetentionPolicy::WorkQueue).await;
    let (nats_url, database_url) = (nats.url(), postgres.url());
    let settings = [
        ("NATS_URL", nats_url.as_str()),
        ("DATABASE_URL", &database_url),
        ("LEASE_SECONDS", "2"),
        ("EXTRA_SUBJECTS", "network"),
        ("BRIDGE_SUBJECTS", "rag.>"),
    ];
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Process::serve(&environment(&settings)).await);
    }
    let leader = until("one server to subscribe", || async {
        match (subscribed(&servers[0]).await, subscribed(&servers[1]).await) {
            (Some(_), None) => Some(0),
            (None, Some(_)) => Some(1),
            _ => None,
        }
    })
    .await;
    let report = checks(&servers[1 - leader]).await.unwrap();
    assert_eq!(report["bridge"]["status"], "waiting", "{report}");
    assert_eq!(report["bridge"]["subjects"][0]["delivery"], "at_most_once", "{report}");
    publish(&client, "rag.document.ingested", 0..200).await;
    all_recorded(&servers[1 - leader], "rag.document.ingested", 0..200).await;

    publish(&client, "rag.document.ingested", 200..250).await;
    servers[leader].kill();
    publish(&client, "rag.document.ingested", 250..300).await;
    let next = &servers[1 - leader];
    until("the other server to subscribe", || subscribed(next)).await;
    publish(&client, "rag.document.ingested", 300..400).await;
    all_recorded(next, "rag.document.ingested", 300..400).await;
    servers[leader].restart().await;
    publish(&client, "rag.document.ingested", 400..500).await;
    all_recorded(&servers[leader], "rag.document.ingested", 400..500).await;
    let found = numbers(&servers[leader], "rag.document.ingested").await.unwrap();
    println!("{} of 500 recorded", found.len());
    assert!(found.values().all(|count| *count == 1), "recorded twice: {found:?}");
    assert_eq!(messages(&jetstream, "STREAM_RAG").await, 500, "the jobs are there for the workers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_republishing_stream_gives_messages_their_position() {
    let nats = NatsServer::start().await;
    let client = nats.client().await;
    let jetstream = jetstream::new(client.clone());
    let config = stream::Config {
        name: "STREAM_RAG".to_owned(),
        subjects: vec!["rag.>".to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        republish: Some(stream::Republish {
            source: "rag.>".to_owned(),
            destination: "copy.rag.>".to_owned(),
            headers_only: false,
        }),
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let url = nats.url();
    let settings = [("NATS_URL", url.as_str()), ("BRIDGE_SUBJECTS", "rag.>")];
    let server = Process::serve(&environment(&settings)).await;
    let bridge = until("the server to subscribe", || subscribed(&server)).await;
    let expected = serde_json::json!([{"subject": "copy.rag.>", "stream": "STREAM_RAG"}]);
    assert_eq!(bridge["subscriptions"], expected);
    publish(&client, "rag.document.parsed", 0..100).await;
    all_recorded(&server, "rag.document.parsed", 0..100).await;
    // a publisher that repeats a message, which the stream recognises
    for _ in 0..3 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", "same");
        headers.insert("Nats-Expected-Stream", "STREAM_RAG");
        client.publish_with_headers("rag.document.parsed", headers, "{\"n\":100}".into()).await.unwrap();
    }
    publish(&client, "rag.document.parsed", 101..102).await;
    all_recorded(&server, "rag.document.parsed", 100..102).await;
    let found = numbers(&server, "rag.document.parsed").await.unwrap();
    assert!(found.len() == 102 && found.values().all(|count| *count == 1), "{found:?}");
    let log = jetstream.get_stream("LIVING_MAP").await.unwrap();
    let stored = log.get_last_raw_message_by_subject("living_map.bridged.rag.document.parsed").await.unwrap();
    let id = stored.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned();
    assert!(id.starts_with("bridge:STREAM_RAG:102:"), "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bridge_buffer_drops_and_says_so() {
    let nats = NatsServer::start().await;
    let client = nats.client().await;
    let url = nats.url();
    let settings = [("NATS_URL", url.as_str()), ("BRIDGE_SUBJECTS", "jobs.>"), ("BRIDGE_BUFFER_BYTES", "2048")];
    let server = Process::serve(&environment(&settings)).await;
    until("the server to subscribe", || subscribed(&server)).await;
    publish(&client, "jobs.new", 0..1000).await;
    let bridge = until("every message to be appended or dropped", || async {
        let bridge = subscribed(&server).await?;
        let dropped = usize::try_from(bridge["dropped"].as_u64()?).ok()?;
        (dropped + numbers(&server, "jobs.new").await?.len() == 1000).then_some(bridge)
    })
    .await;
    let dropped = bridge["dropped"].as_u64().unwrap();
    assert!(dropped > 0, "{bridge}");
    let scrape = scrape(&server).await;
    for line in [
        format!("living_map_bridge_messages_total{{outcome=\"dropped\"}} {dropped}"),
        format!("living_map_limits_refused_total{{limit=\"bridge_buffer\"}} {dropped}"),
    ] {
        assert!(scrape.lines().any(|known| known == line), "{line} is not in\n{scrape}");
    }
}

/// Otherwise it would be recorded twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_the_log_records_is_not_bridged() {
    let nats = NatsServer::start().await;
    let client = nats.client().await;
    let url = nats.url();
    let settings = [("NATS_URL", url.as_str()), ("BRIDGE_SUBJECTS", "city.event.>,city.*.x,living_map.>,message.>")];
    let server = Process::serve(&environment(&settings)).await;
    until("the server to subscribe", || subscribed(&server)).await;
    for subject in ["city.event.x", "message.received.sofia", "city.other.x"] {
        publish(&client, subject, 0..20).await;
        all_recorded(&server, subject, 0..20).await;
    }
    until("the bridge to skip what the log records", || async {
        let scrape = scrape(&server).await;
        let line =
            scrape.lines().find(|line| line.contains("living_map_bridge_messages_total{outcome=\"skipped\"}"))?;
        (line.rsplit(' ').next()?.parse::<u64>().ok()? >= 40).then_some(())
    })
    .await;
    for subject in ["city.event.x", "message.received.sofia", "city.other.x"] {
        let found = numbers(&server, subject).await.unwrap();
        assert!(found.values().all(|count| *count == 1), "{subject}: {found:?}");
    }
}
