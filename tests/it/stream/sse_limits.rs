//! Server-sent events: heartbeats, slow and too many clients, and the shutdown.

use std::time::Duration;

use living_map::stream::StreamConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::server::{Options, StreamServer};
use crate::support::process::Process;
use crate::support::wait::until;

#[tokio::test]
async fn an_idle_stream_gets_heartbeat_comments() {
    let stream = StreamConfig { heartbeat_interval: Duration::from_millis(20), ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let mut client = server.listen("").await;
    assert_eq!(client.snapshot().await, 0);
    for _ in 0..3 {
        assert!(client.next().await.expect("a comment").is_comment());
    }
    server.publish();
    assert_eq!(client.events(1).await, [1]);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_delays_no_other() {
    const EVENTS: usize = 1000;
    let stream = StreamConfig {
        stall_timeout: Duration::from_millis(200),
        min_bytes_per_second: usize::MAX,
        ..Options::default().stream
    };
    let server = StreamServer::start(Options { stream, event_padding: 20_000, ..Options::default() }).await;
    let mut reading = server.listen("").await;
    reading.snapshot().await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"GET /events?snapshot=false HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until("both clients", async || (server.streams.clients() == 2).then_some(())).await;
    let reader = tokio::spawn(async move {
        assert!(reading.events(EVENTS).await.into_iter().eq(1..=EVENTS as u64));
        reading
    });
    for _ in 0..EVENTS {
        server.publish();
        tokio::task::yield_now().await;
    }
    let _reading = reader.await.unwrap();
    until("the slow client to be closed", async || (server.streams.clients() == 1).then_some(())).await;
}

#[tokio::test]
async fn both_transports_share_the_slots() {
    let stream = StreamConfig { max_clients: 2, ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let mut by_sse = server.listen("").await;
    by_sse.snapshot().await;
    let mut by_socket = server.connect("").await;
    by_socket.snapshot().await;
    let refused = reqwest::get(format!("http://{}/events", server.address)).await.unwrap();
    assert_eq!(refused.status(), 503);
    let (_, head) = server.connect_raw("").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    drop(by_sse);
    until("a free slot", async || (server.streams.clients() == 1).then_some(())).await;
    server.listen("").await.snapshot().await;
}

#[tokio::test]
async fn a_full_server_answers_503_with_retry_after() {
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
async fn at_a_shutdown_clients_get_a_reconnect_event() {
    let server = StreamServer::start(Options::default()).await;
    let mut all = server.listen("").await;
    all.snapshot().await;
    let mut filtered = server.listen("types=dao.%3E&snapshot=false").await;
    assert_eq!(filtered.event().await.event, "ping");
    server.publish();
    assert_eq!(all.events(1).await, [1]);
    server.shutdown.cancel();
    for mut client in [all, filtered] {
        let reconnect = client.event().await;
        assert_eq!((reconnect.event.as_str(), reconnect.id.as_deref()), ("reconnect", Some("5f.1")));
        assert_eq!(reconnect.data["after_ms"].as_u64(), reconnect.retry);
        assert!(reconnect.retry.is_some_and(|after_ms| after_ms <= 5000), "{reconnect:?}");
        assert!(client.next().await.is_none(), "an event follows the reconnect event");
    }
    server.streams.closed().await;
    assert_eq!(server.streams.clients(), 0);
}

/// The shutdown waits for a client that does not read no longer than the close timeout.
#[tokio::test]
async fn a_stuck_client_does_not_delay_the_shutdown() {
    let stream = StreamConfig { close_timeout: Duration::from_millis(100), ..Options::default().stream };
    let server = StreamServer::start(Options { stream, event_padding: 20_000, ..Options::default() }).await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(b"GET /events?snapshot=false HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until("the client to be counted", async || (server.streams.clients() == 1).then_some(())).await;
    for _ in 0..2000 {
        server.publish();
    }
    server.shutdown.cancel();
    until("it to be dropped", async || (server.streams.clients() == 0).then_some(())).await;
    server.streams.closed().await;
}
