//! Server-sent events: signs of life, slow and too many clients, and the shutdown.

use std::time::Duration;

use living_map::stream::StreamConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::world::{Options, World};
use crate::support::process::Process;
use crate::support::wait::until;

#[tokio::test]
async fn an_idle_stream_carries_comments() {
    let stream = StreamConfig { heartbeat_interval: Duration::from_millis(20), ..Options::default().stream };
    let world = World::start(Options { stream, ..Options::default() }).await;
    let mut client = world.listen("").await;
    assert_eq!(client.snapshot().await, 0);
    for _ in 0..3 {
        assert!(client.next().await.expect("a comment").is_comment());
    }
    world.publish();
    assert_eq!(client.events(1).await, [1]);
}

#[tokio::test]
async fn one_that_takes_nothing_is_closed_and_costs_the_others_nothing() {
    const EVENTS: usize = 1000;
    let stream = StreamConfig {
        stall_timeout: Duration::from_millis(200),
        min_bytes_per_second: usize::MAX,
        ..Options::default().stream
    };
    let world = World::start(Options { stream, event_padding: 20_000, ..Options::default() }).await;
    let mut awake = world.listen("").await;
    awake.snapshot().await;
    let mut asleep = TcpStream::connect(world.address).await.unwrap();
    asleep.write_all(b"GET /events?snapshot=false HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until("both", async || (world.streams.clients() == 2).then_some(())).await;
    let reader = tokio::spawn(async move {
        assert!(awake.events(EVENTS).await.into_iter().eq(1..=EVENTS as u64));
        awake
    });
    for _ in 0..EVENTS {
        world.publish();
        tokio::task::yield_now().await;
    }
    let _awake = reader.await.unwrap();
    until("the slow client's end", async || (world.streams.clients() == 1).then_some(())).await;
}

#[tokio::test]
async fn both_transports_share_the_places() {
    let stream = StreamConfig { max_clients: 2, ..Options::default().stream };
    let world = World::start(Options { stream, ..Options::default() }).await;
    let mut by_sse = world.listen("").await;
    by_sse.snapshot().await;
    let mut by_socket = world.connect("").await;
    by_socket.snapshot().await;
    let refused = reqwest::get(format!("http://{}/events", world.address)).await.unwrap();
    assert_eq!(refused.status(), 503);
    let (_, head) = world.connect_raw("").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    drop(by_sse);
    until("a place", async || (world.streams.clients() == 1).then_some(())).await;
    world.listen("").await.snapshot().await;
}

#[tokio::test]
async fn a_full_server_says_when_to_come_back() {
    let server = Process::serve(&[("STREAM_MAX_CLIENTS", "1")]).await;
    let url = server.url("/living-map/events/stream");
    let _only = until("the map to be complete", async || {
        let answer = reqwest::get(&url).await.ok()?;
        (answer.status() == 200).then_some(answer)
    })
    .await;
    let refused = reqwest::get(&url).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn at_a_shutdown_clients_are_told_when_and_where_to_come_back() {
    let world = World::start(Options::default()).await;
    let mut all = world.listen("").await;
    all.snapshot().await;
    let mut filtered = world.listen("types=dao.%3E&snapshot=false").await;
    assert_eq!(filtered.event().await.event, "ping");
    world.publish();
    assert_eq!(all.events(1).await, [1]);
    world.shutdown.cancel();
    for mut client in [all, filtered] {
        let goodbye = client.event().await;
        assert_eq!((goodbye.event.as_str(), goodbye.id.as_deref()), ("reconnect", Some("5f.1")));
        assert_eq!(goodbye.data["after_ms"].as_u64(), goodbye.retry);
        assert!(goodbye.retry.is_some_and(|after_ms| after_ms <= 5000), "{goodbye:?}");
        assert!(client.next().await.is_none(), "there is more behind a goodbye");
    }
    world.streams.closed().await;
    assert_eq!(world.streams.clients(), 0);
}

/// The shutdown waits for a client that takes nothing only as long as for an answer to a close.
#[tokio::test]
async fn a_stuck_client_does_not_hold_up_the_shutdown() {
    let stream = StreamConfig { close_timeout: Duration::from_millis(100), ..Options::default().stream };
    let world = World::start(Options { stream, event_padding: 20_000, ..Options::default() }).await;
    let mut asleep = TcpStream::connect(world.address).await.unwrap();
    asleep.write_all(b"GET /events?snapshot=false HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until("the client", async || (world.streams.clients() == 1).then_some(())).await;
    for _ in 0..2000 {
        world.publish();
    }
    world.shutdown.cancel();
    until("its end", async || (world.streams.clients() == 0).then_some(())).await;
    world.streams.closed().await;
}
