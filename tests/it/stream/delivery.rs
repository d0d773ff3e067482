//! What clients are given: everything, once, in order, or a snapshot.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use living_map::model::{Cursor, EntityType, Epoch};
use living_map::stream::{HubConfig, StreamConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Barrier;

use super::world::{Client, EPOCH, Options, World, at, seq_of};
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn the_snapshot_comes_first_then_the_events() {
    let world = World::start(Options::default()).await;
    world.publish();
    let mut client = world.connect("").await;
    assert_eq!(client.snapshot().await, 1);
    world.publish();
    let frame = client.frame().await;
    assert_eq!(frame["kind"], "event");
    assert_eq!(frame["cursor"], "5f.2");
    assert_eq!(frame["event_type"], "node.metrics.update");
    assert_eq!(frame["payload"]["n"], 2);
    for field in ["timestamp", "id", "entity_id", "entity_type", "changes"] {
        assert!(frame.get(field).is_some(), "{field} is missing: {frame}");
    }
}

/// Clients come at random moments of a busy log, some with a cursor, and get snapshots that are older than the ring's
/// end. Whoever it is, the events after its snapshot or cursor are exactly those that were published.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_gap_and_no_duplicate_whenever_a_client_comes() {
    const EVENTS: u64 = 3000;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let options = Options { snapshot_every: 37, snapshot_padding: 100_000, event_padding: 300, ..Options::default() };
    let world = Arc::new(World::start(options).await);
    let clients: Vec<_> = (0..60)
        .map(|_| {
            let world = Arc::clone(&world);
            let (wait, resume, pause) =
                (random.random_range(0..EVENTS), random.random_bool(0.3), random.random_bool(0.2));
            tokio::spawn(async move {
                let mut head = world.hub.subscribe();
                head.wait_for(|head| head.seq >= wait).await.unwrap();
                let mut client =
                    if resume { world.connect(&format!("cursor={}", at(wait))).await } else { world.connect("").await };
                let mut last = if resume { wait } else { client.snapshot().await };
                while last < EVENTS {
                    if pause {
                        tokio::task::yield_now().await;
                    }
                    let seq = client.events(1).await[0];
                    assert_eq!(seq, last + 1, "a client that came at {wait}, resuming: {resume}");
                    last = seq;
                }
            })
        })
        .collect();
    for seq in 1..=EVENTS {
        world.publish();
        if seq.is_multiple_of(random.random_range(1..50)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_cursor_is_continued_without_a_snapshot() {
    let world = World::start(Options::default()).await;
    for _ in 0..5 {
        world.publish();
    }
    assert_eq!(world.connect("cursor=5f.2").await.events(3).await, [3, 4, 5]);
    assert_eq!(world.connect("cursor=5f.0").await.events(5).await, [1, 2, 3, 4, 5]);
    let mut current = world.connect("cursor=5f.5").await;
    world.publish();
    assert_eq!(current.events(1).await, [6]);
}

#[tokio::test]
async fn a_cursor_that_cannot_be_continued_is_answered_with_a_snapshot() {
    let hub = HubConfig { max_frames: 3, ..HubConfig::default() };
    let world = World::start(Options { hub, ..Options::default() }).await;
    for _ in 0..9 {
        world.publish();
    }
    for (what, cursor) in [("too old", "5f.5"), ("of the future", "5f.10"), ("of another log", "60.8")] {
        for more in ["", "&snapshot=false"] {
            let mut client = world.connect(&format!("cursor={cursor}{more}")).await;
            assert_eq!(client.snapshot().await, 9, "{what}");
        }
    }
}

#[tokio::test]
async fn without_a_snapshot_the_stream_says_where_it_begins() {
    let world = World::start(Options::default()).await;
    world.publish();
    let mut client = world.connect("snapshot=false").await;
    let frame = client.frame().await;
    assert_eq!((frame["kind"].as_str(), seq_of(&frame["cursor"])), (Some("ping"), 1));
    world.publish();
    assert_eq!(client.events(1).await, [2]);
}

#[tokio::test]
async fn filters_leave_out_events_and_pings_keep_the_cursor_fresh() {
    let stream = StreamConfig {
        ping_interval: Duration::from_millis(50),
        tick: Duration::from_millis(10),
        ..Options::default().stream
    };
    let world = World::start(Options { stream, ..Options::default() }).await;
    let mut by_layer = world.connect("layers=agents").await;
    let snapshot = by_layer.frame().await;
    assert_eq!(snapshot["data"]["layers"], serde_json::json!(["agents"]));
    let mut by_type = world.connect("types=dao.%3E,agent.event.*&snapshot=false").await;
    let mut by_entity = world.connect("entity=node:b&snapshot=false").await;
    assert_eq!(by_type.frame().await["kind"], "ping");
    assert_eq!(by_entity.frame().await["kind"], "ping");
    world.publish_about("agent.event.created", EntityType::Agent, "agent:a");
    world.publish_about("node.metrics.b", EntityType::Node, "node:b");
    world.publish_about("dao.event.created", EntityType::Dao, "dao:a");
    for _ in 0..500 {
        world.publish();
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
async fn a_client_that_falls_out_of_the_ring_gets_a_snapshot_and_goes_on() {
    const EVENTS: u64 = 5000;
    let hub = HubConfig { max_frames: 20, ..HubConfig::default() };
    let stream = StreamConfig { resync_interval: Duration::ZERO, ..Options::default().stream };
    let options = Options { hub, stream, event_padding: 4000, ..Options::default() };
    let world = World::start(options).await;
    let mut slow = world.connect("").await;
    let mut last = slow.snapshot().await;
    for _ in 0..EVENTS {
        world.publish();
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
    world.publish();
    assert_eq!(slow.events(1).await, [EVENTS + 1]);
}

#[tokio::test]
async fn another_log_begins_with_a_snapshot() {
    let world = World::start(Options::default()).await;
    let mut client = world.connect("").await;
    assert_eq!(client.snapshot().await, 0);
    world.publish();
    assert_eq!(client.events(1).await, [1]);
    // The map is rebuilt: the ring is of the other log first, then the snapshots are of the ring's.
    world.hub.reset(Cursor { epoch: Epoch(0x60), seq: 0 });
    world.hub.reset(Cursor { epoch: EPOCH, seq: 1 });
    world.hub.reset(Cursor { epoch: EPOCH, seq: 7 });
    assert_eq!(client.snapshot().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_that_come_at_once_all_get_their_snapshot() {
    const CLIENTS: usize = 300;
    let world = Arc::new(World::start(Options { snapshot_padding: 350_000, ..Options::default() }).await);
    world.publish();
    let served = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (world, served) = (Arc::clone(&world), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = world.connect("").await;
                assert_eq!(client.snapshot().await, 1);
                served.wait().await;
                assert_eq!(client.events(1).await, [2]);
            })
        })
        .collect();
    tokio::time::timeout(PATIENCE, served.wait()).await.expect("all should have their snapshot");
    assert_eq!(world.streams.clients(), CLIENTS);
    world.publish();
    for client in clients {
        client.await.unwrap();
    }
    until("all gone", async || (world.streams.clients() == 0).then_some(())).await;
}

/// Behind TLS, or whatever else the HTTP server may run on, there is no bare socket to be had.
#[tokio::test]
async fn any_byte_stream_will_do() {
    const EVENTS: usize = 300;
    let world = World::start(Options { event_padding: 300, snapshot_padding: 5000, ..Options::default() }).await;
    let (near, far) = tokio::io::duplex(1000);
    let service = TowerToHyperService::new(world.app.clone());
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(serving.with_upgrades().into_future());
    let (socket, _) = tokio_tungstenite::client_async("ws://localhost/stream", near).await.unwrap();
    let mut client = Client { socket };
    assert_eq!(client.snapshot().await, 0);
    for _ in 0..EVENTS {
        world.publish();
    }
    assert!(client.events(EVENTS).await.into_iter().eq(1..=EVENTS as u64));
}
