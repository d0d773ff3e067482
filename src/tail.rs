//! `living-map tail`: follows a server's stream in a terminal.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{self, Message};
use url::Url;

/// What `tail` can be told.
#[derive(Args)]
pub struct Tail {
    /// The server
    #[arg(long, env = "LIVING_MAP_URL", default_value = "http://127.0.0.1:7017")]
    url: Url,
    /// An API token or a JSON Web Token, where the server asks for one
    #[arg(long, env = "LIVING_MAP_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Only events of these subjects, patterns separated by commas (`agent.>,usage.*`)
    #[arg(long)]
    types: Option<String>,
    /// Only events about this entity, by any of its names
    #[arg(long)]
    entity: Option<String>,
    /// Only events that change these layers or are about entities of theirs, separated by commas
    #[arg(long)]
    layers: Option<String>,
    /// Continue after this cursor
    #[arg(long)]
    cursor: Option<String>,
    /// A line for each event, for people, or the frames as they come
    #[arg(long, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Time, subject, entity, payload
    Text,
    /// One JSON object a line
    Json,
}

/// Seconds between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// A server that sends nothing at all for so long is gone.
const SILENCE: Duration = Duration::from_secs(90);

/// Runs until it is interrupted or its output is closed.
pub async fn run(tail: Tail) -> anyhow::Result<()> {
    let mut cursor = tail.cursor.clone();
    loop {
        match follow(&tail, &mut cursor).await {
            Ok(Ended::OutputClosed) => return Ok(()),
            Ok(Ended::ByServer) => eprintln!("the server ended the stream; resuming"),
            Err(error) if cursor.is_none() || error.is::<Refused>() => return Err(error),
            Err(error) => eprintln!("{error:#}; resuming"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The server does not take what it was asked, however often it is asked again.
#[derive(Debug, thiserror::Error)]
#[error("the server refuses: {0}")]
struct Refused(String);

enum Ended {
    ByServer,
    OutputClosed,
}

async fn follow(tail: &Tail, cursor: &mut Option<String>) -> anyhow::Result<Ended> {
    let url = stream_url(tail, cursor.as_deref())?;
    let mut request = url.as_str().into_client_request().with_context(|| format!("cannot follow {url}"))?;
    if let Some(token) = &tail.token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value =
            value.map_err(|_| anyhow::anyhow!("LIVING_MAP_TOKEN cannot be sent: expected visible characters"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let (mut stream, _) = match tokio_tungstenite::connect_async(request).await {
        Err(tungstenite::Error::Http(answer)) if answer.status().is_client_error() => {
            return Err(refusal(&answer).into());
        }
        connected => connected.with_context(|| format!("cannot follow {url}"))?,
    };
    while let Some(message) = tokio::time::timeout(SILENCE, stream.next()).await.context("the server fell silent")? {
        let text = match message.context("the connection broke")? {
            Message::Text(text) => text,
            Message::Ping(payload) => {
                stream.send(Message::Pong(payload)).await?;
                continue;
            }
            Message::Close(_) => return Ok(Ended::ByServer),
            _ => continue,
        };
        let frame: Value = serde_json::from_str(&text).context("the server sent what is no frame")?;
        let position = if frame["kind"] == "snapshot" { &frame["data"]["meta"]["cursor"] } else { &frame["cursor"] };
        if let Some(position) = position.as_str() {
            *cursor = Some(position.to_owned());
        }
        if let Some(line) = line(tail.output, &frame, &text)
            && writeln!(std::io::stdout(), "{line}").is_err()
        {
            return Ok(Ended::OutputClosed);
        }
    }
    Ok(Ended::ByServer)
}

/// What the server's problem document says, or the status alone.
fn refusal(answer: &tungstenite::http::Response<Option<Vec<u8>>>) -> Refused {
    let document = answer.body().as_deref().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let detail = document.as_ref().and_then(|document| document["detail"].as_str());
    Refused(detail.map_or_else(|| answer.status().to_string(), printable))
}

fn stream_url(tail: &Tail, cursor: Option<&str>) -> anyhow::Result<Url> {
    let mut url = tail.url.join("/living-map/stream")?;
    let scheme = match tail.url.scheme() {
        "http" | "ws" => Ok("ws"),
        "https" | "wss" => Ok("wss"),
        _ => Err(()),
    };
    let set = scheme.and_then(|scheme| url.set_scheme(scheme));
    set.map_err(|()| anyhow::anyhow!("{}: expected an address such as http://127.0.0.1:7017", tail.url))?;
    let mut query = url.query_pairs_mut();
    query.append_pair("snapshot", "false");
    for (name, value) in [
        ("types", tail.types.as_deref()),
        ("entity", tail.entity.as_deref()),
        ("layers", tail.layers.as_deref()),
        ("cursor", cursor),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    drop(query);
    Ok(url)
}

fn line(output: Output, frame: &Value, text: &str) -> Option<String> {
    let kind = frame["kind"].as_str()?;
    match (output, kind) {
        (Output::Json, _) => Some(text.to_owned()),
        (Output::Text, "event") => Some(format!(
            "{}  {:32}  {:24}  {}",
            frame["timestamp"].as_str().unwrap_or("-"),
            printable(frame["event_type"].as_str().unwrap_or("-")),
            printable(frame["entity_id"].as_str().unwrap_or("-")),
            printable(&frame["payload"].to_string()),
        )),
        (Output::Text, "snapshot") => Some(format!("-- snapshot at {} --", frame["data"]["meta"]["cursor"])),
        (Output::Text, "error" | "alert") => Some(format!("-- {kind}: {} --", printable(&frame.to_string()))),
        (Output::Text, _) => None,
    }
}

/// Publishers must not be able to steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}
