//! Server-sent events: delivery and resuming.

use std::sync::Arc;
use std::time::Duration;

use living_map::model::{Cursor, EntityType};
use living_map::stream::{HubConfig, StreamConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};

use super::event_source::EventSource;
use super::server::{Options, StreamServer, at};
use crate::support::process::Process;
use crate::support::wait::until;

#[tokio::test]
async fn the_snapshot_comes_first_then_events_with_cursors() {
    let server = StreamServer::start(Options::default()).await;
    server.publish();
    let mut client = server.listen("").await;
    assert_eq!(client.snapshot().await, 1);
    server.publish();
    let received = client.event().await;
    assert_eq!((received.event.as_str(), received.id.as_deref()), ("event", Some("5f.2")));
    assert_eq!(received.data["event_type"], "node.metrics.update");
    assert_eq!(received.data["payload"]["n"], 2);
}

#[tokio::test]
async fn both_transports_send_the_same_json() {
    let server = StreamServer::start(Options::default()).await;
    let (mut by_sse, mut by_socket) = (server.listen("").await, server.connect("").await);
    assert_eq!(by_sse.event().await.data, by_socket.frame().await);
    for _ in 0..3 {
        server.publish();
        assert_eq!(by_sse.event().await.data, by_socket.frame().await);
    }
}

#[tokio::test]
async fn a_cursor_is_resumed_without_a_snapshot() {
    let server = StreamServer::start(Options { event_padding: 20_000, ..Options::default() }).await;
    for _ in 0..50 {
        server.publish();
    }
    assert!(server.listen("cursor=5f.2").await.events(48).await.into_iter().eq(3..=50));
    let mut current = server.listen("cursor=5f.50").await;
    server.publish();
    assert_eq!(current.events(1).await, [51]);
}

#[tokio::test]
async fn without_a_snapshot_the_first_event_is_a_ping() {
    let server = StreamServer::start(Options::default()).await;
    server.publish();
    let mut client = server.listen("snapshot=false").await;
    let first = client.event().await;
    assert_eq!((first.event.as_str(), first.seq()), ("ping", 1));
    server.publish();
    assert_eq!(client.events(1).await, [2]);
}

#[tokio::test]
async fn filters_omit_events_and_pings_advance_the_cursor() {
    let stream = StreamConfig { ping_interval: Duration::from_millis(50), ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let mut by_layer = server.listen("layers=agents").await;
    assert_eq!(by_layer.event().await.data["data"]["layers"], json!(["agents"]));
    let mut by_type = server.listen("types=dao.%3E,agent.event.*&snapshot=false").await;
    let mut by_entity = server.listen("entity=node:b&snapshot=false").await;
    assert_eq!(by_type.event().await.event, "ping");
    assert_eq!(by_entity.event().await.event, "ping");
    server.publish_about("agent.event.created", EntityType::Agent, "agent:a");
    server.publish_about("node.metrics.b", EntityType::Node, "node:b");
    server.publish_about("dao.event.created", EntityType::Dao, "dao:a");
    for _ in 0..500 {
        server.publish();
    }
    for (mut client, expected) in [(by_layer, vec![1]), (by_type, vec![1, 3]), (by_entity, vec![2])] {
        let mut seen = Vec::new();
        loop {
            let received = client.event().await;
            match received.event.as_str() {
                "event" => seen.push(received.seq()),
                "ping" if received.seq() == 503 => break,
                _ => {}
            }
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_client_behind_the_ring_gets_a_snapshot_and_continues() {
    const EVENTS: u64 = 2000;
    let hub = HubConfig { max_frames: 20, ..HubConfig::default() };
    let stream = StreamConfig { resync_interval: Duration::ZERO, ..Options::default().stream };
    let server = StreamServer::start(Options { hub, stream, event_padding: 20_000, ..Options::default() }).await;
    let mut slow = server.listen("").await;
    let mut last = slow.snapshot().await;
    for _ in 0..EVENTS {
        server.publish();
        tokio::task::yield_now().await;
    }
    let (mut snapshots, mut events) = (0, 0);
    while last < EVENTS {
        let received = slow.event().await;
        let seq = received.seq();
        match received.event.as_str() {
            "event" => {
                assert_eq!(seq, last + 1);
                events += 1;
            }
            "snapshot" => {
                assert!(seq > last, "from {last} back to {seq}");
                snapshots += 1;
            }
            _ => panic!("{received:?}"),
        }
        last = seq;
    }
    assert!(snapshots > 0 && events > 0, "{snapshots} snapshots, {events} events");
    server.publish();
    assert_eq!(slow.events(1).await, [EVENTS + 1]);
}

/// Clients of both transports disconnect at random moments of a busy log and resume with their last cursor. Over all
/// its connections, each client gets every event once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resuming_at_random_moments_yields_the_whole_log() {
    const EVENTS: u64 = 3000;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let server = Arc::new(StreamServer::start(Options { event_padding: 300, ..Options::default() }).await);
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let (server, by_sse) = (Arc::clone(&server), number % 2 == 0);
            let mut random = StdRng::seed_from_u64(random.random());
            tokio::spawn(async move {
                let (mut log, mut connections) = (Vec::new(), 0);
                while log.last() != Some(&EVENTS) {
                    let query = format!("cursor={}", at(log.last().copied().unwrap_or(0)));
                    let left = usize::try_from(EVENTS).unwrap() - log.len();
                    let stay = random.random_range(0..=300).min(left);
                    log.extend(if by_sse {
                        server.listen(&query).await.events(stay).await
                    } else {
                        server.connect(&query).await.events(stay).await
                    });
                    connections += 1;
                }
                assert!(
                    log.iter().copied().eq(1..=EVENTS),
                    "by server-sent events: {by_sse}, {connections} connections"
                );
                assert!(connections > 5, "{connections}");
            })
        })
        .collect();
    for seq in 1..=EVENTS {
        server.publish();
        if seq.is_multiple_of(random.random_range(1..50)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    until("all clients to be gone", async || (server.streams.clients() == 0).then_some(())).await;
}

async fn publish(server: &Process, numbers: std::ops::RangeInclusive<u64>) {
    let events: Vec<Value> = numbers
        .map(|n| {
            json!({"event_type": "agent.event.status", "event_id": format!("e{n}"),
                "payload": {"agent_id": "agent:a", "status": "online", "n": n}})
        })
        .collect();
    let url = server.url("/living-map/events");
    let answer = reqwest::Client::new().post(url).json(&events).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn the_server_resumes_or_rejects_cursors_over_http() {
    let server = Process::serve(&[
        ("STREAM_RING_EVENTS", "16"),
        ("STREAM_REPLAY_EVENTS", "20"),
        ("REQUEST_TIMEOUT_SECONDS", "1"),
    ])
    .await;
    let url = server.url("/living-map/events/stream");
    let mut client = until("the map to be complete", async || EventSource::open(&url, None).await.ok()).await;
    for (name, value) in [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(client.head[name], value);
    }
    assert!(!client.head.contains_key(CONTENT_ENCODING));
    assert_eq!(client.event().await.event, "snapshot");
    // longer than the request timeout
    tokio::time::sleep(Duration::from_millis(1500)).await;
    publish(&server, 1..=10).await;
    let (mut first, mut last) = (String::new(), String::new());
    for n in 1..=10 {
        let received = client.event().await;
        assert_eq!((&received.event, &received.data["payload"]["n"]), (&"event".to_owned(), &json!(n)));
        assert_eq!(received.id.as_deref(), received.data["cursor"].as_str());
        last = received.id.unwrap();
        if n == 1 {
            first.clone_from(&last);
        }
    }
    drop(client);

    publish(&server, 11..=15).await;
    let older = format!("{url}?cursor={first}");
    let mut back = EventSource::open(&older, Some(&last)).await.expect("a stream");
    for n in 11..=15 {
        assert_eq!(back.event().await.data["payload"]["n"], n, "the header takes precedence over the query");
    }
    let replayed = until("the replay to be counted", async || {
        let metrics = reqwest::get(server.url("/metrics")).await.ok()?.text().await.ok()?;
        metrics.lines().find_map(|line| Some(line.strip_prefix("sse_replay_events_total ")?.to_owned()))
    });
    assert_eq!(replayed.await, "5");

    publish(&server, 16..=40).await;
    let (epoch, _) = last.split_once('.').unwrap();
    for (header, query, parameter) in [
        (Some(last.clone()), String::new(), "Last-Event-ID"),
        (None, format!("?cursor={last}"), "cursor"),
        (None, format!("?cursor={epoch}.99999"), "cursor"),
        (None, "?cursor=1.1".to_owned(), "cursor"),
    ] {
        let gone = until("the cursor to be out of reach of the ring and of replay", async || {
            EventSource::open(&format!("{url}{query}"), header.as_deref()).await.err()
        });
        let gone = gone.await;
        assert_eq!(gone.status(), 410, "{query}");
        assert_eq!(gone.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: Value = gone.json().await.unwrap();
        assert_eq!(problem["parameter"], parameter, "{problem}");
        let oldest = problem["oldest_cursor"].as_str().expect("the oldest cursor").to_owned();
        assert!(
            EventSource::open(&format!("{url}?cursor={oldest}"), None).await.is_ok(),
            "{oldest} can be resumed from"
        );
    }

    let snapshot: Value = reqwest::get(server.url("/living-map/snapshot")).await.unwrap().json().await.unwrap();
    let newest: Cursor = snapshot["meta"]["cursor"].as_str().unwrap().parse().unwrap();
    let metric = async |wanted: &str| {
        let metrics = reqwest::get(server.url("/metrics")).await.ok()?.text().await.ok()?;
        metrics.contains(wanted).then_some(())
    };
    until("four rejections to be counted", async || metric("\nsse_cursor_410_total 4\n").await).await;
    let socket = |cursor: &str| server.ws_url(&format!("/living-map/stream?cursor={cursor}"));
    let _lost = tokio_tungstenite::connect_async(socket(&last)).await.unwrap();
    until("the resync to be counted", async || metric("\nws_cursor_resync_total 1\n").await).await;
    let near = Cursor { seq: newest.seq - 3, ..newest };
    let _resumed = tokio_tungstenite::connect_async(socket(&near.to_string())).await.unwrap();
    until("the replay to be counted", async || metric("\nws_replay_events_total 3\n").await).await;
    let clients = "living_map_stream_clients{transport=\"websocket\"} 2";
    until("clients by transport", async || metric(clients).await).await;

    for (header, query, parameter) in
        [(Some("invalid"), "", "Last-Event-ID"), (None, "?cursor=invalid", "cursor"), (None, "?layers=moon", "layers")]
    {
        let refused = EventSource::open(&format!("{url}{query}"), header).await.err().expect("no stream");
        assert_eq!(refused.status(), 400);
        assert_eq!(refused.json::<Value>().await.unwrap()["parameter"], parameter);
    }
}

/// As clients that replace `EventSource` spell it, in the address or in the header.
#[tokio::test]
async fn clients_that_replace_event_source_did_not_resume() {
    // more events than the ring holds, fewer than are kept for replay
    let server = Process::serve(&[("STREAM_RING_EVENTS", "16")]).await;
    let url = server.url("/living-map/events/stream");
    until("the map to be complete", async || EventSource::open(&url, None).await.ok()).await;
    publish(&server, 1..=40).await;
    let numbers = async |client: &mut EventSource, count: usize| {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let received = client.event().await;
            assert_ne!(received.event, "snapshot");
            numbers.extend(received.data["payload"]["n"].as_u64());
        }
        numbers
    };
    let all: Vec<u64> = (1..=40).collect();
    let mut by_header = EventSource::open(&url, Some("earliest")).await.ok().unwrap();
    assert_eq!(numbers(&mut by_header, 40).await, all);
    for name in ["lastEventId", "lastEventID", "Last-Event-ID"] {
        let mut client = EventSource::open(&format!("{url}?{name}=earliest"), None).await.ok().unwrap();
        let mut ids = Vec::new();
        while ids.len() < 40 {
            let received = client.event().await;
            if received.event == "event" && received.data["payload"]["n"].is_u64() {
                ids.push(received.id.unwrap());
            }
        }
        let at = format!("{url}?lastEventID=earliest&{name}={}", ids[29]);
        let mut resumed = EventSource::open(&at.replace("lastEventID=earliest&lastEventID", "lastEventID"), None).await;
        assert_eq!(numbers(resumed.as_mut().ok().unwrap(), 10).await, all[30..], "{name}");
        let mut by_header = EventSource::open(&format!("{url}?{name}=earliest"), Some(&ids[38])).await;
        assert_eq!(numbers(by_header.as_mut().ok().unwrap(), 1).await, [40], "the header takes precedence");
    }
    let socket = server.ws_url("/living-map/stream?lastEventID=earliest&types=agent.event.status");
    let (mut socket, _) = tokio_tungstenite::connect_async(socket).await.unwrap();
    let first = futures::StreamExt::next(&mut socket).await.unwrap().unwrap();
    let frame: Value = serde_json::from_str(first.to_text().unwrap()).unwrap();
    assert_eq!((&frame["kind"], &frame["payload"]["n"]), (&json!("event"), &json!(1)), "{frame}");
}
