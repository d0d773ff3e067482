//! WebSocket: slow, silent and too many clients, and the shutdown.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use living_map::stream::{SnapshotSource, StreamConfig};
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

use super::server::{Options, StreamServer};
use crate::support::wait::{PATIENCE, until};

fn short_timeouts() -> StreamConfig {
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
async fn a_client_that_does_not_read_is_closed_and_delays_no_other() {
    const EVENTS: usize = 1000;
    // long enough for the client to read the close frame on a slow machine
    let stream = StreamConfig { close_timeout: PATIENCE, ..short_timeouts() };
    let options = Options { stream, event_padding: 20_000, ..Options::default() };
    let server = Arc::new(StreamServer::start(options).await);
    let mut stalled = server.connect("").await;
    let mut reading = server.connect("").await;
    stalled.snapshot().await;
    reading.snapshot().await;
    let reader = tokio::spawn(async move {
        assert!(reading.events(EVENTS).await.into_iter().eq(1..=EVENTS as u64));
        reading
    });
    for _ in 0..EVENTS {
        server.publish();
        tokio::task::yield_now().await;
    }
    let _reading = reader.await.unwrap();
    // the close frame follows the data that fills the socket
    assert_eq!(stalled.close_code().await, 4008);
    until("the slow client to be closed", async || (server.streams.clients() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped() {
    let server =
        StreamServer::start(Options { stream: short_timeouts(), event_padding: 20_000, ..Options::default() }).await;
    let _stalled = server.connect("snapshot=false").await;
    until("the client to be counted", async || (server.streams.clients() == 1).then_some(())).await;
    until("it to be dropped", async || {
        for _ in 0..100 {
            server.publish();
        }
        (server.streams.clients() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_closed() {
    let stream = StreamConfig { ping_interval: Duration::from_millis(50), ..short_timeouts() };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    // the library answers pings by itself, as browsers do
    let mut alive = server.connect("").await;
    alive.snapshot().await;
    let (mut silent, _) = server.connect_raw("").await;
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut bytes));
    let pinged = async {
        let mut pings = 0;
        while pings < 20 {
            pings += usize::from(alive.frame().await["kind"] == "ping");
        }
    };
    let (end, ()) = tokio::join!(closed, pinged);
    end.expect("the server should have closed the connection").unwrap();
    assert!(bytes.windows(2).any(|pair| pair == [0x89, 0]), "no protocol ping");
    let close = bytes.windows(2).rposition(|pair| pair[0] == 0x88 && pair[1] < 126).expect("a close frame");
    assert_eq!(bytes[close + 2..close + 4], 4012_u16.to_be_bytes());
}

#[tokio::test]
async fn one_client_too_many_gets_503_with_retry_after() {
    let stream = StreamConfig { max_clients: 1, ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let first = server.connect("").await;
    let (_, head) = server.connect_raw("").await;
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 5\r\n"), "{head}");
    drop(first);
    until("a free slot", async || (server.streams.clients() == 0).then_some(())).await;
    let (_, head) = server.connect_raw("").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}

#[tokio::test]
async fn at_a_shutdown_clients_get_a_reconnect_frame() {
    let server = StreamServer::start(Options::default()).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    server.shutdown.cancel();
    let frame = client.frame().await;
    assert_eq!(frame["kind"], "reconnect");
    assert!(frame["after_ms"].as_u64().is_some_and(|after| after <= 5000), "{frame}");
    assert_eq!(client.close_code().await, 1012);
    drop(client);
    tokio::time::timeout(PATIENCE, server.streams.closed()).await.expect("all clients are gone");
}

#[tokio::test]
async fn a_client_that_ignores_the_close_does_not_delay_the_shutdown() {
    let server = StreamServer::start(Options { stream: short_timeouts(), ..Options::default() }).await;
    let (_silent, _) = server.connect_raw("").await;
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, server.streams.closed()).await.expect("all clients are gone");
}

#[tokio::test]
async fn a_failed_snapshot_closes_the_clients_waiting_for_it() {
    let source: SnapshotSource = Arc::new(|_| async { panic!("the source fails") }.boxed());
    let server = StreamServer::start_with(Options::default(), source, Arc::default()).await;
    let mut client = server.connect("").await;
    assert_eq!(client.close_code().await, 1011);
    // the shard still works
    let mut other = server.connect("snapshot=false").await;
    assert!(matches!(other.message().await, Some(Message::Text(_))));
    server.publish();
    assert_eq!(other.events(1).await, [1]);
}
