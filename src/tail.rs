//! `living-map tail`: follows a server's stream in a terminal.

mod begin;
mod show;

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{self, Message};
use url::Url;

use begin::Since;
use show::{Output, Show, printable};

/// Options of `tail`.
#[derive(Args)]
pub struct Tail {
    /// Address of the server
    #[arg(id = "LIVING_MAP_URL", long = "url", env, value_name = "URL", default_value = "http://127.0.0.1:7017")]
    url: Url,
    /// API token or JSON Web Token, if the server requires one
    #[arg(id = "LIVING_MAP_TOKEN", long = "token", env, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Only events of these subjects, patterns separated by commas (`agent.>,usage.*`)
    #[arg(long)]
    types: Option<String>,
    /// Only events about this entity, by any of its ids
    #[arg(long)]
    entity: Option<String>,
    /// Only events that change these layers or are about their entities, separated by commas
    #[arg(long)]
    layers: Option<String>,
    /// Start at a time, or a duration ago (`90s`, `15m`, `2h`, `7d`)
    #[arg(long, value_parser = Since::read, conflicts_with = "cursor")]
    since: Option<Since>,
    /// Continue after this cursor
    #[arg(long)]
    cursor: Option<String>,
    /// Output format: a readable line for each event, or the unchanged frames
    #[arg(long, default_value = "text")]
    output: Output,
}

/// Seconds between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Longest silence before the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(90);

/// Runs until it is interrupted or its output is closed. After the first connection it reconnects automatically and
/// resumes after the last printed event.
pub async fn run(tail: Tail) -> anyhow::Result<()> {
    let base = http_base(&tail.url)?;
    let mut cursor = match &tail.cursor {
        Some(cursor) => cursor.clone(),
        None => begin::cursor(&base, tail.since, authorization(tail.token.as_deref())?).await?,
    };
    let show = Show::to_stdout(tail.output);
    let mut connected = false;
    loop {
        match follow(&tail, &base, show, &mut cursor, &mut connected).await {
            Ok(Ended::OutputClosed) => return Ok(()),
            Ok(Ended::ByServer) => eprintln!("the server ended the stream; resuming"),
            Err(error) if !connected || error.is::<Refused>() => return Err(error),
            Err(error) => eprintln!("{error:#}; resuming"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The server rejected the request; a retry would be rejected too.
#[derive(Debug, thiserror::Error)]
#[error("the server rejected the request: {0}")]
struct Refused(String);

enum Ended {
    ByServer,
    OutputClosed,
}

async fn follow(
    tail: &Tail,
    base: &Url,
    show: Show,
    cursor: &mut String,
    connected: &mut bool,
) -> anyhow::Result<Ended> {
    let url = stream_url(tail, base, cursor)?;
    let mut request = url.as_str().into_client_request().with_context(|| format!("cannot follow {url}"))?;
    if let Some(value) = authorization(tail.token.as_deref())? {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let (mut stream, _) = match tokio_tungstenite::connect_async(request).await {
        Err(tungstenite::Error::Http(answer)) if answer.status().is_client_error() => {
            return Err(refusal(&answer).into());
        }
        connected => connected.with_context(|| format!("cannot follow {url}"))?,
    };
    *connected = true;
    while let Some(message) = tokio::time::timeout(SILENCE, stream.next()).await.context("no data from the server")? {
        let text = match message.context("the connection was lost")? {
            Message::Text(text) => text,
            Message::Ping(payload) => {
                stream.send(Message::Pong(payload)).await?;
                continue;
            }
            Message::Close(_) => return Ok(Ended::ByServer),
            _ => continue,
        };
        let frame: Value = serde_json::from_str(&text).context("the server sent an invalid frame")?;
        let snapshot = frame["kind"] == "snapshot";
        let position = if snapshot { &frame["data"]["meta"]["cursor"] } else { &frame["cursor"] };
        if let Some(position) = position.as_str() {
            if snapshot {
                let position = printable(position);
                eprintln!("the server cannot resume after {cursor}: events up to {position} are missing");
            }
            position.clone_into(cursor);
        }
        if let Some(line) = show.line(&frame, &text)
            && writeln!(std::io::stdout(), "{line}").is_err()
        {
            return Ok(Ended::OutputClosed);
        }
    }
    Ok(Ended::ByServer)
}

/// `Authorization` header.
fn authorization(token: Option<&str>) -> anyhow::Result<Option<HeaderValue>> {
    let Some(token) = token else { return Ok(None) };
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value =
        value.map_err(|_| anyhow::anyhow!("LIVING_MAP_TOKEN cannot be sent: expected visible characters"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Detail of the server's problem document, or the status.
fn refusal(answer: &tungstenite::http::Response<Option<Vec<u8>>>) -> Refused {
    let document = answer.body().as_deref().and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let detail = document.as_ref().and_then(|document| document["detail"].as_str());
    Refused(detail.map_or_else(|| answer.status().to_string(), printable))
}

/// The server's address with `http` or `https`.
fn http_base(url: &Url) -> anyhow::Result<Url> {
    let mut base = url.clone();
    let scheme = match url.scheme() {
        "http" | "ws" => Ok("http"),
        "https" | "wss" => Ok("https"),
        _ => Err(()),
    };
    let set = scheme.and_then(|scheme| base.set_scheme(scheme));
    set.map_err(|()| anyhow::anyhow!("{url}: expected an address such as http://127.0.0.1:7017"))?;
    Ok(base)
}

fn stream_url(tail: &Tail, base: &Url, cursor: &str) -> anyhow::Result<Url> {
    let mut url = base.join("/living-map/stream")?;
    let scheme = if base.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| anyhow::anyhow!("{base} has no stream"))?;
    let mut query = url.query_pairs_mut();
    query.append_pair("snapshot", "false");
    for (name, value) in [
        ("types", tail.types.as_deref()),
        ("entity", tail.entity.as_deref()),
        ("layers", tail.layers.as_deref()),
        ("cursor", Some(cursor)),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    drop(query);
    Ok(url)
}
