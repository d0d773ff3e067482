//! Clients that do not read: they cost the server little memory, and do not delay other clients.
//!
//! `STUCK_CLIENTS` sets their number; the test prints its measurements.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::after_a_restart::wait_until_complete;
use super::client::address_of;
use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

/// Approximate bytes of the payload of an event.
const PADDING: usize = 2_000;
const BATCH: usize = 20;
const HEALTHY: usize = 5;

const RING_BYTES: usize = 4 * 1024 * 1024;
const REPLAY_BYTES: usize = 8 * 1024 * 1024;

fn settings(stall: &'static str) -> [(&'static str, &'static str); 6] {
    [
        ("SYNC_INTERVAL_SECONDS", "3600"),
        ("STREAM_RING_EVENTS", "256"),
        ("STREAM_RING_BYTES", "4194304"),
        ("STREAM_REPLAY_BYTES", "8388608"),
        ("STREAM_STALL_SECONDS", stall),
        ("LOG_LEVEL", "error"),
    ]
}

fn event(number: usize) -> Value {
    let payload = json!({"agent_id": format!("agent:{}", number % 50), "status": "online", "n": number,
        "padding": "x".repeat(PADDING)});
    json!({"event_type": "agent.event.status", "event_id": format!("n{number}"), "payload": payload})
}

/// Publishes events `from..to`. Returns when each was sent.
async fn publish(server: &Process, from: usize, to: usize) -> Vec<Instant> {
    let (client, url) = (reqwest::Client::new(), server.url("/living-map/events"));
    let mut sent = Vec::new();
    for start in (from..to).step_by(BATCH) {
        let events: Vec<Value> = (start..start + BATCH).map(event).collect();
        sent.extend(std::iter::repeat_n(Instant::now(), BATCH));
        let answer = client.post(&url).json(&events).send().await.expect("it answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    sent
}

/// Opens a WebSocket on a socket with small buffers, and reads nothing after the upgrade.
async fn stuck(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut socket = socket.connect(address.parse().expect("an address")).await.expect("it accepts");
    let request = format!(
        "GET /living-map/stream?snapshot=false HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.expect("it answers");
    assert_eq!(&head, b"HTTP/1.1 101");
    socket
}

/// Reads `count` events. Returns when each was received.
async fn read_all(address: String, from: usize, count: usize) -> Vec<Instant> {
    let url = format!("ws://{address}/living-map/stream?snapshot=false");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("it accepts");
    let mut received = Vec::new();
    while received.len() < count {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("an event").expect("no end");
        let Ok(Message::Text(text)) = message else { continue };
        // without parsing the whole frame, which would distort the measurement
        let Some((_, rest)) = text.split_once("\"n\":") else { continue };
        let number: usize = rest.split_once(',').expect("a field after it").0.parse().expect("a number");
        assert_eq!(number, from + received.len(), "a gap, or a duplicate");
        received.push(Instant::now());
    }
    let _ = socket.close(None).await;
    received
}

/// Publishes `count` events, the first with number `from`, while healthy clients read them. `others` are connected
/// already. Returns the sorted delivery times.
async fn deliveries(server: &Process, others: usize, from: usize, count: usize) -> Vec<Duration> {
    let readers: Vec<_> = (0..HEALTHY).map(|_| tokio::spawn(read_all(address_of(server), from, count))).collect();
    clients(server, others + HEALTHY).await;
    let sent = publish(server, from, from + count).await;
    let mut took = Vec::new();
    for reader in readers {
        let received = reader.await.expect("it receives every event");
        took.extend(received.iter().zip(&sent).map(|(received, sent)| received.duration_since(*sent)));
    }
    took.sort_unstable();
    took
}

/// Publishes until the sockets of the stuck clients are full. Returns the number of events.
async fn fill(server: &Process, sockets: &[TcpStream]) -> usize {
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().expect("it is bound").port()).collect();
    let mut published = 0;
    while !are_full(server, &ports) {
        publish(server, published, published + BATCH * 5).await;
        published += BATCH * 5;
        assert!(published < 10_000, "their sockets do not fill up");
    }
    published
}

/// Returns true if the server's sockets to all these ports of clients have bytes that the clients' kernel does not accept.
fn are_full(server: &Process, clients: &[u16]) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("the sockets of the machine");
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let unsent = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let queued = u64::from_str_radix(fields.get(4)?.split(':').next()?, 16).ok()?;
        (port(fields[1])? == server.port() && queued > 0).then(|| port(fields[2]))?
    });
    let unsent: HashSet<u16> = unsent.collect();
    clients.iter().all(|client| unsent.contains(client))
}

async fn metric(server: &Process, name: &str) -> f64 {
    let metrics = reqwest::get(server.url("/metrics")).await.expect("it answers").text().await.expect("text");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0.0)
}

async fn clients(server: &Process, at_least: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let at_least = at_least as f64;
    until("the clients to be counted", || async {
        let connected = metric(server, "living_map_stream_clients{transport=\"websocket\"}").await;
        (connected >= at_least).then_some(())
    })
    .await;
}

/// Resident memory of the server in bytes.
fn resident(server: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Raises the limit of open files of this process, which the server inherits. Returns the effective limit.
fn allow_files(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum })
            .expect("within the limit");
    }
    limit.current.map_or(allowed, |current| current.max(allowed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_clients_cost_bounded_memory_and_delay_no_others() {
    let wanted: usize = std::env::var("STUCK_CLIENTS").map_or(400, |number| number.parse().expect("a number"));
    let files = usize::try_from(allow_files(wanted as u64 + 200)).expect("a number of files");
    let (number, events) = (wanted.min(files.saturating_sub(200)), 2_000);

    let (alone, server) = (Process::serve(&settings("600")).await, Process::serve(&settings("600")).await);
    wait_until_complete(&alone).await;
    wait_until_complete(&server).await;
    let address = address_of(&server);
    let mut sockets = Vec::new();
    for _ in 0..number {
        sockets.push(stuck(&address).await);
    }
    clients(&server, number).await;
    let from = fill(&server, &sockets).await;
    // at the same time, so that what else the machine does delays both
    let (baseline, disturbed) =
        tokio::join!(deliveries(&alone, 0, 0, events), deliveries(&server, number, from, events));
    let (without, with) = (resident(&alone), resident(&server));
    let unsent = number * (from + events) * PADDING;
    let (p99, worst) = (|took: &[Duration]| took[took.len() * 99 / 100], |took: &[Duration]| took[took.len() - 1]);
    println!(
        "{number} stuck clients, {} MiB unsent to them: resident {} MiB, without them {} MiB, {} bytes each; \
         p99 of a delivery {:?}, without them {:?}; worst {:?}, {:?}",
        unsent >> 20,
        with >> 20,
        without >> 20,
        with.saturating_sub(without) / number,
        p99(&disturbed),
        p99(&baseline),
        worst(&disturbed),
        worst(&baseline),
    );
    // per client: its state, the socket, and one partly written frame
    let each = 8 * 1024 + PADDING * 2;
    // ring and cache, doubled for the allocator's overhead, and the memory of a fold
    let bound = without + 2 * (RING_BYTES + REPLAY_BYTES) + number * each + 48 * 1024 * 1024;
    assert!(with < bound, "{with} bytes are resident, at most {bound} are expected");
    assert!(unsent > bound, "too few clients or events for a conclusion");
    let slack = Duration::from_secs(1);
    assert!(p99(&disturbed) < p99(&baseline) * 4 + slack, "{:?} against {:?}", p99(&disturbed), p99(&baseline));
    // the stuck clients are still connected
    assert!(metric(&server, "living_map_stream_closed_total{reason=\"slow\"}").await < 1.0);
    drop(sockets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pauses_reading_gets_every_event() {
    let server = Process::serve(&settings("600")).await;
    wait_until_complete(&server).await;
    let events = 6_000;
    let address = address_of(&server);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let socket = socket.connect(address.parse().expect("an address")).await.expect("it accepts");
    let url = format!("ws://{address}/living-map/stream?snapshot=false");
    let (mut paused, _) = tokio_tungstenite::client_async(url, socket).await.expect("it accepts");
    clients(&server, 1).await;
    publish(&server, 0, events).await;
    let mut next = 0;
    while next < events {
        let message = tokio::time::timeout(PATIENCE, paused.next()).await.expect("an event").expect("no end");
        let Message::Text(text) = message.expect("a frame") else { continue };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        if frame["kind"] == "event" {
            assert_eq!(frame["payload"]["n"], next, "a gap, or a duplicate");
            next += 1;
        } else {
            assert_eq!(frame["kind"], "ping", "a snapshot instead of events");
        }
    }
    assert!(metric(&server, "living_map_replay_folded_total").await > 1.0, "the client was never behind the ring");
    // afterwards it reads from the ring again
    publish(&server, events, events + BATCH).await;
    paused.send(Message::text("ping")).await.expect("it is open");
    let mut last = 0;
    while last < events + BATCH - 1 {
        let message = tokio::time::timeout(PATIENCE, paused.next()).await.expect("an event").expect("no end");
        let Message::Text(text) = message.expect("a frame") else { continue };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        last = frame["payload"]["n"].as_u64().map_or(last, |n| usize::try_from(n).expect("a number"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_closed_as_too_slow_resumes_without_loss() {
    let server = Process::serve(&settings("1")).await;
    wait_until_complete(&server).await;
    let events = 4_000;
    let address = address_of(&server);
    let _stuck = stuck(&address).await;
    clients(&server, 1).await;
    let snapshot: Value =
        reqwest::get(server.url("/living-map/snapshot")).await.expect("it answers").json().await.expect("JSON");
    let start = snapshot["meta"]["cursor"].as_str().expect("a cursor").to_owned();
    publish(&server, 0, events).await;
    until("the client to be closed", || async {
        let closed = metric(&server, "living_map_stream_closed_total{reason=\"slow\"}").await;
        (closed >= 1.0).then_some(())
    })
    .await;
    let url = format!("ws://{address}/living-map/stream?cursor={start}");
    let (mut back, _) = tokio_tungstenite::connect_async(url).await.expect("it accepts");
    for number in 0..events {
        let message = tokio::time::timeout(PATIENCE, back.next()).await.expect("an event").expect("no end");
        let text = message.expect("a frame").into_text().expect("text");
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&frame["kind"], &frame["payload"]["n"]), (&json!("event"), &json!(number)));
    }
}
