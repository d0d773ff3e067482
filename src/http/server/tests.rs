use std::time::Instant;

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;

/// A test that waits longer than this for anything has failed.
const PATIENCE: Duration = Duration::from_secs(20);

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
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server stops").unwrap();
    }
}

/// Everything until the server closes the connection.
async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut text)).await.expect("the server closes");
    // a reset after the answer is an end as well
    drop(read);
    String::from_utf8_lossy(&text).into_owned()
}

fn hello() -> Router {
    Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { format!("hello {}", peer.ip()) }))
}

/// A route that says when it was entered, and answers when told to.
fn held() -> (Router, mpsc::Receiver<oneshot::Sender<()>>) {
    let (entered, entries) = mpsc::channel(8);
    let handler = move || {
        let entered = entered.clone();
        async move {
            let (go_on, told) = oneshot::channel();
            entered.send(go_on).await.unwrap();
            let _ = told.await;
            "done"
        }
    };
    (Router::new().route("/", get(handler)), entries)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn requests_know_their_peer() {
    let server = start(hello(), HttpConfig::default()).await;
    let answer = rest(server.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello 127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_head_that_trickles_in_or_never_comes_ends_the_connection() {
    let config = HttpConfig { idle_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(hello(), config).await;
    for beginning in ["GET / HTTP/1.1\r\nHost:", ""] {
        assert!(!rest(server.send(beginning).await).await.contains("200"), "{beginning:?}");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let config = HttpConfig { max_head_bytes: 10_000, max_headers: 20, ..HttpConfig::default() };
    let server = start(hello(), config).await;
    for head in [
        format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: 1\r\n".repeat(30)),
    ] {
        let answer = rest(server.send(&head).await).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_answered_400() {
    let server = start(hello(), HttpConfig::default()).await;
    for noise in ["\u{1}\u{2}\u{3}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = rest(server.send(noise).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{noise:?}: {answer}");
    }
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_end() {
    let (router, mut entries) = held();
    let server = start(router, HttpConfig::default()).await;
    let socket = server.send(GET).await;
    let go_on = entries.recv().await.unwrap();
    let idle = server.send("").await;
    server.shutdown.cancel();
    assert_eq!(rest(idle).await, "", "idle connections are closed at once");
    go_on.send(()).unwrap();
    assert!(rest(socket).await.ends_with("done"));
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let (router, mut entries) = held();
    let config = HttpConfig { drain_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(router, config).await;
    let socket = server.send(GET).await;
    let _never = entries.recv().await.unwrap();
    server.shutdown.cancel();
    let begun = Instant::now();
    server.stopped().await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(!rest(socket).await.contains("done"));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let (router, mut entries) = held();
    let config = HttpConfig { max_connections: 1, ..HttpConfig::default() };
    let server = start(router, config).await;
    let first = server.send(GET).await;
    let go_on = entries.recv().await.unwrap();
    let second = server.send(GET).await;
    let too_early = tokio::time::timeout(Duration::from_millis(200), entries.recv()).await;
    assert!(too_early.is_err(), "the second request is served before the first connection is gone");
    go_on.send(()).unwrap();
    drop(first);
    let go_on = tokio::time::timeout(PATIENCE, entries.recv()).await.expect("the second has its turn").unwrap();
    go_on.send(()).unwrap();
    server.shutdown.cancel();
    assert!(rest(second).await.ends_with("done"));
}
