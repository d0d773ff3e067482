//! A client that receives unmodified frames over either transport.

use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::support::process::Process;

/// Transport of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
}

/// Result of a connection attempt.
pub enum Opened {
    /// The JSON of each frame.
    Stream(BoxStream<'static, String>),
    /// The status and body of an error response; status 0 without a response.
    Refused(u16, Value),
}

/// Connects to `address` (host and port), and resumes after `cursor` if there is one.
pub async fn open(address: &str, transport: Transport, cursor: Option<&str>) -> Opened {
    let resume = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    match transport {
        Transport::WebSocket => {
            match tokio_tungstenite::connect_async(format!("ws://{address}/living-map/stream{resume}")).await {
                Ok((socket, _)) => {
                    let texts = socket.filter_map(async |message| match message {
                        Ok(Message::Text(text)) => Some(text.to_string()),
                        _ => None,
                    });
                    Opened::Stream(texts.boxed())
                }
                Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                    Opened::Refused(answer.status().as_u16(), Value::Null)
                }
                Err(_) => Opened::Refused(0, Value::Null),
            }
        }
        Transport::Sse => {
            let Ok(answer) = reqwest::get(format!("http://{address}/living-map/events/stream{resume}")).await else {
                return Opened::Refused(0, Value::Null);
            };
            if answer.status() != 200 {
                let status = answer.status().as_u16();
                return Opened::Refused(status, answer.json().await.unwrap_or_default());
            }
            Opened::Stream(futures::stream::unfold((answer, Vec::new()), data).boxed())
        }
    }
}

/// Host and port of a server.
pub fn address_of(server: &Process) -> String {
    server.url("").trim_start_matches("http://").to_owned()
}

/// The data of the next event; `None` at the end, which may be within an event.
async fn data(
    (mut answer, mut buffer): (reqwest::Response, Vec<u8>),
) -> Option<(String, (reqwest::Response, Vec<u8>))> {
    loop {
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data: ") {
                let data = std::str::from_utf8(&data[..data.len() - 1]).expect("UTF-8").to_owned();
                return Some((data, (answer, buffer)));
            }
        }
        buffer.extend_from_slice(&answer.chunk().await.ok()??);
    }
}

/// Connects and panics on an error response.
pub async fn stream(server: &Process, transport: Transport, cursor: Option<&str>) -> BoxStream<'static, String> {
    match open(&address_of(server), transport, cursor).await {
        Opened::Stream(stream) => stream,
        Opened::Refused(status, document) => panic!("{transport:?} after {cursor:?}: {status} {document}"),
    }
}
