//! Slow, silent and too many clients, and the shutdown.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use living_map::stream::{SnapshotSource, StreamConfig};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use super::world::{Options, World};
use crate::support::wait::{PATIENCE, until};

fn impatient() -> StreamConfig {
    StreamConfig {
        stall_timeout: Duration::from_millis(200),
        min_bytes_per_second: usize::MAX,
        pong_timeout: Duration::from_millis(100),
        close_timeout: Duration::from_millis(50),
        tick: Duration::from_millis(10),
        ..Options::default().stream
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_costs_the_others_nothing() {
    const EVENTS: usize = 1000;
    // Long enough for the client to find the close frame, however slow the machine is.
    let stream = StreamConfig { close_timeout: PATIENCE, ..impatient() };
    let options = Options { stream, event_padding: 20_000, ..Options::default() };
    let world = Arc::new(World::start(options).await);
    let mut asleep = world.connect("").await;
    let mut awake = world.connect("").await;
    asleep.snapshot().await;
    awake.snapshot().await;
    let reader = tokio::spawn(async move {
        assert!(awake.events(EVENTS).await.into_iter().eq(1..=EVENTS as u64));
        awake
    });
    for _ in 0..EVENTS {
        world.publish();
        tokio::task::yield_now().await;
    }
    let _awake = reader.await.unwrap();
    // The close frame waits behind what fills the socket; the client finds it when it reads on.
    assert_eq!(asleep.close_code().await, 4008);
    until("the slow client's end", async || (world.streams.clients() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped() {
    let world = World::start(Options { stream: impatient(), event_padding: 20_000, ..Options::default() }).await;
    let _asleep = world.connect("snapshot=false").await;
    until("the client", async || (world.streams.clients() == 1).then_some(())).await;
    until("its end", async || {
        for _ in 0..100 {
            world.publish();
        }
        (world.streams.clients() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let stream = StreamConfig { ping_interval: Duration::from_millis(50), ..impatient() };
    let world = World::start(Options { stream, ..Options::default() }).await;
    // Answers pings by itself, as browsers do.
    let mut alive = world.connect("").await;
    alive.snapshot().await;
    let (mut silent, _) = world.connect_raw("").await;
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut bytes));
    let kept = async {
        let mut pings = 0;
        while pings < 20 {
            pings += usize::from(alive.frame().await["kind"] == "ping");
        }
    };
    let (end, ()) = tokio::join!(reading, kept);
    end.expect("the server should have given up").unwrap();
    assert!(bytes.windows(2).any(|pair| pair == [0x89, 0]), "no protocol ping");
    let close = bytes.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] < 126).expect("a close frame");
    assert_eq!(bytes[close + 2..close + 4], 4012_u16.to_be_bytes());
}

#[tokio::test]
async fn one_client_too_many_is_told_when_to_come_back() {
    let stream = StreamConfig { max_clients: 1, ..Options::default().stream };
    let world = World::start(Options { stream, ..Options::default() }).await;
    let first = world.connect("").await;
    let (_, head) = world.connect_raw("").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 5\r\n"), "{head}");
    drop(first);
    until("the first one's place", async || (world.streams.clients() == 0).then_some(())).await;
    let (_, head) = world.connect_raw("").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}

#[tokio::test]
async fn before_a_shutdown_clients_are_told_to_come_back() {
    let world = World::start(Options::default()).await;
    let mut client = world.connect("").await;
    client.snapshot().await;
    world.shutdown.cancel();
    let frame = client.frame().await;
    assert_eq!(frame["kind"], "reconnect");
    assert!(frame["after_ms"].as_u64().is_some_and(|after| after <= 5000), "{frame}");
    assert_eq!(client.close_code().await, 1012);
    drop(client);
    tokio::time::timeout(PATIENCE, world.streams.closed()).await.expect("all clients are gone");
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_goodbye_does_not_hold_up_the_shutdown() {
    let world = World::start(Options { stream: impatient(), ..Options::default() }).await;
    let (_silent, _) = world.connect_raw("").await;
    world.shutdown.cancel();
    tokio::time::timeout(PATIENCE, world.streams.closed()).await.expect("all clients are gone");
}

#[tokio::test]
async fn a_snapshot_that_fails_closes_those_who_wait_for_it() {
    let source: SnapshotSource = Arc::new(|_| async { panic!("no snapshot today") }.boxed());
    let world = World::start_with(Options::default(), source, Arc::default()).await;
    let mut client = world.connect("").await;
    assert_eq!(client.close_code().await, 1011);
    // The shard lives on.
    let mut other = world.connect("snapshot=false").await;
    assert!(matches!(other.message().await, Some(Message::Text(_))));
    world.publish();
    assert_eq!(other.events(1).await, [1]);
}
