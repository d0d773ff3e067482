//! Large answers to clients that read, and to clients that do not, over real sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

const MIB: usize = 1024 * 1024;

/// The largest page of the history.
const PAGE: &str = "/living-map/history?limit=1000";

/// Gauge of the bytes in flight.
const IN_FLIGHT: &str = "living_map_http_response_bytes";

/// A client is its address.
fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 2, 0, number).into()
}

async fn get(server: &Process, number: u8, path: &str) -> Response {
    let client = Client::builder().local_address(address(number)).timeout(3 * PATIENCE).build().unwrap();
    client.get(server.url(path)).send().await.unwrap()
}

/// Publishes `count` events of 900 kB.
async fn publish(server: &Process, count: usize) {
    let client = Client::new();
    for number in 0..count {
        let event = json!({
            "event_type": "agent.event.created",
            "payload": {"agent_id": format!("agent:{number}"), "text": "x".repeat(900_000)},
        });
        let answer = client.post(server.url("/living-map/events")).json(&event).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// Requests `path` without reading the answer, of which the kernel buffers little.
async fn unread(server: &Process, number: u8, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.bind((address(number), 0).into()).unwrap();
    let address: SocketAddr = server.url("").strip_prefix("http://").unwrap().parse().unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

/// Waits until the answer begins.
async fn begun(socket: &mut TcpStream) {
    let mut status = [0; 12];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut status)).await.expect("an answer").unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

async fn metric(server: &Process, name: &str) -> usize {
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

async fn nothing_in_flight(server: &Process) {
    until("no bytes in flight", || async { (metric(server, IN_FLIGHT).await == 0).then_some(()) }).await;
}

/// A line of the process's status in bytes.
fn memory(server: &Process, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let value =
        status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    value.expect(name) * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_pages_keep_memory_and_health() {
    let server = Process::serve(&[("MAX_RESPONSE_BYTES_IN_FLIGHT", "134217728")]).await;
    publish(&server, 20).await;
    let before = memory(&server, "VmRSS:");
    let mut stuck = Vec::new();
    for _ in 0..2 {
        for number in 1..=4 {
            stuck.push(unread(&server, number, PAGE).await);
        }
    }
    let read = async |number| {
        let answer = get(&server, number, PAGE).await;
        let status = answer.status();
        assert!(status == 200 || status == 503, "{status}");
        answer.bytes().await.unwrap();
    };
    let health = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let asked = Instant::now();
            assert_eq!(get(&server, 100, "/living-map/health").await.status(), 200);
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slowest
    };
    let (_, slowest) = tokio::join!(futures::future::join_all((10..20).map(read)), health);
    assert!(slowest < Duration::from_secs(10), "/health took {slowest:?}");
    let grown = memory(&server, "VmHWM:").saturating_sub(before);
    assert!(grown < 600 * MIB, "the server's memory grew by {} MiB", grown / MIB);
    drop(stuck);
    nothing_in_flight(&server).await;
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_and_end_with_clients() {
    let server = Process::serve(&[("MAX_RESPONSE_BYTES_IN_FLIGHT", "25165824")]).await;
    publish(&server, 12).await;
    nothing_in_flight(&server).await;
    let mut stuck = Vec::new();
    for number in [1, 2] {
        let mut socket = unread(&server, number, PAGE).await;
        begun(&mut socket).await;
        stuck.push(socket);
    }
    let in_flight = metric(&server, IN_FLIGHT).await;
    assert!((8 * MIB..24 * MIB).contains(&in_flight), "{in_flight}");
    let refused = get(&server, 3, PAGE).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("in flight"), "{problem}");
    assert!(metric(&server, r#"living_map_limits_refused_total{limit="response_bytes"}"#).await >= 1);
    // what is small has room
    assert_eq!(get(&server, 3, "/living-map/health").await.status(), 200);
    assert_eq!(get(&server, 3, "/living-map/snapshot").await.status(), 200);
    drop(stuck);
    nothing_in_flight(&server).await;
    assert_eq!(get(&server, 3, PAGE).await.bytes().await.unwrap().len() / MIB, 10);
    nothing_in_flight(&server).await;
}

#[tokio::test]
async fn an_unread_answer_holds_no_database_connection() {
    let server = Process::serve(&[("DATABASE_READERS", "1")]).await;
    publish(&server, 10).await;
    let mut stuck = Vec::new();
    for number in 1..=3 {
        let mut socket = unread(&server, number, PAGE).await;
        begun(&mut socket).await;
        stuck.push(socket);
    }
    let answer = get(&server, 9, "/living-map/history?limit=1").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["total"], 10);
    drop(stuck);
    nothing_in_flight(&server).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_leaves_room_for_others() {
    let server = Process::serve(&[("MAX_RESPONSE_BYTES_IN_FLIGHT", "67108864")]).await;
    publish(&server, 12).await;
    let mut greedy = Vec::new();
    for _ in 0..20 {
        greedy.push(unread(&server, 1, PAGE).await);
    }
    // some are answered, the others are rejected
    until("the greedy client's rejections", || async {
        (metric(&server, r#"living_map_limits_refused_total{limit="response_bytes"}"#).await >= 10).then_some(())
    })
    .await;
    for number in 2..6 {
        let answer = get(&server, number, PAGE).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap().len() / MIB, 10);
    }
    drop(greedy);
    nothing_in_flight(&server).await;
}
