//! Fair shares between clients, tested against a real server from two addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const MODEST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 2);

fn client(address: Ipv4Addr) -> Client {
    Client::builder().local_address(IpAddr::from(address)).timeout(PATIENCE).build().unwrap()
}

/// Value of a series, whose name has its labels in the order of the output.
async fn metric(server: &Process, series: &str) -> f64 {
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().unwrap()
}

/// Publishes events of some agents and returns the cursor before the last one.
async fn publish(server: &Process, batches: usize) -> String {
    let publisher = client(MODEST);
    let mut cursor = Value::Null;
    for batch in 0..batches {
        let events: Vec<Value> = (0..1_000)
            .map(|number| {
                let agent = format!("agent:{}", (batch * 1_000 + number) % 700);
                json!({"event_type": "agent.event.status", "payload": {"agent_id": agent, "status": "online"}})
            })
            .collect();
        let answer = publisher.post(server.url("/living-map/events")).json(&events).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let published: Value = answer.json().await.unwrap();
        cursor = published["results"][998]["cursor"].clone();
    }
    cursor.as_str().unwrap().to_owned()
}

/// Requests a past map.
async fn past(server: &Process, client: &Client, cursor: &str) {
    let url = server.url(&format!("/living-map/snapshot?at={cursor}"));
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_time_travels_of_one_client_delay_no_other() {
    let server = Process::serve(&[]).await;
    let cursor = publish(&server, 4).await;
    let modest = client(MODEST);
    until("the map to be folded", || async {
        let answer = modest.get(server.url(&format!("/living-map/snapshot?at={cursor}"))).send().await.unwrap();
        (answer.status() == 200).then_some(())
    })
    .await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut before = Vec::new();
    for _ in 0..3 {
        let mut greedy = JoinSet::new();
        for _ in 0..60 {
            let url = server.url(&format!("/living-map/snapshot?at={cursor}"));
            let (client, answered) = (client(GREEDY), Arc::clone(&answered));
            greedy.spawn(async move {
                loop {
                    // a rejection after the longest wait is sent again
                    if client.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        until("the queue of the greedy client", || async {
            (metric(&server, r#"living_map_pool_waiting{pool="time_travel"}"#).await >= 55.0).then_some(())
        })
        .await;
        for _ in 0..3 {
            let earlier = answered.load(Ordering::Relaxed);
            past(&server, &modest, &cursor).await;
            before.push(answered.load(Ordering::Relaxed) - earlier);
        }
        greedy.shutdown().await;
        until("the queue to be empty", || async {
            (metric(&server, r#"living_map_pool_clients{pool="time_travel"}"#).await == 0.0).then_some(())
        })
        .await;
    }
    // its turn comes next: of the others those are answered that take as long as its own, not the 55 that wait. Counted, since
    // times depend on the load of the machine
    println!("answers to the other client meanwhile: {before:?}");
    before.sort_unstable();
    assert!(before[before.len() / 2] <= 6, "answers to the other client meanwhile: {before:?}");
}

/// Resident memory of a process in kilobytes.
fn resident_kilobytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_request_bodies_are_bounded_in_bytes() {
    const BODIES: u32 = 300;
    let environment =
        [("MAX_BODIES_BYTES", "8388608"), ("POOL_QUEUE_PER_CLIENT", "1000"), ("BODY_TIMEOUT_SECONDS", "60")];
    let server = Process::serve(&environment).await;
    let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:x"}});
    let publish = || client(MODEST).post(server.url("/living-map/events")).json(&event).send();
    assert_eq!(publish().await.unwrap().status(), 200);
    let before = resident_kilobytes(server.id());
    let target: std::net::SocketAddr = server.url("").strip_prefix("http://").unwrap().parse().unwrap();
    let mut unfinished = JoinSet::new();
    for _ in 0..BODIES {
        unfinished.spawn(async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((GREEDY, 0).into()).unwrap();
            let mut socket = socket.connect(target).await.unwrap();
            let head = "POST /living-map/events HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                        Content-Length: 1000000\r\n\r\n";
            socket.write_all(head.as_bytes()).await.unwrap();
            // all but the last byte, as far as the server reads
            let _ = socket.write_all(&vec![b' '; 999_999]).await;
            let mut answer = [0; 12];
            let _ = socket.read_exact(&mut answer).await;
            answer
        });
    }
    let waiting = r#"living_map_pool_waiting{pool="bodies"}"#;
    until("the bodies to wait", || async { (metric(&server, waiting).await >= f64::from(BODIES - 8)).then_some(()) })
        .await;
    assert!(metric(&server, r#"living_map_pool_in_use{pool="bodies"}"#).await <= 8_388_608.0);
    let answers = join_all((0..5).map(|_| publish())).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 200), "another client has room");
    let grown = resident_kilobytes(server.id()).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} kB for {BODIES} unfinished bodies of 1 MB");
    // the server's wait for room ends before the bodies' time
    let refused = tokio::time::timeout(PATIENCE, unfinished.join_next()).await.expect("an answer").unwrap().unwrap();
    assert_eq!(refused.as_slice(), b"HTTP/1.1 503");
    assert!(metric(&server, r#"living_map_pool_refused_total{pool="bodies",reason="time"}"#).await >= 1.0);
}
