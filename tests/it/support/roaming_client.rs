//! A client that moves between equal servers with its cursor, over either transport, and records what it receives.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use living_map::model::Cursor;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Transport of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
}

/// Everything that a client has received so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Position of the first snapshot.
    pub began_at: Option<Cursor>,
    /// The last cursor.
    pub cursor: Option<Cursor>,
    /// Cursor and unmodified frame of every event.
    pub events: Vec<(Cursor, String)>,
    /// Number of connections.
    pub connections: usize,
    /// Number of `reconnect` frames.
    pub reconnect_frames: usize,
    /// Snapshots and error responses received instead of missed events.
    pub resyncs: Vec<String>,
}

/// Moves between servers until it is dropped.
pub struct RoamingClient {
    pub transport: Transport,
    seen: Arc<Mutex<Seen>>,
    move_on: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl RoamingClient {
    /// Connects to one of `servers` (`http://…`).
    pub fn start(servers: Vec<String>, transport: Transport, seed: u64) -> Self {
        let (seen, move_on) = <(Arc<Mutex<Seen>>, Arc<Notify>)>::default();
        let task = ClientTask {
            servers,
            transport,
            seen: Arc::clone(&seen),
            move_on: Arc::clone(&move_on),
            random: StdRng::seed_from_u64(seed),
        };
        Self { transport, seen, move_on, task: tokio::spawn(task.run()) }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("no panic while it is held").clone()
    }

    /// Makes the client disconnect and connect to a random server, which may be the same.
    pub fn move_on(&self) {
        self.move_on.notify_one();
    }
}

impl Drop for RoamingClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct ClientTask {
    servers: Vec<String>,
    transport: Transport,
    seen: Arc<Mutex<Seen>>,
    move_on: Arc<Notify>,
    random: StdRng,
}

impl ClientTask {
    async fn run(mut self) {
        loop {
            let server = self.servers[self.random.random_range(0..self.servers.len())].clone();
            let mut wait = Duration::from_millis(self.random.random_range(1..30));
            // a server that is being killed may accept a connection and never respond
            if let Ok(Some(mut frames)) = timeout(Duration::from_secs(5), self.open(&server)).await {
                self.with(|seen| seen.connections += 1);
                loop {
                    tokio::select! {
                        () = self.move_on.notified() => break,
                        frame = frames.next() => match frame {
                            Some(frame) => wait = self.take(&frame).unwrap_or(wait),
                            None => break,
                        },
                    }
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// The frames after its cursor; `None` if the server is unavailable.
    async fn open(&self, server: &str) -> Option<BoxStream<'static, String>> {
        let cursor = self.with(|seen| seen.cursor);
        let refused = match frames(server, self.transport, cursor).await {
            Ok(frames) => return Some(frames),
            Err(refused) => refused?,
        };
        if refused.status == 410 {
            self.with(|seen| {
                seen.resyncs.push(format!("{cursor:?}: {refused:?}"));
                seen.cursor = None;
            });
        }
        None
    }

    /// Records a frame. Returns the delay before reconnecting, if the frame contains one.
    fn take(&self, text: &str) -> Option<Duration> {
        let frame: Value = serde_json::from_str(text).expect("a frame is JSON");
        let cursor = |value: &Value| value.as_str().and_then(|text| text.parse::<Cursor>().ok());
        self.with(|seen| match frame["kind"].as_str() {
            Some("snapshot") => {
                let at = cursor(&frame["data"]["meta"]["cursor"]);
                if seen.began_at.is_some() {
                    seen.resyncs.push(format!("{:?}: snapshot at {at:?}", seen.cursor));
                }
                seen.began_at = seen.began_at.or(at);
                seen.cursor = at;
                None
            }
            Some("event") => {
                seen.cursor = cursor(&frame["cursor"]);
                seen.events.extend(seen.cursor.map(|cursor| (cursor, text.to_owned())));
                None
            }
            Some("ping") => {
                seen.cursor = cursor(&frame["cursor"]);
                None
            }
            Some("reconnect") => {
                seen.reconnect_frames += 1;
                // there are other servers, and the test should be short
                frame["after_ms"].as_u64().map(|after| Duration::from_millis(after / 20))
            }
            other => panic!("{other:?}: {text}"),
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Seen) -> R) -> R {
        act(&mut self.seen.lock().expect("no panic while it is held"))
    }
}

/// An error response.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub retry_after: Option<String>,
}

impl Refused {
    fn of(status: u16, headers: &http::HeaderMap) -> Self {
        let retry_after = headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { status, retry_after }
    }
}

/// The frames after `cursor`, until the server ends the stream.
///
/// # Errors
/// The error response; `None` if the server is unavailable or the connection breaks.
pub async fn frames(
    server: &str,
    transport: Transport,
    cursor: Option<Cursor>,
) -> Result<BoxStream<'static, String>, Option<Refused>> {
    let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    match transport {
        Transport::WebSocket => {
            let url = format!("{}/living-map/stream{query}", server.replace("http://", "ws://"));
            let (socket, _) = tokio_tungstenite::connect_async(url).await.map_err(|error| match error {
                Error::Http(answer) => Some(Refused::of(answer.status().as_u16(), answer.headers())),
                _ => None,
            })?;
            let text =
                |message: Result<Message, _>| async { message.ok()?.into_text().ok().map(|text| text.to_string()) };
            let messages = socket.take_while(|message| std::future::ready(message.is_ok())).filter_map(text);
            Ok(messages.filter(|text| std::future::ready(text.starts_with('{'))).boxed())
        }
        Transport::Sse => {
            // created once, since creation reads the system's certificates; without connections of earlier tests
            static CLIENT: LazyLock<reqwest::Client> =
                LazyLock::new(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client"));
            let url = format!("{server}/living-map/events/stream{query}");
            let answer = CLIENT.get(url).send().await.map_err(|_| None)?;
            if !answer.status().is_success() {
                return Err(Some(Refused::of(answer.status().as_u16(), answer.headers())));
            }
            Ok(futures::stream::unfold((answer.bytes_stream().boxed(), String::new()), next_data).boxed())
        }
    }
}

/// The `data` of the next complete event.
async fn next_data(
    (mut bytes, mut buffer): (BoxStream<'static, reqwest::Result<bytes::Bytes>>, String),
) -> Option<(String, (BoxStream<'static, reqwest::Result<bytes::Bytes>>, String))> {
    loop {
        if let Some((block, rest)) = buffer.split_once("\n\n") {
            let data = block.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
            let read_to = buffer.len() - rest.len();
            buffer.drain(..read_to);
            match data {
                Some(data) => return Some((data, (bytes, buffer))),
                None => continue,
            }
        }
        let more = bytes.next().await?.ok()?;
        buffer.push_str(std::str::from_utf8(&more).expect("UTF-8, not split within a character"));
    }
}
