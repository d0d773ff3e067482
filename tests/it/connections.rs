//! Limits of connections, tested against a real server: probes are answered whatever other clients do.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::daemon::free_port;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

/// Far longer than a probe takes, and shorter than any timeout that would free a connection.
const PROBE: Duration = Duration::from_secs(10);

const UNFINISHED: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nX: ";

fn address(server: &Process) -> SocketAddr {
    server.url("").trim_start_matches("http://").parse().unwrap()
}

async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

/// Connections with unfinished heads.
async fn unfinished(address: SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..number {
        sockets.push(send(address, UNFINISHED).await);
    }
    sockets
}

/// Status of a probe on a new connection.
async fn probe(url: &str) -> u16 {
    let client = reqwest::Client::builder().timeout(PROBE).build().unwrap();
    client.get(url).send().await.expect("the probe is answered").status().as_u16()
}

async fn metric(server: &Process, name: &str) -> f64 {
    let text = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

async fn rejected(server: &Process, limit: &str) -> f64 {
    metric(server, &format!(r#"living_map_limits_refused_total{{limit="{limit}"}}"#)).await
}

/// Permits this process as many open files as possible.
fn raise_own_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[tokio::test]
async fn unfinished_heads_do_not_starve_health() {
    let environment = [("MAX_CONNECTIONS", "50"), ("HEAD_TIMEOUT_SECONDS", "60")];
    let server = Process::serve(&environment).await;
    let _held = unfinished(address(&server), 80).await;
    for path in ["/living-map/health", "/living-map/ready", "/living-map/health"] {
        assert!([200, 503].contains(&probe(&server.url(path)).await), "{path}");
    }
    assert!(rejected(&server, "connections_idle").await >= 30.0, "the oldest made room");
}

#[tokio::test]
async fn a_low_file_limit_does_not_starve_health() {
    raise_own_file_limit();
    // both limits: it cannot be raised
    let server = Process::serve_with_open_files("-n 1024", &[("HEAD_TIMEOUT_SECONDS", "60")]).await;
    let _held = unfinished(address(&server), 1_500).await;
    assert_eq!(probe(&server.url("/living-map/health")).await, 200);
    let output = server.output();
    assert!(output.contains("MAX_CONNECTIONS and STREAM_MAX_CLIENTS exceed the limit of open files"), "{output}");
    assert!(!output.contains("could not accept a connection"), "{output}");
}

/// The lowest number that a process can give to its next open file.
fn next_file(pid: u32) -> u64 {
    let open: BTreeSet<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    (0..1 << 20).find(|number| !open.contains(number)).unwrap()
}

/// A connection with an answered request, which then waits for the next one.
async fn keep_alive(address: SocketAddr) -> TcpStream {
    let mut socket = send(address, b"GET /living-map/health HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    socket
}

/// Reads the rest of the answers. Returns true if the server has closed the connection.
async fn is_closed(socket: &mut TcpStream) -> bool {
    while let Ok(read) = tokio::time::timeout(Duration::from_millis(20), socket.read(&mut [0; 4_096])).await {
        if matches!(read, Ok(0) | Err(_)) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn idle_connections_make_room_when_no_file_is_left() {
    let server = Process::serve(&[("SYNC_INTERVAL_SECONDS", "3600"), ("IDLE_TIMEOUT_SECONDS", "3600")]).await;
    until("the server to be ready", || async {
        let ready = reqwest::get(server.url("/living-map/ready")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(keep_alive(address(&server)).await);
    }
    // what is lower than the limit is in use: no file can be opened any more
    let (pid, limit) = (server.id().to_string(), format!("--nofile={}:", next_file(server.id())));
    let status = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.is_ok_and(|status| status.success()), "prlimit is needed (util-linux)");
    for _ in 0..5 {
        // reqwest's connections are idle, too
        assert_eq!(probe(&server.url("/living-map/health")).await, 200);
    }
    assert!(server.output().contains("could not accept a connection"), "{}", server.output());
    let mut closed = 0;
    for socket in &mut held {
        closed += usize::from(is_closed(socket).await);
    }
    assert!((1..20).contains(&closed), "{closed} idle connections were closed");
    assert!(is_closed(&mut held[0]).await, "the longest idle one makes room first");
}

#[tokio::test]
async fn the_soft_file_limit_is_raised_to_the_hard_one() {
    let server = Process::serve_with_open_files("-S -n 512", &[]).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let [soft, hard] = files.split_whitespace().take(2).collect::<Vec<_>>()[..] else { panic!("{files}") };
    assert_eq!(soft, hard);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let server = Process::serve(&[("RESPONSE_STALL_SECONDS", "1")]).await;
    let document = reqwest::get(server.url("/openapi.json")).await.unwrap().bytes().await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(address(&server)).await.unwrap();
    // requests whose answers together are larger than what the kernel takes without the client
    let requests = b"GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n".repeat(50);
    socket.write_all(&requests).await.unwrap();
    until("the connection to be counted", || async { (rejected(&server, "response_rate").await > 0.0).then_some(()) })
        .await;
    let mut received = Vec::new();
    // a reset is an end too
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut received)).await.expect("the connection has ended");
    assert!(received.len() < document.len() * 50, "{} bytes", received.len());
}

#[tokio::test]
async fn the_metrics_listener_answers_probes() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let server = Process::serve(&[("METRICS_BIND", &*metrics), ("MAX_CONNECTIONS", "2")]).await;
    let _held = unfinished(address(&server), 20).await;
    let _held_too = unfinished(metrics.parse().unwrap(), 100).await;
    assert_eq!(probe(&format!("http://{metrics}/health")).await, 200);
    until("the server to be ready", || async {
        (probe(&format!("http://{metrics}/ready")).await == 200).then_some(())
    })
    .await;
    let ready: Value = reqwest::get(format!("http://{metrics}/ready")).await.unwrap().json().await.unwrap();
    assert!(["ready", "degraded"].contains(&ready["status"].as_str().unwrap()), "{ready}");
    assert_eq!(probe(&format!("http://{metrics}/living-map/snapshot")).await, 404);
}
