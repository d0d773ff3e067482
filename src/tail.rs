//! `living-map tail`: follows a server's stream of server-sent events in a terminal.

mod begin;
mod events;
mod names;
mod server;
mod show;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use futures::StreamExt;
use living_map::model::{Cursor, json};
use living_map::words::Language;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use begin::Since;
use events::Events;
use server::{Refused, Server, failure, send};
use show::{Output, Show, printable};

/// Options of `tail`.
#[derive(Args)]
pub struct Tail {
    /// Address of the server, with the path under which a proxy serves it; `HTTPS_PROXY` and `NO_PROXY` apply
    #[arg(id = "LIVING_MAP_URL", long = "url", env, value_name = "URL", default_value = "http://127.0.0.1:7017")]
    url: Url,
    /// API token or JSON Web Token, if the server requires one
    #[arg(id = "LIVING_MAP_TOKEN", long = "token", env, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificates in PEM format of authorities to trust, in addition to the system's
    #[arg(id = "LIVING_MAP_CA_FILE", long = "ca-file", env, value_name = "FILE")]
    ca_file: Option<PathBuf>,
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
    /// Output format: a sentence or the fields of each event, or the unchanged frames
    #[arg(long, default_value = "text")]
    output: Output,
    /// Language of the sentences; by default that of the environment (`LC_ALL`, `LC_MESSAGES`, `LANG`), or English
    #[arg(long, value_parser = PossibleValuesParser::new(["en", "uk"]).try_map(|code| code.parse::<Language>()))]
    language: Option<Language>,
}

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Longest silence before the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(90);

/// Runs until it is interrupted or its output is closed. After the first connection it reconnects automatically and
/// resumes after the last printed event.
pub async fn run(tail: Tail) -> anyhow::Result<()> {
    let server = Server::new(&tail.url, tail.token.as_deref(), tail.ca_file.as_deref())?;
    let mut cursor = match &tail.cursor {
        Some(cursor) => cursor.clone(),
        None => begin::cursor(&server, tail.since).await?,
    };
    let mut show = Show::to_stdout(tail.output, tail.language.unwrap_or_else(language_of_environment));
    let mut connected = false;
    loop {
        match follow(&server, &tail, &mut show, &mut cursor, &mut connected).await {
            Ok(Ended::OutputClosed) => return Ok(()),
            Ok(Ended::Skipped) => continue,
            Ok(Ended::ByServer) => eprintln!("the server ended the stream; resuming"),
            Err(error) if !connected || error.is::<Refused>() => return Err(error),
            Err(error) => eprintln!("{error:#}; resuming"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The language of the locale, by the precedence of POSIX; English if there are no texts in it.
fn language_of_environment() -> Language {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
    locale
        .into_iter()
        .find(|locale| !locale.is_empty())
        .and_then(|locale| Language::of_locale(&locale))
        .unwrap_or(Language::En)
}

enum Ended {
    ByServer,
    OutputClosed,
    /// The cursor has been replaced, since the events after it are missing.
    Skipped,
}

async fn follow(
    server: &Server,
    tail: &Tail,
    show: &mut Show,
    cursor: &mut String,
    connected: &mut bool,
) -> anyhow::Result<Ended> {
    let request = server.get(stream_url(tail, server, cursor)?).header(ACCEPT, "text/event-stream");
    let answer = timeout(SILENCE, send(request)).await.context("no data from the server")??;
    let status = answer.status();
    if !status.is_success() {
        let problem: Value = answer.json().await.unwrap_or_default();
        if status != StatusCode::GONE {
            return Err(failure(status, &problem));
        }
        let position = newest_resumable(server, cursor, &problem).await?;
        let shown = printable(&position);
        eprintln!("the server cannot resume after {cursor}: events up to {shown} are missing");
        *cursor = position;
        return Ok(Ended::Skipped);
    }
    let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    anyhow::ensure!(content_type.starts_with("text/event-stream"), "the response is not a stream but {content_type:?}");
    *connected = true;
    let (mut chunks, mut events) = (answer.bytes_stream(), Events::default());
    while let Some(chunk) = timeout(SILENCE, chunks.next()).await.context("no data from the server")? {
        events.feed(&chunk.map_err(reqwest::Error::without_url).context("the connection was lost")?)?;
        while let Some(text) = events.next() {
            let frame = json::parse(text.as_bytes()).context("the server sent an invalid frame")?.value;
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
    }
    Ok(Ended::ByServer)
}

/// Position at which a stream that cannot be resumed after `cursor` continues without repeating an event: the oldest one
/// that is kept if that is later, otherwise the current one, since the cursor is not of this log.
async fn newest_resumable(server: &Server, cursor: &str, problem: &Value) -> anyhow::Result<String> {
    let oldest = problem["oldest_cursor"].as_str().and_then(|oldest| oldest.parse::<Cursor>().ok());
    match (oldest, cursor.parse::<Cursor>()) {
        (Some(oldest), Ok(own)) if oldest.epoch == own.epoch && oldest.seq > own.seq => Ok(oldest.to_string()),
        _ => begin::cursor(server, None).await,
    }
}

fn stream_url(tail: &Tail, server: &Server, cursor: &str) -> anyhow::Result<Url> {
    let mut url = server.url("events/stream")?;
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
