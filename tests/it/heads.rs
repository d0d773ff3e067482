//! Heads of requests over the real socket, well-formed and malformed: each whole, in pieces, and cut at every length.

use futures::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::Process;
use crate::support::wait::{PATIENCE, until};

/// A request that is answered 200, and another one that also ends the connection.
const HEALTH: &str = "GET /living-map/health HTTP/1.1\r\nHost: test\r\n\r\n";
const LAST: &str = "GET /living-map/health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

/// A published event, as the body of a request.
const EVENT: &str = r#"{"event_type":"agent.event.created","payload":{"agent_id":"agent:a"}}"#;

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Sends these pieces, each by itself, and reads until the server closes the connection.
async fn exchange<'a>(server: &Process, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Answer> {
    exchange_and(server, pieces, false).await
}

/// Like [`exchange`], and closes the sending side after the last piece.
async fn exchange_and_end<'a>(server: &Process, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Answer> {
    exchange_and(server, pieces, true).await
}

async fn exchange_and<'a>(server: &Process, pieces: impl IntoIterator<Item = &'a [u8]>, end: bool) -> Vec<Answer> {
    let address = server.url("").strip_prefix("http://").unwrap().to_owned();
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut reading, mut writing) = socket.into_split();
    let mut received = Vec::new();
    let write = async {
        for piece in pieces {
            // fails once the server has answered and closed
            if writing.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if end {
            let _ = writing.shutdown().await;
        }
    };
    let read = async {
        let _ = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut received)).await.expect("the connection ends");
    };
    tokio::join!(write, read);
    answers(&String::from_utf8(received).unwrap())
}

fn answers(mut text: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let head = head.to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let (body, rest) = rest.split_at(length);
        answers.push(Answer { status: head[9..12].parse().unwrap(), head, body: body.to_owned() });
        text = rest;
    }
    assert_eq!(text, "", "after {answers:?}");
    answers
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// Requests and the statuses of their answers. The connection of each ends.
fn well_formed() -> Vec<(String, Vec<u16>)> {
    let post = |fields: &str, body: &str| {
        format!(
            "POST /living-map/events HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{fields}\r\n{body}{LAST}"
        )
    };
    let length = EVENT.len();
    let (first, second) = EVENT.split_at(10);
    let (size, rest) = (first.len(), second.len());
    let history =
        |query: &str| format!("GET /living-map/history?{query} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    vec![
        (LAST.to_owned(), vec![200]),
        (format!("{HEALTH}{HEALTH}{LAST}"), vec![200, 200, 200]),
        (format!("\r\n{HEALTH}\r\n\r\n{LAST}"), vec![200, 200]),
        ("GET /living-map/health HTTP/1.0\r\n\r\n".to_owned(), vec![200]),
        ("GET /living-map/health HTTP/1.0\r\nHost: test\r\n\r\n".to_owned(), vec![200]),
        ("GET http://test/living-map/health HTTP/1.1\r\nHost: TEST\r\nConnection: close\r\n\r\n".to_owned(), vec![200]),
        ("GET /living-map/health HTTP/1.1\r\nHost: a\r\nX:\t\u{e4}\r\nConnection: close\r\n\r\n".to_owned(), vec![200]),
        // well-formed, but not a host that may be addressed without a token
        ("GET /living-map/health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n".to_owned(), vec![421]),
        ("BREW /living-map/health HTTP/1.1\r\nHost: [::1]:7017\r\nConnection: close\r\n\r\n".to_owned(), vec![405]),
        (history("event_type=agent.>"), vec![200]),
        (history("event_type=agent.**"), vec![200]),
        (history("entity_id=<\"\u{e4}\">"), vec![200]),
        (post(&format!("Content-Length: {length}\r\n"), EVENT), vec![200, 200]),
        (post("Transfer-Encoding: Chunked\r\n", &format!("{length:X}\r\n{EVENT}\r\n0\r\n\r\n")), vec![200, 200]),
        (
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("{size:x} ;a=\"b\"\r\n{first}\r\n0{rest:x};c\r\n{second}\r\n000\r\nTrailer: x\r\n\r\n"),
            ),
            vec![200, 200],
        ),
    ]
}

/// Heads with the status of the only answer.
fn malformed() -> Vec<(String, u16)> {
    let lines = [
        ("GET /living-map/health", 400),
        ("GET  /living-map/health HTTP/1.1", 400),
        ("GET /living-map/health  HTTP/1.1", 400),
        ("GET\t/living-map/health HTTP/1.1", 400),
        (" GET /living-map/health HTTP/1.1", 400),
        ("GET /living-map/health HTTP/1.1 ", 400),
        ("GET /living-map/health\0 HTTP/1.1", 400),
        ("GET /living-map/health#a HTTP/1.1", 400),
        ("GET /living-map/<health> HTTP/1.1", 400),
        ("GET living-map/health HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET http://other/living-map/health HTTP/1.1", 400),
        ("G(T /living-map/health HTTP/1.1", 400),
        ("\u{16}\u{3}\u{1}", 400),
        ("GET /living-map/health HTTP/1.2", 505),
        ("GET /living-map/health HTTP/9.9", 505),
        ("PRI * HTTP/2.0", 505),
        ("CONNECT test:80 HTTP/1.1", 501),
    ];
    let fields = [
        ("X: a\r\n b\r\n", 400),
        ("X: a\r\n\tContent-Length: 9\r\n", 400),
        ("X : a\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("X\r\n", 400),
        (": a\r\n", 400),
        ("X: a\n", 400),
        ("X: a\rY: b\r\n", 400),
        ("X: a\0\r\n", 400),
        ("X: \u{7f}\r\n", 400),
        ("Host: test\r\n", 400),
        ("Host: other\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: \u{b}chunked\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Upgrade: websocket\r\nContent-Length: 5\r\n", 400),
    ];
    let mut heads: Vec<_> = lines.map(|(line, status)| (format!("{line}\r\nHost: test\r\n\r\n"), status)).into();
    heads.extend(fields.map(|(fields, status)| {
        (format!("POST /living-map/health HTTP/1.1\r\nHost: test\r\n{fields}\r\n0\r\n\r\n"), status)
    }));
    heads.extend([
        ("GET /living-map/health HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /living-map/health HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /living-map/health HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("POST /living-map/health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("GET /living-map/health HTTP/1.1\nHost: a\n\n".to_owned(), 400),
    ]);
    heads
}

/// Asserts that this is a problem document with which the server closes the connection.
fn assert_problem(answer: &Answer, status: u16, head: &str) {
    assert_eq!(answer.status, status, "{head:?}: {answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{head:?}: {answer:?}");
    assert!(answer.head.contains("connection: close"), "{head:?}: {answer:?}");
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{head:?}: {answer:?}");
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["status"], status, "{head:?}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{head:?}: {problem}");
}

/// The number of malformed requests that are counted.
async fn counted(server: &Process) -> u64 {
    let metrics = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    let counters = metrics.lines().filter(|line| line.starts_with("living_map_http_malformed_requests_total{"));
    counters.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

async fn serve() -> Process {
    let server = Process::serve(&[]).await;
    until("the map to be complete", || async {
        let ready = reqwest::get(server.url("/living-map/ready")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    server
}

#[tokio::test]
async fn well_formed_requests_are_answered_however_they_are_cut() {
    let server = serve().await;
    for (request, expected) in well_formed() {
        let whole = exchange(&server, [request.as_bytes()]).await;
        assert_eq!(statuses(&whole), expected, "{request:?}: {whole:?}");
        let pieces = exchange(&server, request.as_bytes().chunks(1)).await;
        assert_eq!(statuses(&pieces), expected, "{request:?}: {pieces:?}");
    }
}

#[tokio::test]
async fn malformed_heads_are_explained_and_end_the_connection() {
    let server = serve().await;
    let heads = malformed();
    for (head, status) in &heads {
        // answered in turn, and the request behind it not at all
        let request = format!("{HEALTH}{head}{HEALTH}");
        for pieces in [vec![request.as_bytes()], request.as_bytes().chunks(1).collect()] {
            let answers = exchange(&server, pieces).await;
            assert_eq!(statuses(&answers), [200, *status], "{head:?}: {answers:?}");
            assert_problem(&answers[1], *status, head);
        }
    }
    assert!(counted(&server).await >= 2 * heads.len() as u64);
}

#[tokio::test]
async fn a_head_cut_at_any_length_is_no_request() {
    let server = serve().await;
    let mut beginnings = Vec::new();
    for (head, status) in malformed() {
        beginnings.extend((1..head.len()).map(|cut| (head[..floor(&head, cut)].to_owned(), status)));
    }
    for (request, _) in well_formed() {
        // inside the first head
        let end = request.find("\r\n\r\n").unwrap() + 4;
        beginnings.extend((1..end).map(|cut| (request[..floor(&request, cut)].to_owned(), 400)));
    }
    let server = &server;
    futures::stream::iter(beginnings)
        .for_each_concurrent(32, |(beginning, status)| async move {
            let answers = exchange_and_end(server, [beginning.as_bytes()]).await;
            let [answer] = &answers[..] else {
                assert!(answers.is_empty() && beginning.trim().is_empty(), "{beginning:?}: {answers:?}");
                return;
            };
            assert!([400, status].contains(&answer.status), "{beginning:?}: {answers:?}");
            assert_problem(answer, answer.status, &beginning);
        })
        .await;
}

/// The nearest boundary of a character at or before this index.
fn floor(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

#[tokio::test]
async fn a_malformed_chunk_lets_no_second_request_through() {
    let server = serve().await;
    for body in [
        "5;a\nb\r\n[1,2]\r\n0\r\n\r\n",
        "5;a\rb\r\n[1,2]\r\n0\r\n\r\n",
        "5;\0\r\n[1,2]\r\n0\r\n\r\n",
        "5 \r\n[1,2]\r\n0\r\n\r\n",
        "0x5\r\n[1,2]\r\n0\r\n\r\n",
        "+5\r\n[1,2]\r\n0\r\n\r\n",
        "5\n[1,2]\r\n0\r\n\r\n",
        "5\r\n[1,2]0\r\n\r\n",
        "5\r\n[1,2]\n0\r\n\r\n",
        "10000000000000005\r\n[1,2]\r\n0\r\n\r\n",
        "5\r\n[1,2]\r\n0\r\nX : y\r\n\r\n",
        "5\r\n[1,2]\r\n0\r\n X: y\r\n\r\n",
    ] {
        for route in ["/living-map/events", "/living-map/health"] {
            let head = format!(
                "POST {route} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            let request = format!("{head}{body}{HEALTH}");
            for pieces in [vec![request.as_bytes()], request.as_bytes().chunks(1).collect()] {
                let answers = exchange(&server, pieces).await;
                assert!(answers.len() <= 1, "{body:?}: {answers:?}");
                assert!(answers.iter().all(|answer| (400..500).contains(&answer.status)), "{body:?}: {answers:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_refused_handshake_lets_no_second_request_through() {
    let server = serve().await;
    let request = format!("GET /living-map/health HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\r\n{HEALTH}");
    assert_eq!(statuses(&exchange(&server, [request.as_bytes()]).await), [200]);
}

#[tokio::test]
async fn frames_sent_with_the_handshake_are_not_lost() {
    let server = serve().await;
    let address = server.url("").strip_prefix("http://").unwrap().to_owned();
    let handshake = "GET /living-map/stream HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // a masked ping with the payload 'early', whose mask is zero
    let ping = [&[0x89, 0x85, 0, 0, 0, 0][..], b"early"].concat();
    let bytes = [handshake.as_bytes(), &ping].concat();
    for cut in [1, handshake.len() - 1, handshake.len(), handshake.len() + 3, bytes.len()] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        let (first, second) = bytes.split_at(cut);
        socket.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        socket.write_all(second).await.unwrap();
        let mut received = Vec::new();
        let pong = b"\x8a\x05early";
        while !received.windows(pong.len()).any(|part| part == pong) {
            let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut received)).await.expect("a pong").unwrap();
            assert_ne!(read, 0, "{}", received.escape_ascii());
        }
    }
}
