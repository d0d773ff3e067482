use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
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
    let thread = AcceptThread::start().unwrap();
    let task = tokio::spawn(async move { serve(&thread, listener, router, &config, stop).await });
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
    let slow = read_to_end(server.send("GET / HTTP/1.1\r\nHost:").await).await;
    assert!(slow.starts_with("HTTP/1.1 408") && slow.contains("application/problem+json"), "{slow}");
    assert_eq!(read_to_end(server.send("").await).await, "");
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
async fn invalid_http_is_explained() {
    let server = start(hello(), HttpConfig::default()).await;
    for (noise, status) in [("\u{1}\u{2}\u{3}\r\n\r\n", 400), ("GET\r\n\r\n", 400), ("GET / HTTP/9.9\r\n\r\n", 505)] {
        let answer = read_to_end(server.send(noise).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{noise:?}: {answer}");
        assert!(answer.contains("application/problem+json"), "{noise:?}: {answer}");
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
async fn a_begun_head_has_less_time_than_an_idle_connection() {
    let config = HttpConfig { head_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(hello(), config).await;
    let mut idle = server.send(GET).await;
    read_answer(&mut idle).await;
    let slow = read_to_end(server.send("GET / HTTP/1.1\r\nHost:").await).await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    idle.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_answer(&mut idle).await.starts_with("HTTP/1.1 200"), "between requests the idle timeout applies");
    idle.write_all(b"G").await.unwrap();
    let slow = read_to_end(idle).await;
    assert!(slow.starts_with("HTTP/1.1 408"), "a later head has the same time as the first: {slow}");
}

/// Reads the response of [`hello`].
async fn read_answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello 127.0.0.1") {
        let read = tokio::time::timeout(TIMEOUT, socket.read_buf(&mut answer)).await.expect("a response").unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_longest_idle_connection_makes_room_when_full() {
    // one of them is left to other addresses
    let config = HttpConfig { max_connections: 4, ..HttpConfig::default() };
    let server = start(hello(), config).await;
    let mut first = server.send(GET).await;
    read_answer(&mut first).await;
    let unfinished = server.send("GET / HTTP/1.1\r\n").await;
    let mut third = server.send(GET).await;
    read_answer(&mut third).await;
    // the first has been used since the unfinished head began
    first.write_all(GET.as_bytes()).await.unwrap();
    read_answer(&mut first).await;
    let mut fourth = server.send(GET).await;
    assert!(read_answer(&mut fourth).await.starts_with("HTTP/1.1 200"));
    assert_eq!(read_to_end(unfinished).await, "");
    for kept in [&mut first, &mut third] {
        kept.write_all(GET.as_bytes()).await.unwrap();
        read_answer(kept).await;
    }
}

/// Waits until the handler of [`blocking`] runs.
async fn entered(entries: &mut mpsc::Receiver<oneshot::Sender<()>>) -> oneshot::Sender<()> {
    tokio::time::timeout(TIMEOUT, entries.recv()).await.expect("the handler runs").unwrap()
}

#[tokio::test]
async fn one_address_does_not_hold_all_connections() {
    let (router, mut entries) = blocking();
    let loopback = "127.0.0.0/8".parse::<ipnet::IpNet>().unwrap();
    let config =
        HttpConfig { max_connections: 3, unlimited: [loopback].into_iter().collect(), ..HttpConfig::default() };
    let server = start(router, config).await;
    let _held =
        [(server.send(GET).await, entered(&mut entries).await), (server.send(GET).await, entered(&mut entries).await)];
    let third = read_to_end(server.send(GET).await).await;
    assert!(third.starts_with("HTTP/1.1 503") && third.contains("that this address may have"), "{third}");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.unwrap();
    entered(&mut entries).await.send(()).unwrap();
    let answer = read_to_end(other).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_ends_also_after_a_response_that_took_time() {
    let (router, mut entries) = blocking();
    let config = HttpConfig {
        idle_timeout: Duration::from_millis(300),
        head_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    };
    let server = start(router, config).await;
    let socket = server.send(GET).await;
    // longer than the timer that is set before the request arrives
    let proceed = entered(&mut entries).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    proceed.send(()).unwrap();
    let answer = read_to_end(socket).await;
    assert!(answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_head_that_begins_behind_another_request_has_seconds() {
    let config = HttpConfig { head_timeout: Duration::from_millis(100), ..HttpConfig::default() };
    let server = start(hello(), config).await;
    let two = read_to_end(server.send(&format!("{GET}GET / HTTP/1.1\r\nHost:")).await).await;
    assert!(two.contains("hello") && two.contains("HTTP/1.1 408"), "{two}");
}

#[tokio::test]
async fn a_malformed_chunk_is_explained_also_beside_its_head() {
    let router = Router::new().route(
        "/",
        axum::routing::post(|body: Result<String, axum::extract::rejection::StringRejection>| async move {
            match body {
                Ok(body) => (axum::http::StatusCode::OK, body),
                Err(error) => (axum::http::StatusCode::BAD_REQUEST, error.body_text()),
            }
        }),
    );
    let server = start(router, HttpConfig::default()).await;
    for chunks in
        ["-5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhello\r\n0\r\nX\r\n\r\n"]
    {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = read_to_end(server.send(&format!("{head}{chunks}{GET}")).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{chunks:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{chunks:?}: {answer}");
    }
}

/// A route that blocks until told to proceed, and the probe.
fn blocking_and_health() -> (Router, mpsc::Receiver<oneshot::Sender<()>>) {
    let (router, entries) = blocking();
    (router.route("/living-map/health", get(|| async { "healthy" })), entries)
}

const HEALTH: &str = "GET /living-map/health HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn connections_beyond_the_limit_get_probes_only() {
    let (router, mut entries) = blocking_and_health();
    let config = HttpConfig {
        max_connections: 1,
        reserved_connections: 1,
        reserved_head_timeout: Duration::from_millis(100),
        ..HttpConfig::default()
    };
    let server = start(router, config).await;
    let first = server.send(GET).await;
    let proceed = entries.recv().await.unwrap();
    let health = read_to_end(server.send(HEALTH).await).await;
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("healthy"), "{health}");
    let other = read_to_end(server.send(GET).await).await;
    assert!(other.starts_with("HTTP/1.1 503") && other.contains("retry-after"), "{other}");
    let slow = read_to_end(server.send("GET").await).await;
    assert!(slow.starts_with("HTTP/1.1 408"), "an unfinished head ends soon: {slow}");
    let unfinished = server.send("GET").await;
    let health = read_to_end(server.send(HEALTH).await).await;
    assert!(health.ends_with("healthy"), "an unfinished head makes room: {health}");
    drop(unfinished);
    proceed.send(()).unwrap();
    server.shutdown.cancel();
    assert!(read_to_end(first).await.ends_with("done"), "a request in progress is not interrupted");
}

#[tokio::test]
async fn a_rejected_connection_is_told_the_limit() {
    let config = HttpConfig { max_connections_per_address: 1, ..HttpConfig::default() };
    let server = start(hello(), config).await;
    let _held = server.send("").await;
    let answer = read_to_end(server.send(GET).await).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("MAX_CONNECTIONS_PER_ADDRESS"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_busy_runtime_does_not_delay_health() {
    let (entered, entry) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let block = move || {
        let (entered, released) = (entered.clone(), Arc::clone(&released));
        async move {
            entered.send(()).unwrap();
            released.lock().unwrap().recv().is_ok().to_string()
        }
    };
    let router = hello().route("/block", get(block)).route("/living-map/health", get(|| async { "healthy" }));
    let server = start(router, HttpConfig::default()).await;
    let ask = |path: &str| {
        let mut socket = std::net::TcpStream::connect(server.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
        socket
    };
    let answer = |mut socket: std::net::TcpStream| std::io::read_to_string(&mut socket);
    // the future of this test runs outside the runtime's only worker, which the handler blocks
    let blocked = ask("/block");
    entry.recv_timeout(TIMEOUT).expect("the handler runs");
    // until the runtime counts as busy, a probe may be given to it
    let health = (0..10).find_map(|_| answer(ask("/living-map/health")).ok()).expect("health is answered");
    assert!(health.ends_with("healthy"), "{health}");
    let ready = answer(ask("/living-map/ready")).unwrap();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("too busy"), "{ready}");
    let other = ask("/");
    release.send(()).unwrap();
    assert!(answer(blocked).unwrap().ends_with("true"));
    assert!(answer(other).unwrap().ends_with("hello 127.0.0.1"), "requests other than probes wait for the runtime");
}

#[tokio::test]
async fn a_client_that_stops_reading_loses_its_connection() {
    let endless =
        || async { Body::from_stream(futures::stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 64 * 1024]))) };
    let stall = Duration::from_millis(300);
    let config = HttpConfig { response_stall_timeout: stall, ..HttpConfig::default() };
    let server = start(Router::new().route("/", get(endless)), config).await;
    let mut reading = server.send(GET).await;
    let not_reading = server.send(GET).await;
    let begun = Instant::now();
    let mut buffer = vec![0; 64 * 1024];
    while begun.elapsed() < stall * 4 {
        let read = tokio::time::timeout(TIMEOUT, reading.read(&mut buffer)).await.expect("bytes").unwrap();
        assert_ne!(read, 0, "a client that reads keeps its connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cut = tokio::time::timeout(TIMEOUT, async move {
        let mut socket = not_reading;
        let mut taken = 0;
        // what the kernel had taken before the end
        while let Ok(read @ 1..) = socket.read(&mut buffer).await {
            taken += read;
        }
        taken
    });
    assert!(cut.await.expect("the connection has ended") < 16 << 20);
}
