//! Messages from WebSocket clients: valid ones, invalid ones and protocol violations.

use std::time::Duration;

use futures::SinkExt;
use living_map::stream::StreamConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

use super::server::{Options, StreamServer};
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn a_ping_is_answered_in_each_of_its_forms() {
    let server = StreamServer::start(Options::default()).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    for ping in [r#"{"kind":"ping"}"#, r#"{"kind":"ping","more":1}"#, "ping"] {
        client.socket.send(Message::text(ping)).await.unwrap();
        let frame = client.frame().await;
        assert_eq!((frame["kind"].as_str(), frame["cursor"].as_str()), (Some("ping"), Some("5f.0")), "{ping}");
    }
    client.socket.send(Message::Ping("abc".into())).await.unwrap();
    assert_eq!(client.message().await, Some(Message::Pong("abc".into())));
}

#[tokio::test]
async fn an_invalid_message_gets_an_error_and_the_connection_stays() {
    let server = StreamServer::start(Options::default()).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    for message in
        [Message::text("{"), Message::text(""), Message::text(r#"{"kind":"subscribe"}"#), Message::binary("x")]
    {
        client.socket.send(message.clone()).await.unwrap();
        let frame = client.frame().await;
        assert_eq!((frame["kind"].as_str(), frame["code"].as_str()), (Some("error"), Some("bad_message")), "{message}");
        assert!(frame["error"].is_string() && frame["timestamp"].is_string());
    }
    server.publish();
    assert_eq!(client.events(1).await, [1]);
}

#[tokio::test]
async fn a_message_may_be_fragmented() {
    let server = StreamServer::start(Options::default()).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    for (part, opcode, last) in
        [("{\"ki", Data::Text, false), ("nd\":", Data::Continue, false), ("\"ping\"}", Data::Continue, true)]
    {
        let frame = Frame::message(part, OpCode::Data(opcode), last);
        client.socket.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(client.frame().await["kind"], "ping");
}

#[tokio::test]
async fn too_many_bad_messages_close_the_connection() {
    let stream = StreamConfig { max_bad_frames: 3, ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    for _ in 0..4 {
        client.socket.send(Message::text("?")).await.unwrap();
    }
    assert_eq!(client.close_code().await, 1008);
}

#[tokio::test]
async fn too_many_messages_close_the_connection() {
    let stream = StreamConfig { max_client_frames: 5, ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    for _ in 0..6 {
        client.socket.send(Message::text("ping")).await.unwrap();
    }
    assert_eq!(client.close_code().await, 1008);
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let server = StreamServer::start(Options::default()).await;
    let mut client = server.connect("").await;
    client.snapshot().await;
    let close = CloseFrame { code: 3001.into(), reason: "bye".into() };
    client.socket.close(Some(close)).await.unwrap();
    assert_eq!(client.close_code().await, 3001);
    until("the client's end", async || (server.streams.clients() == 0).then_some(())).await;
}

/// The code of the close frame that ends the stream; other frames before it are skipped.
async fn close_code(mut socket: TcpStream) -> u16 {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes))
        .await
        .expect("the server should have closed")
        .unwrap();
    let close = bytes.windows(2).rposition(|pair| pair[0] == 0x88).expect("a close frame");
    u16::from_be_bytes([bytes[close + 2], bytes[close + 3]])
}

#[tokio::test]
async fn a_protocol_violation_is_closed_with_its_code() {
    let quick = Duration::from_millis(50);
    let stream = StreamConfig { close_timeout: quick, tick: quick, ..Options::default().stream };
    let server = StreamServer::start(Options { stream, ..Options::default() }).await;
    let masked = |first: u8, length: u8, payload: &[u8]| [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat();
    for (violation, bytes, code) in [
        ("not masked", vec![0x81, 2, b'h', b'i'], 1002),
        ("reserved bit", masked(0xc1, 1, b"x"), 1002),
        ("a continuation of nothing", masked(0x80, 1, b"x"), 1002),
        ("text that is not UTF-8", masked(0x81, 1, &[0xff]), 1007),
        ("64 KiB", vec![0x81, 0xfe, 0xff, 0xff, 0, 0, 0, 0], 1009),
    ] {
        let (mut socket, head) = server.connect_raw("").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        socket.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(socket).await, code, "{violation}");
    }
}

#[tokio::test]
async fn bytes_sent_right_after_the_request_are_not_lost() {
    let server = StreamServer::start(Options::default()).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET /stream?snapshot=false HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    );
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x0b, 0xb8];
    socket.write_all(&[request.as_bytes(), &close].concat()).await.unwrap();
    assert_eq!(close_code(socket).await, 3000);
}

#[tokio::test]
async fn plain_requests_and_foreign_origins_are_rejected() {
    let server = StreamServer::start(Options::default()).await;
    let plain = reqwest::get(format!("http://{}/stream", server.address)).await.unwrap();
    assert_eq!(plain.status(), 426);
    assert_eq!(plain.headers()["sec-websocket-version"], "13");
    let (_, head) = server.connect_raw("Origin: https://evil.example\r\n").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    let (_, head) = server.connect_raw(&format!("Origin: http://{}\r\n", server.address)).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
}
