//! A server with the stream only: a hub, a snapshot source, and a publisher that the test controls.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use bytes::Bytes;
use chrono::DateTime;
use futures::{FutureExt, StreamExt};
use living_map::http::{AcceptThread, HttpConfig};
use living_map::map::Outcome;
use living_map::model::{Cursor, EntityType, Epoch, Event, Layer, LogEntry, Notes};
use living_map::stream::{
    Connection, Hub, HubConfig, LayerSet, OpenError, Replay, ReplaySource, SnapshotJson, SnapshotSource, StreamConfig,
    StreamOptions, StreamSources, Streams, UpgradeError,
};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::event_source::EventSource;
use crate::support::wait::PATIENCE;

pub const EPOCH: Epoch = Epoch(0x5f);

pub fn at(seq: u64) -> Cursor {
    Cursor { epoch: EPOCH, seq }
}

/// Options of a [`StreamServer`].
pub struct Options {
    pub hub: HubConfig,
    pub stream: StreamConfig,
    /// Additional bytes in every snapshot.
    pub snapshot_padding: usize,
    /// Additional bytes in every event.
    pub event_padding: usize,
    /// A snapshot has the position of the last multiple of this many events.
    pub snapshot_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        let stream = StreamConfig { shards: 2, ..StreamConfig::default() };
        Self { hub: HubConfig::default(), stream, snapshot_padding: 0, event_padding: 0, snapshot_every: 1 }
    }
}

pub struct StreamServer {
    pub address: SocketAddr,
    pub app: Router,
    pub hub: Arc<Hub>,
    pub streams: Streams,
    pub shutdown: CancellationToken,
    seq: Arc<Mutex<u64>>,
    event_padding: usize,
}

impl StreamServer {
    pub async fn start(options: Options) -> Self {
        let seq: Arc<Mutex<u64>> = Arc::default();
        let folded = Arc::clone(&seq);
        let (every, padding) = (options.snapshot_every, "x".repeat(options.snapshot_padding));
        let source: SnapshotSource = Arc::new(move |layers: LayerSet| {
            let seq = *folded.lock().unwrap_or_else(PoisonError::into_inner) / every * every;
            let names: Vec<_> = layers.to_vec().into_iter().map(Layer::as_str).collect();
            let json = json!({"layers": names, "meta": {"cursor": at(seq)}, "padding": padding});
            async move { SnapshotJson { cursor: at(seq), json: Bytes::from(json.to_string()) } }.boxed()
        });
        Self::start_with(options, source, seq).await
    }

    pub async fn start_with(options: Options, source: SnapshotSource, seq: Arc<Mutex<u64>>) -> Self {
        // evicted frames are gone
        let replay: ReplaySource = Arc::new(|_, _| async { Replay::Gone { oldest: None } }.boxed());
        Self::start_of(options, StreamSources { snapshot: source, replay }, seq).await
    }

    pub async fn start_of(options: Options, sources: StreamSources, seq: Arc<Mutex<u64>>) -> Self {
        let hub = Arc::new(Hub::new(options.hub, EPOCH));
        let shutdown = CancellationToken::new();
        let streams = Streams::start(options.stream, &hub, &sources, shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/stream", routing::get(upgrade))
            .route("/events", routing::get(open))
            .with_state(streams.clone());
        let (serving, stop) = (app.clone(), shutdown.clone());
        tokio::spawn(async move {
            let thread = AcceptThread::start().unwrap();
            living_map::http::serve(&thread, listener, serving, &HttpConfig::default(), stop).await;
        });
        Self { address, app, hub, streams, shutdown, seq, event_padding: options.event_padding }
    }

    /// Publishes the next event. Returns its position.
    pub fn publish(&self) -> u64 {
        self.publish_about("node.metrics.update", EntityType::Node, "node:a")
    }

    pub fn publish_about(&self, event_type: &str, entity_type: EntityType, entity_id: &str) -> u64 {
        let mut seq = self.seq.lock().unwrap();
        *seq += 1;
        let event = Event {
            id: Uuid::from_u128((*seq).into()),
            event_type: event_type.into(),
            timestamp: DateTime::UNIX_EPOCH,
            payload: json!({"n": *seq, "padding": "x".repeat(self.event_padding)}),
            source_service: None,
            entity_id: Some(entity_id.into()),
            entity_type: Some(entity_type),
            trace_id: None,
            idempotency_key: None,
            envelope: None,
            notes: Notes::NONE,
        };
        let entry = LogEntry { cursor: at(*seq), logged_at: DateTime::UNIX_EPOCH, event, raw: None };
        self.hub.publish(&entry, &Outcome::default());
        *seq
    }

    pub async fn connect(&self, query: &str) -> Client {
        let url = format!("ws://{}/stream?{query}", self.address);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Client { socket }
    }

    /// Connects with server-sent events.
    pub async fn listen(&self, query: &str) -> EventSource {
        EventSource::open(&format!("http://{}/events?{query}", self.address), None).await.unwrap()
    }

    /// Upgrades a bare socket to WebSocket. Returns the socket and the head of the response.
    pub async fn connect_raw(&self, more_headers: &str) -> (TcpStream, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET /stream HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more_headers}\r\n",
            self.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        (socket, String::from_utf8(head).unwrap())
    }
}

/// Gives each connection another client, since the limits tested here are those of all clients together.
fn of_own_client(mut options: StreamOptions) -> StreamOptions {
    options.client.client = living_map::access::shares::Client::Token(Uuid::new_v4().to_string().into());
    options
}

async fn upgrade(State(streams): State<Streams>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let options = match StreamOptions::from_query(parts.uri.query().unwrap_or_default()) {
        Ok(options) => of_own_client(options),
        Err(error) => return (http::StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match streams.upgrade(&mut parts, options, || Ok::<_, UpgradeError>(())) {
        Ok(response) => response,
        Err(error) => (error.status(), error.headers(), error.to_string()).into_response(),
    }
}

async fn open(State(streams): State<Streams>, request: Request) -> Response {
    let options = of_own_client(StreamOptions::from_query(request.uri().query().unwrap_or_default()).unwrap());
    let connection = request.extensions().get::<Connection>().expect("the server provides it").clone();
    match streams.open(options, connection, || Ok::<_, OpenError>(())).await {
        Ok(response) => response,
        Err(error) => (http::StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

pub struct Client<S = MaybeTlsStream<TcpStream>> {
    pub socket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// The next message of any kind; `None` at the end.
    pub async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next());
        next.await.expect("a message should have arrived").and_then(Result::ok)
    }

    /// The next JSON frame.
    pub async fn frame(&mut self) -> Value {
        loop {
            match self.message().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// The positions of the next `n` events.
    pub async fn events(&mut self, n: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.len() < n {
            let frame = self.frame().await;
            assert_eq!(frame["kind"], "event", "{frame}");
            seqs.push(seq_of(&frame["cursor"]));
        }
        seqs
    }

    /// The position of the next frame, which must be a snapshot.
    pub async fn snapshot(&mut self) -> u64 {
        let frame = self.frame().await;
        assert_eq!(frame["kind"], "snapshot", "{frame}");
        seq_of(&frame["data"]["meta"]["cursor"])
    }

    /// Reads until the close frame and the end of the stream. Returns the close code.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.message().await {
                Some(Message::Close(Some(frame))) => {
                    // the library sends its close frame when it is polled again
                    assert!(self.message().await.is_none(), "a message follows the close frame");
                    return frame.code.into();
                }
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }
}

pub fn seq_of(cursor: &Value) -> u64 {
    let cursor: Cursor = cursor.as_str().unwrap().parse().unwrap();
    assert_eq!(cursor.epoch, EPOCH);
    cursor.seq
}
