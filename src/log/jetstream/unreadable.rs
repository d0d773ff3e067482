//! Messages that the client library cannot read, and moving them out of the way.
//!
//! A publisher can put bytes into a subject or a header that async-nats takes for a broken connection: it disconnects,
//! connects again, receives the same message, and so on for ever. The server's JSON API returns the same message in base64,
//! whatever its bytes. So after several stops at the same position, the messages ahead are read that way, and unreadable ones
//! are moved: a readable copy is appended to the log, the original is deleted. The id of the copy is derived from the
//! position, so that processes that find the same message at the same time create one copy.

use std::str::{FromStr, from_utf8};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderName;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::stream::{AppendContext, LogStream};
use crate::bus::ApiError;
use crate::log::LogError;
use crate::model::subject;

/// Times in a row that reading may start at the same position before the messages ahead are checked. A lost connection costs
/// one or two; a check that finds nothing costs one request.
const MAX_REPEATS: u32 = 3;

/// Timeout of one request, and number of attempts: another reader may make the client disconnect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;

/// Maximum size of the escaped subject or headers in a copy, bytes. The server accepts 64 KiB of headers.
const MAX_ESCAPED: usize = 24 * 1024;

/// Subject of copies whose own subject the log does not record.
const SUBJECT: &str = "living_map.unreadable";

/// Replaces bytes that are not UTF-8, in the client and in the server's JSON.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Finds and moves unreadable messages of one stream.
#[derive(Debug)]
pub struct UnreadableMessages {
    stream: Arc<LogStream>,
    /// Locked while messages are moved, so that the tasks of this process do not interfere. Holds the position of a message
    /// that was copied and may not be deleted yet.
    copied: tokio::sync::Mutex<Option<u64>>,
    /// Why an unreadable message cannot be moved.
    stuck: Mutex<Option<String>>,
}

/// Detects that reading starts at the same position again and again.
#[derive(Debug, Default)]
pub struct StallDetector {
    position: Option<u64>,
    starts: u32,
}

impl StallDetector {
    /// Counts a start at `position`; returns whether there were more than [`MAX_REPEATS`] in a row.
    pub fn is_stalled(&mut self, position: u64) -> bool {
        self.starts = if self.position == Some(position) { self.starts.saturating_add(1) } else { 1 };
        self.position = Some(position);
        self.starts > MAX_REPEATS
    }

    /// Resets the count.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Response to `STREAM.MSG.GET`.
#[derive(Debug, Deserialize)]
struct GetResponse {
    message: RawMessage,
}

/// A message in the server's JSON.
#[derive(Debug, Deserialize)]
struct RawMessage {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

/// Why a message was not moved.
enum MoveError {
    /// The server does not answer now.
    Unavailable(LogError),
    /// The server rejected a request.
    Rejected(String),
}

impl UnreadableMessages {
    pub fn new(stream: Arc<LogStream>) -> Self {
        Self { stream, copied: tokio::sync::Mutex::default(), stuck: Mutex::default() }
    }

    /// Why reading has stopped before an unreadable message that cannot be moved; `None` when it has not.
    pub fn stuck(&self) -> Option<String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_stuck(&self, problem: Option<String>) {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problem.as_ref().filter(|problem| stuck.as_ref() != Some(problem)) {
            tracing::error!(problem, "an unreadable message stops the log's readers and cannot be moved");
        }
        *stuck = problem;
    }

    /// Checks the messages from position `from` on, and moves unreadable ones to the end of the log. Stops `ahead` messages
    /// after the last unreadable one, or at the end that the log had when it started.
    pub async fn clear(&self, from: u64, ahead: u64) -> Result<(), LogError> {
        let mut copied = self.copied.lock().await;
        match self.move_from(from, ahead, &mut copied).await {
            Ok(()) => {
                self.set_stuck(None);
                Ok(())
            }
            Err(MoveError::Unavailable(error)) => Err(error),
            Err(MoveError::Rejected(problem)) => {
                self.set_stuck(Some(problem.clone()));
                Err(LogError::Unavailable(problem))
            }
        }
    }

    async fn move_from(&self, from: u64, ahead: u64, copied: &mut Option<u64>) -> Result<(), MoveError> {
        let state = self.stream.fetch_state().await.map_err(MoveError::Unavailable)?;
        let context = self.stream.append_context().await.map_err(MoveError::Unavailable)?;
        let deny_delete = state.info.config.get("deny_delete") == Some(&Value::Bool(true));
        let (mut next, mut until) = (from, from.saturating_add(ahead));
        while next <= until.min(state.bounds.last) {
            let wanted = json!({"seq": next, "next_by_subj": ">"});
            let message = match self.request::<GetResponse>("STREAM.MSG.GET", &wanted).await? {
                Response::Ok(response) => response.message,
                Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => return Ok(()),
                Response::Err { error } => return Err(MoveError::Rejected(error.to_string())),
            };
            next = message.seq + 1;
            let headers = decode(&message.hdrs)?;
            if is_readable(&message.subject, &headers) {
                continue;
            }
            if deny_delete {
                return Err(MoveError::Rejected(format!(
                    "the message at {} is unreadable, and the stream does not allow deleting messages (deny_delete)",
                    message.seq
                )));
            }
            if *copied != Some(message.seq) {
                self.copy(&message, &headers, &context).await?;
                *copied = Some(message.seq);
            }
            self.delete(message.seq).await?;
            *copied = None;
            until = next.saturating_add(ahead);
        }
        Ok(())
    }

    /// Appends a readable copy of `original` to the log, unless it is there already.
    async fn copy(&self, original: &RawMessage, headers: &[u8], context: &AppendContext) -> Result<(), MoveError> {
        let mut payload = decode(&original.data)?;
        let plain = plain(&original.subject);
        let recorded = context.subjects.iter().any(|pattern| pattern.matches(&plain));
        let subject = if recorded && subject::validate(&plain).is_ok() { plain } else { SUBJECT.to_owned() };
        let mut copy_headers = [
            ("Nats-Msg-Id", format!("unreadable:{}:{}", self.stream.name(), original.seq)),
            ("Living-Map-Unreadable-Subject", original.subject.escape_default().to_string()),
            ("Living-Map-Unreadable-Headers", headers.escape_ascii().to_string()),
        ];
        let frame =
            "NATS/1.0\r\n\r\n".len() + copy_headers.iter().map(|(name, _)| name.len() + ": \r\n".len()).sum::<usize>();
        let mut room = context.max_message.saturating_sub(frame);
        for (nth, (_, value)) in copy_headers.iter_mut().enumerate() {
            // the payload has priority over the escaped subject and headers, the id over the payload
            let most = if nth == 0 { room } else { room.saturating_sub(payload.len()).min(MAX_ESCAPED) };
            // escaped text is ASCII: it can be cut anywhere
            value.truncate(most);
            room -= value.len();
        }
        if payload.len() > room {
            tracing::warn!(
                seq = original.seq,
                bytes = payload.len(),
                room,
                "the copy of an unreadable message is truncated to the size limit"
            );
            payload.truncate(room);
        }
        let message = copy_headers
            .into_iter()
            .fold(PublishMessage::build(), |message, (name, value)| message.header(name, value.as_str()))
            .payload(payload.into());
        let rejected = |error: &dyn std::fmt::Display| {
            MoveError::Rejected(format!("the copy of an unreadable message was rejected: {error}"))
        };
        let timed_out =
            || MoveError::Unavailable(LogError::Unavailable("the server did not answer in time".to_owned()));
        let jetstream = self.stream.connection().jetstream();
        let permissions = self.stream.connection().permission_guard();
        let sent = jetstream.send_publish(subject.clone(), message);
        let sent = timeout(REQUEST_TIMEOUT, sent).await.map_err(|_| timed_out())?.map_err(|error| rejected(&error))?;
        // a timeout may be retried: the server recognises the copy by its id
        let subjects = [subject];
        let ack = timeout(REQUEST_TIMEOUT, permissions.run(&subjects, sent.into_future()))
            .await
            .map_err(|_| timed_out())?
            .map_err(|error| rejected(&error))?
            .map_err(|error| rejected(&error))?;
        if ack.stream != self.stream.name() {
            return Err(rejected(&format!("stream '{}' stored it", ack.stream)));
        }
        Ok(())
    }

    async fn delete(&self, seq: u64) -> Result<(), MoveError> {
        match self.request::<Value>("STREAM.MSG.DELETE", &json!({"seq": seq, "no_erase": true})).await? {
            Response::Ok(_) => {
                metrics::counter!("living_map_log_unreadable_total").increment(1);
                tracing::warn!(seq, "an unreadable message was moved to the end of the log");
                Ok(())
            }
            Response::Err { error } => match self.request::<Value>("STREAM.MSG.GET", &json!({"seq": seq})).await? {
                // another process deleted it
                Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(()),
                _ => Err(MoveError::Rejected(format!("the unreadable message at {seq} cannot be deleted: {error}"))),
            },
        }
    }

    async fn request<T: DeserializeOwned>(&self, operation: &str, body: &Value) -> Result<Response<T>, MoveError> {
        let mut problem = "the server did not answer in time".to_owned();
        for _ in 0..ATTEMPTS {
            let operation = format!("{operation}.{}", self.stream.name());
            match timeout(REQUEST_TIMEOUT, self.stream.connection().api_request(&operation, body)).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(ApiError::Denied(error))) => return Err(MoveError::Rejected(error.to_string())),
                Ok(Err(error)) => problem = error.to_string(),
                Err(_) => {}
            }
        }
        Err(MoveError::Unavailable(LogError::Unavailable(problem)))
    }
}

fn decode(base64: &str) -> Result<Vec<u8>, MoveError> {
    BASE64_STANDARD
        .decode(base64)
        .map_err(|error| MoveError::Rejected(format!("the server's response is not valid base64: {error}")))
}

/// The subject, with `_` in place of whitespace, control and replacement characters.
fn plain(subject: &str) -> String {
    let invalid = |c: char| c == REPLACEMENT || c.is_whitespace() || c.is_control();
    subject.chars().map(|c| if invalid(c) { '_' } else { c }).collect()
}

/// Returns true if the client can read a message with this header block (may be empty), by the rules of its `try_read_op`. A message
/// with a status line is treated as a control message of the server, so the reader does not get it.
///
/// A subject with a replacement character counts as unreadable, since it may contain invalid bytes.
fn is_readable(subject: &str, headers: &[u8]) -> bool {
    if subject.contains(REPLACEMENT) {
        return false;
    }
    if headers.is_empty() {
        return true;
    }
    let Ok(headers) = from_utf8(headers) else { return false };
    let mut lines = headers.lines().peekable();
    let version = lines.next().and_then(|line| line.strip_prefix("NATS/1.0"));
    if subject.contains(char::is_whitespace) || version.is_none_or(|rest| !rest.trim().is_empty()) {
        return false;
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { return false };
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        // the client panics at a carriage return inside a value
        if HeaderName::from_str(name).is_err() || value.trim_end().contains('\r') {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_messages_are_readable() {
        for headers in
            ["", "NATS/1.0\r\n\r\n", "NATS/1.0\r\na: b\r\n  more\r\nc:\r\n\r\n", "NATS/1.0\r\na: \u{e9}:\t\r\n\r\n"]
        {
            assert!(is_readable("city.event.\u{e9}", headers.as_bytes()), "{headers:?}");
        }
    }

    #[test]
    fn messages_that_the_client_cannot_parse_are_unreadable() {
        for headers in [
            &b"NATS/1.0\r\na: \xff\r\n\r\n"[..],
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na b: c\r\n\r\n",
            b"NATS/1.0\r\n\xc3\xa9: c\r\n\r\n",
            b"NATS/1.0\r\na: b\rc\r\n\r\n",
            b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
            b"NATS/2.0\r\n\r\n",
        ] {
            assert!(!is_readable("city.event.x", headers), "{}", headers.escape_ascii());
        }
        assert!(!is_readable("city.event.\u{fffd}", b""));
        assert!(!is_readable("city.event.\u{2003}x", b"NATS/1.0\r\n\r\n"));
        assert!(is_readable("city.event.\u{2003}x", b""), "without headers only ASCII blanks separate");
        assert_eq!(plain("city.event.\u{fffd}\u{2003}x"), "city.event.__x");
    }

    #[test]
    fn starting_repeatedly_at_one_position_is_a_stall() {
        let mut stalls = StallDetector::default();
        for position in [7, 7, 7, 8, 8, 8] {
            assert!(!stalls.is_stalled(position));
        }
        assert!(stalls.is_stalled(8) && stalls.is_stalled(8));
        stalls.reset();
        assert!(!stalls.is_stalled(8));
    }
}
