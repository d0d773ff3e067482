use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;

/// Timeout after which a test has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, config: HttpConfig) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let task = tokio::spawn(async move { serve(listener, router, &config, stop).await });
    Server { address, shutdown, task }
}

impl Server {
    async fn send(&self, head: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
    }

    async fn stopped(self) {
        tokio::time::timeout(TIMEOUT, self.task).await.expect("the server stops").unwrap();
    }
}

/// Reads until the server closes the connection.
async fn read_to_end(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(TIMEOUT, socket.read_to_end(&mut text)).await.expect("the server closes");
    // a reset after the response is an end too
    drop(read);
    String::from_utf8_lossy(&text).into_owned()
}

fn hello() -> Router {
    Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("hello {}", peer.ip()) }))
}

/// A route that reports when it is entered, and responds when told to.
fn blocking() -> (Router, mpsc::Receiver<oneshot::Sender<()>>) {
    let (entered, entries) = mpsc::channel(8);
    let handler = move || {
        let entered = entered.clone();
        async move {
            let (proceed, permitted) = oneshot::channel();
            entered.send(proceed).await.unwrap();
            let _ = permitted.await;
            "done"
        }
    };
    (Router::new().route("/", get(handler)), entries)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn requests_have_the_peer_address() {
    let server = start(hello(), HttpConfig::default()).await;
    let answer = read_to_end(server.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello 127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_slow_or_missing_head_ends_the_connection() {
    let config = HttpConfig { idle_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(hello(), config).await;
    for beginning in ["GET / HTTP/1.1\r\nHost:", ""] {
        assert!(!read_to_end(server.send(beginning).await).await.contains("200"), "{beginning:?}");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_rejected() {
    let config = HttpConfig { max_head_bytes: 10_000, max_headers: 20, ..HttpConfig::default() };
    let server = start(hello(), config).await;
    for head in [
        format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: 1\r\n".repeat(30)),
    ] {
        let answer = read_to_end(server.send(&head).await).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn invalid_http_is_answered_400() {
    let server = start(hello(), HttpConfig::default()).await;
    for noise in ["\u{1}\u{2}\u{3}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = read_to_end(server.send(noise).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{noise:?}: {answer}");
    }
}

#[tokio::test]
async fn shutdown_lets_a_running_request_finish() {
    let (router, mut entries) = blocking();
    let server = start(router, HttpConfig::default()).await;
    let socket = server.send(GET).await;
    let proceed = entries.recv().await.unwrap();
    let idle = server.send("").await;
    server.shutdown.cancel();
    assert_eq!(read_to_end(idle).await, "", "idle connections are closed at once");
    proceed.send(()).unwrap();
    assert!(read_to_end(socket).await.ends_with("done"));
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn shutdown_ends_after_the_drain_timeout() {
    let (router, mut entries) = blocking();
    let config = HttpConfig { drain_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(router, config).await;
    let socket = server.send(GET).await;
    let _never = entries.recv().await.unwrap();
    server.shutdown.cancel();
    let begun = Instant::now();
    server.stopped().await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(!read_to_end(socket).await.contains("done"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_slot() {
    let (router, mut entries) = blocking();
    let config = HttpConfig { max_connections: 1, ..HttpConfig::default() };
    let server = start(router, config).await;
    let first = server.send(GET).await;
    let proceed = entries.recv().await.unwrap();
    let second = server.send(GET).await;
    let too_early = tokio::time::timeout(Duration::from_millis(200), entries.recv()).await;
    assert!(too_early.is_err(), "the second request is served before the first connection is gone");
    proceed.send(()).unwrap();
    drop(first);
    let proceed = tokio::time::timeout(TIMEOUT, entries.recv()).await.expect("the second is served").unwrap();
    proceed.send(()).unwrap();
    server.shutdown.cancel();
    assert!(read_to_end(second).await.ends_with("done"));
}
