//! Limits of size, time, number, and rate, tested against a real server from many addresses.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use reqwest::{Client, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

/// Address without limits, for the tests' own queries.
const UNLIMITED: (&str, &str) = ("UNLIMITED_ADDRESSES", "127.0.0.1");

const HEALTH: &str = "GET /living-map/health HTTP/1.1\r\nHost: test\r\n\r\n";

fn from(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low).into()
}

fn client(address: IpAddr) -> Client {
    Client::builder().local_address(address).timeout(PATIENCE).build().unwrap()
}

async fn get(server: &Process, address: IpAddr, path: &str) -> Response {
    client(address).get(server.url(path)).send().await.unwrap()
}

/// Opens a connection from this address and sends `text`.
async fn send(server: &Process, address: IpAddr, text: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let server: std::net::SocketAddr = server.url("").strip_prefix("http://").unwrap().parse().unwrap();
    let mut socket = socket.connect(server).await.unwrap();
    socket.write_all(text).await.unwrap();
    socket
}

/// Reads until the server closes the connection.
async fn read_to_end(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    // a reset after the response is an end too
    let _ =
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut text)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&text).into_owned()
}

async fn rejections(server: &Process, limit: &str) -> u64 {
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let name = format!(r#"living_map_limits_refused_total{{limit="{limit}"}} "#);
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

async fn counted(server: &Process, limit: &str) {
    until(&format!("a rejection by {limit}"), || async { (rejections(server, limit).await > 0).then_some(()) }).await;
}

#[tokio::test]
async fn slow_heads_and_bodies_time_out() {
    let server = Process::serve(&[("IDLE_TIMEOUT_SECONDS", "1"), ("BODY_TIMEOUT_SECONDS", "0.5")]).await;
    // 50 connections that send their head slowly
    let slow: Vec<_> = (0..50)
        .map(|_| async {
            let mut socket = send(&server, from(1), b"GET / HTTP/1.1\r\n").await;
            for _ in 0..200 {
                if socket.write_all(b"X: y\r\n").await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            read_to_end(socket).await
        })
        .collect();
    let all = futures::future::join_all(slow);
    let meanwhile = async {
        for _ in 0..10 {
            assert_eq!(get(&server, from(2), "/living-map/health").await.status(), 200);
        }
    };
    let (answers, ()) = tokio::join!(all, meanwhile);
    assert!(answers.iter().all(|answer| !answer.contains("200 OK")), "{answers:?}");
    counted(&server, "head_time").await;

    let head = "POST /living-map/events HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[";
    let answer = read_to_end(send(&server, from(1), head.as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    counted(&server, "body_time").await;
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let server = Process::serve(&[UNLIMITED, ("MAX_CONNECTIONS_PER_ADDRESS", "3")]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut socket = send(&server, from(1), HEALTH.as_bytes()).await;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(socket);
    }
    let refused = read_to_end(send(&server, from(1), b"").await).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("Retry-After"), "{refused:?}");
    assert!(rejections(&server, "connections_address").await >= 1);
    assert_eq!(get(&server, from(2), "/living-map/health").await.status(), 200);
    held.pop();
    until("a free slot", || async {
        let answer = client(from(1)).get(server.url("/living-map/health")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_address_cannot_take_all_streams() {
    let server = Process::serve(&[UNLIMITED, ("STREAM_MAX_CLIENTS_PER_ADDRESS", "2")]).await;
    let path = "/living-map/events/stream?snapshot=false";
    let first = until("the map to be complete", || async {
        Some(get(&server, from(1), path).await).filter(|answer| answer.status() == 200)
    })
    .await;
    let second = get(&server, from(1), path).await;
    assert_eq!(second.status(), 200);
    let third = get(&server, from(1), path).await;
    assert_eq!(third.status(), 503);
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(get(&server, from(2), path).await.status(), 200);
    assert!(rejections(&server, "streams_address").await >= 1);
    drop(first);
    until("a free slot", || async { (get(&server, from(1), path).await.status() == 200).then_some(()) }).await;
}

#[tokio::test]
async fn oversized_input_is_rejected_and_counted() {
    let environment = [
        ("MAX_HEAD_BYTES", "8192"),
        ("MAX_HEADERS", "20"),
        ("MAX_URI_BYTES", "300"),
        ("MAX_BODY_BYTES", "2048"),
        ("STREAM_MAX_MESSAGE_BYTES", "200"),
    ];
    let server = Process::serve(&environment).await;
    let long = get(&server, from(1), &format!("/living-map/history?q={}", "x".repeat(400))).await;
    assert_eq!(long.status(), 414);
    for head in [
        format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: y\r\n".repeat(30)),
    ] {
        let answer = read_to_end(send(&server, from(1), head.as_bytes()).await).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer:.100}");
    }
    let event = json!({"event_type": "agent.event.created", "payload": {"text": "x".repeat(3_000)}});
    let large = client(from(1)).post(server.url("/living-map/events")).json(&event).send().await.unwrap();
    assert_eq!(large.status(), 413);
    for limit in ["uri", "head", "body"] {
        counted(&server, limit).await;
    }
    let mut socket = until("the stream", || async {
        tokio_tungstenite::connect_async(server.ws_url("/living-map/stream")).await.ok()
    })
    .await
    .0;
    socket.send(Message::text("x".repeat(300))).await.unwrap();
    let code = loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a close").unwrap().unwrap();
        if let Message::Close(close) = message {
            break u16::from(close.unwrap().code);
        }
    };
    assert_eq!(code, 1009);
}

#[tokio::test]
async fn the_request_rate_is_limited_per_address() {
    let server = Process::serve(&[UNLIMITED, ("REQUESTS_PER_SECOND", "2")]).await;
    let greedy = client(from(1));
    let ask = || async { greedy.get(server.url("/living-map/health")).send().await.unwrap() };
    let refused = until("a rejection", || async { Some(ask().await).filter(|answer| answer.status() == 429) }).await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["status"], 429, "{problem}");
    assert!(rejections(&server, "requests_address").await >= 1);
    // other addresses are not affected
    for number in 2..2_000 {
        let mut answer = [0; 12];
        send(&server, from(number), HEALTH.as_bytes()).await.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{number}");
    }
    until("to be served again", || async { (ask().await.status() == 200).then_some(()) }).await;
}

#[tokio::test]
async fn the_publish_rate_is_limited_per_address() {
    let server = Process::serve(&[UNLIMITED, ("PUBLISHED_PER_SECOND", "1"), ("MAX_BATCH_EVENTS", "10")]).await;
    let publish = |address: IpAddr, count: usize| {
        let event = json!({"event_type": "agent.event.created", "payload": {"agent_id": "agent:x"}});
        client(address).post(server.url("/living-map/events")).json(&vec![event; count]).send()
    };
    assert_eq!(publish(from(1), 10).await.unwrap().status(), 200);
    let refused = publish(from(1), 10).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(publish(from(2), 10).await.unwrap().status(), 200);
    assert!(rejections(&server, "events_address").await >= 1);
    until("publishing to be possible again", || async {
        (publish(from(1), 1).await.unwrap().status() == 200).then_some(())
    })
    .await;
    assert_eq!(get(&server, from(1), "/living-map/health").await.status(), 200, "reading has a separate limit");
}

/// A server that accepts the token `test` and permits this number of invalid tokens per minute.
async fn with_tokens(failures_per_minute: &str) -> Process {
    let known = "known:viewer:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let limit = ("AUTH_FAILURES_PER_MINUTE", failures_per_minute);
    Process::serve(&[UNLIMITED, ("AUTH", "token"), ("AUTH_TOKENS", known), limit]).await
}

async fn guess(server: &Process, address: IpAddr, token: &str) -> u16 {
    let request = client(address).get(server.url("/living-map/errors")).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn guessing_tokens_is_limited_per_address() {
    let server = with_tokens("1").await;
    until("a 429", || async { (guess(&server, from(1), "guess").await == 429).then_some(()) }).await;
    assert_eq!(guess(&server, from(2), "guess").await, 401);
}

#[tokio::test]
async fn sixty_bad_tokens_do_not_lock_out_the_good_one() {
    let server = with_tokens("60").await;
    for _ in 0..60 {
        assert_eq!(guess(&server, from(1), "guess").await, 401);
    }
    until("a 429", || async { (guess(&server, from(1), "guess").await == 429).then_some(()) }).await;
    for _ in 0..100 {
        assert_eq!(guess(&server, from(1), "test").await, 200, "a valid token is neither limited nor counted");
    }
}

#[tokio::test]
async fn the_limit_of_guessed_tokens_ends() {
    let server = with_tokens("30").await;
    until("a 429", || async { (guess(&server, from(1), "guess").await == 429).then_some(()) }).await;
    until("a 401 again", || async { (guess(&server, from(1), "guess").await == 401).then_some(()) }).await;
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_distinguished() {
    let environment = [UNLIMITED, ("REQUESTS_PER_SECOND", "1"), ("TRUSTED_PROXIES", "127.1.0.1")];
    let server = Process::serve(&environment).await;
    let ask = |proxy: IpAddr, forwarded: String| {
        client(proxy).get(server.url("/living-map/health")).header("x-forwarded-for", forwarded).send()
    };
    for number in 0..40 {
        let status = ask(from(1), format!("6.6.6.6, 198.51.100.{number}")).await.unwrap().status();
        assert_eq!(status, 200, "{number}");
    }
    until("one client's limit", || async {
        (ask(from(1), "198.51.100.99".into()).await.unwrap().status() == 429).then_some(())
    })
    .await;
    // the header of other peers is ignored
    let mut number = 0_u32;
    until("the limit of the peer with forged headers", || {
        number += 1;
        let asked = ask(from(2), format!("10.0.{}.{}", number / 250, number % 250));
        async move { (asked.await.unwrap().status() == 429).then_some(()) }
    })
    .await;
}
