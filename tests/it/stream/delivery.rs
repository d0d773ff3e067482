//! Delivery over WebSocket: every event, once, in order, or a snapshot.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use living_map::model::{Cursor, EntityType, Epoch};
use living_map::stream::{HubConfig, StreamConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Barrier;

use super::server::{Client, EPOCH, Options, StreamServer, at, seq_of};
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn the_snapshot_comes_first_then_the_events() {
    let server = StreamServer::start(Options::default()).await;
    server.publish();
    let mut client = server.connect("").await;
    assert_eq!(client.snapshot().await, 1);
    server.publish();
    let frame = client.frame().await;
    assert_eq!(frame["kind"], "event");
    assert_eq!(frame["cursor"], "5f.2");
    assert_eq!(frame["event_type"], "node.metrics.update");
    assert_eq!(frame["payload"]["n"], 2);
    for field in ["timestamp", "id", "entity_id", "entity_type", "changes"] {
        assert!(frame.get(field).is_some(), "{field} is missing: {frame}");
    }
}

/// Clients connect at random moments of a busy log, some with a cursor, and get snapshots that are older than the head
/// of the ring. Each client gets exactly the events that were published after its snapshot or cursor.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_gap_and_no_duplicate_whenever_a_client_connects() {
    const EVENTS: u64 = 3000;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let options = Options { snapshot_every: 37, snapshot_padding: 100_000, event_padding: 300, ..Options::default() };
    let server = Arc::new(StreamServer::start(options).await);
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let server = Arc::clone(&server);
            let (wait, resume, pause) =
                (random.random_range(0..EVENTS), random.random_bool(0.3), random.random_bool(0.2));
            tokio::spawn(async move {
                let mut head = server.hub.subscribe();
                head.wait_for(|head| head.seq >= wait).await.unwrap();
                let mut client = if resume {
                    server.connect(&format!("cursor={}", at(wait))).await
                } else {
                    server.connect("").await
                };
                let mut last = if resume { wait } else { client.snapshot().await };
                while last < EVENTS {
                    if pause {
                        tokio::task::yield_now().await;
                    }
                    let seq = client.events(1).await[0];
                    assert_eq!(seq, last + 1, "a client that connected at {wait}, resuming: {resume}");
                    last = seq;
                }
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
}

#[tokio::test]
async fn a_cursor_is_resumed_without_a_snapshot() {
    let server = StreamServer::start(Options::default()).await;
    for _ in 0..5 {
        server.publish();
    }
    assert_eq!(server.connect("cursor=5f.2").await.events(3).await, [3, 4, 5]);
    assert_eq!(server.connect("cursor=5f.0").await.events(5).await, [1, 2, 3, 4, 5]);
    let mut current = server.connect("cursor=5f.5").await;
    server.publish();
    assert_eq!(current.events(1).await, [6]);
}

#[tokio::test]
async fn an_invalid_or_evicted_cursor_gets_a_snapshot() {
    let hub = HubConfig { max_frames: 3, ..HubConfig::default() };
    let server = StreamServer::start(Options { hub, ..Options::default() }).await;
    for _ in 0..9 {
        server.publish();
    }
    for (case, cursor) in [("too old", "5f.5"), ("of the future", "5f.10"), ("of another log", "60.8")] {
        for more in ["", "&snapshot=false"] {
            let mut client = server.connect(&format!("cursor={cursor}{more}")).await;
            assert_eq!(client.snapshot().await, 9, "{case}");
        }
    }
}

#[tokio::test]
async fn without_a_snapshot_the_first_frame_is_a_ping() {
    let server = StreamServer::start(Options::default()).await;
    server.publish();
    let mut client = server.connect("snapshot=false").await;
    let frame = client.frame().await;
    assert_eq!((frame["kind"].as_str(), seq_of(&frame["cursor"])), (Some("ping"), 1));
    server.publish();
    assert_eq!(client.events(1).await, [2]);
}

#[tokio::test]
async fn filters_omit_events_and_pings_advance_the_cursor() {
    let stream = StreamConfig {
        ping_interval: Duration::from_millis(50),
        tick: Duration::from_millis(10),
        ..Options::default().stream
    };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let mut by_layer = server.connect("layers=agents").await;
    let snapshot = by_layer.frame().await;
    assert_eq!(snapshot["data"]["layers"], serde_json::json!(["agents"]));
    let mut by_type = server.connect("types=dao.%3E,agent.event.*&snapshot=false").await;
    let mut by_entity = server.connect("entity=node:b&snapshot=false").await;
    assert_eq!(by_type.frame().await["kind"], "ping");
    assert_eq!(by_entity.frame().await["kind"], "ping");
    server.publish_about("agent.event.created", EntityType::Agent, "agent:a");
    server.publish_about("node.metrics.b", EntityType::Node, "node:b");
    server.publish_about("dao.event.created", EntityType::Dao, "dao:a");
    for _ in 0..500 {
        server.publish();
    }
    for (mut client, expected) in [(by_layer, vec![1]), (by_type, vec![1, 3]), (by_entity, vec![2])] {
        let mut seen = Vec::new();
        loop {
            let frame = client.frame().await;
            match frame["kind"].as_str() {
                Some("event") => seen.push(seq_of(&frame["cursor"])),
                Some("ping") if seq_of(&frame["cursor"]) == 503 => break,
                _ => {}
            }
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_client_behind_the_ring_gets_a_snapshot_and_continues() {
    const EVENTS: u64 = 5000;
    let hub = HubConfig { max_frames: 20, ..HubConfig::default() };
    let stream = StreamConfig { resync_interval: Duration::ZERO, ..Options::default().stream };
    let options = Options { hub, stream, event_padding: 4000, ..Options::default() };
    let server = StreamServer::start(options).await;
    let mut slow = server.connect("").await;
    let mut last = slow.snapshot().await;
    for _ in 0..EVENTS {
        server.publish();
        tokio::task::yield_now().await;
    }
    let (mut snapshots, mut events) = (0, 0);
    while last < EVENTS {
        let frame = slow.frame().await;
        match frame["kind"].as_str() {
            Some("event") => {
                let seq = seq_of(&frame["cursor"]);
                assert_eq!(seq, last + 1);
                last = seq;
                events += 1;
            }
            Some("snapshot") => {
                let seq = seq_of(&frame["data"]["meta"]["cursor"]);
                assert!(seq > last, "from {last} back to {seq}");
                last = seq;
                snapshots += 1;
            }
            _ => panic!("{frame}"),
        }
    }
    assert!(snapshots > 0 && events > 0, "{snapshots} snapshots, {events} events");
    server.publish();
    assert_eq!(slow.events(1).await, [EVENTS + 1]);
}

#[tokio::test]
async fn a_new_log_begins_with_a_snapshot() {
    let server = StreamServer::start(Options::default()).await;
    let mut client = server.connect("").await;
    assert_eq!(client.snapshot().await, 0);
    server.publish();
    assert_eq!(client.events(1).await, [1]);
    // The map is rebuilt: first the ring has another epoch than the snapshots, then the same.
    server.hub.reset(Cursor { epoch: Epoch(0x60), seq: 0 });
    server.hub.reset(Cursor { epoch: EPOCH, seq: 1 });
    server.hub.reset(Cursor { epoch: EPOCH, seq: 7 });
    assert_eq!(client.snapshot().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_that_connect_at_once_all_get_a_snapshot() {
    const CLIENTS: usize = 300;
    let server = Arc::new(StreamServer::start(Options { snapshot_padding: 350_000, ..Options::default() }).await);
    server.publish();
    let served = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (server, served) = (Arc::clone(&server), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = server.connect("").await;
                assert_eq!(client.snapshot().await, 1);
                served.wait().await;
                assert_eq!(client.events(1).await, [2]);
            })
        })
        .collect();
    tokio::time::timeout(PATIENCE, served.wait()).await.expect("all clients should have their snapshot");
    assert_eq!(server.streams.clients(), CLIENTS);
    server.publish();
    for client in clients {
        client.await.unwrap();
    }
    until("all clients to be gone", async || (server.streams.clients() == 0).then_some(())).await;
}

/// With TLS, or another transport below HTTP, the stream has no bare socket.
#[tokio::test]
async fn any_byte_stream_can_carry_a_websocket() {
    const EVENTS: usize = 300;
    let server =
        StreamServer::start(Options { event_padding: 300, snapshot_padding: 5000, ..Options::default() }).await;
    let (near, far) = tokio::io::duplex(1000);
    let service = TowerToHyperService::new(server.app.clone());
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(serving.with_upgrades().into_future());
    let (socket, _) = tokio_tungstenite::client_async("ws://localhost/stream", near).await.unwrap();
    let mut client = Client { socket };
    assert_eq!(client.snapshot().await, 0);
    for _ in 0..EVENTS {
        server.publish();
    }
    assert!(client.events(EVENTS).await.into_iter().eq(1..=EVENTS as u64));
}
