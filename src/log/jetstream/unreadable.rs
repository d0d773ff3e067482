//! Messages of the stream that the client library cannot read, and how they are got out of the way.
//!
//! Whoever may publish can put bytes into a subject or a header that async-nats takes for a broken connection: it drops
//! it, connects again, is given the same message, and so on for ever. The server's own JSON answer has the same message
//! in base64, whatever is in it. So whoever has come to the same position again and again looks ahead that way, and moves
//! what is unreadable: a copy that can be read goes to the end of the log, the original is deleted. The copy has an id
//! made of the position, so that processes that find the same message at the same time make one copy.

use std::str::{FromStr, from_utf8};
use std::sync::{Mutex, PoisonError};
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

use super::stream::{Known, LogStream};
use crate::log::LogError;
use crate::model::subject;

/// How many times in a row one may come to the same position before it is looked at. A lost connection costs one or two;
/// with nothing there, a look costs one request.
const FRUITLESS: u32 = 3;

/// How long one answer is waited for, and how many times it is asked for: another reader may drop the connection.
const ANSWER: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;

/// What a description of a subject or of headers takes at most, bytes. The server takes 64 KiB of headers.
const DESCRIBED_MAX: usize = 24 * 1024;

/// The subject of copies whose own one the log does not record.
const SUBJECT: &str = "living_map.unreadable";

/// What the client puts where bytes are no UTF-8, and the server in its JSON.
const GARBLED: char = char::REPLACEMENT_CHARACTER;

/// What is known about such messages of one stream.
#[derive(Debug, Default)]
pub struct Unreadable {
    /// Held while messages are looked at, so that this process disturbs itself no more; in it the position whose copy is
    /// made and whose original may still be there.
    copied: tokio::sync::Mutex<Option<u64>>,
    /// Why one cannot be moved.
    stuck: Mutex<Option<String>>,
}

impl Unreadable {
    /// Why reading stops in front of such a message; none when it does not.
    pub fn stuck(&self) -> Option<String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, problem: Option<String>) {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = problem.as_ref().filter(|problem| stuck.as_ref() != Some(problem)) {
            tracing::error!(problem, "a message that cannot be read is in the way, and cannot be moved");
        }
        *stuck = problem;
    }
}

/// Counts how often somebody began at the same position.
#[derive(Debug, Default)]
pub struct Stalled {
    at: Option<u64>,
    times: u32,
}

impl Stalled {
    /// Begins at `position`; whether that was so too many times in a row.
    pub fn again(&mut self, position: u64) -> bool {
        self.times = if self.at == Some(position) { self.times.saturating_add(1) } else { 1 };
        self.at = Some(position);
        self.times > FRUITLESS
    }

    /// Counts from the start.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The server's answer to `STREAM.MSG.GET`.
#[derive(Debug, Deserialize)]
struct Found {
    message: Stored,
}

/// A message as the server's JSON has it.
#[derive(Debug, Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

/// Why a message stays where it is.
enum Stays {
    /// Nobody answers now.
    Unanswered(LogError),
    /// The server does not want it moved.
    Refused(String),
}

impl LogStream {
    /// Looks at the messages from position `from` on, and moves those that the client cannot read to the end. Ends
    /// `ahead` messages behind the last of them, or at the log's end as it was.
    pub async fn clear_unreadable(&self, from: u64, ahead: u64) -> Result<(), LogError> {
        let mut copied = self.unreadable().copied.lock().await;
        match self.sweep(from, ahead, &mut copied).await {
            Ok(()) => {
                self.unreadable().note(None);
                Ok(())
            }
            Err(Stays::Unanswered(error)) => Err(error),
            Err(Stays::Refused(problem)) => {
                self.unreadable().note(Some(problem.clone()));
                Err(LogError::Unavailable(problem))
            }
        }
    }

    async fn sweep(&self, from: u64, ahead: u64, copied: &mut Option<u64>) -> Result<(), Stays> {
        let seen = self.look().await.map_err(Stays::Unanswered)?;
        let known = self.known().await.map_err(Stays::Unanswered)?;
        let keeps = seen.info.config.get("deny_delete") == Some(&Value::Bool(true));
        let (mut next, mut until) = (from, from.saturating_add(ahead));
        while next <= until.min(seen.bounds.last) {
            let wanted = json!({"seq": next, "next_by_subj": ">"});
            let stored = match self.ask::<Found>("STREAM.MSG.GET", &wanted).await? {
                Response::Ok(found) => found.message,
                Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => return Ok(()),
                Response::Err { error } => return Err(Stays::Refused(error.to_string())),
            };
            next = stored.seq + 1;
            let headers = decoded(&stored.hdrs)?;
            if is_readable(&stored.subject, &headers) {
                continue;
            }
            if keeps {
                return Err(Stays::Refused(format!(
                    "the client cannot read the message at {}, and the stream does not let messages be deleted (deny_delete)",
                    stored.seq
                )));
            }
            if *copied != Some(stored.seq) {
                self.copy(&stored, &headers, &known).await?;
                *copied = Some(stored.seq);
            }
            self.delete(stored.seq).await?;
            *copied = None;
            until = next.saturating_add(ahead);
        }
        Ok(())
    }

    /// Puts what can be read of `stored` at the end of the log, unless it is there.
    async fn copy(&self, stored: &Stored, headers: &[u8], known: &Known) -> Result<(), Stays> {
        let mut payload = decoded(&stored.data)?;
        let plain = plain(&stored.subject);
        let recorded = known.subjects.iter().any(|pattern| pattern.matches(&plain));
        let subject = if recorded && subject::validate(&plain).is_ok() { plain } else { SUBJECT.to_owned() };
        let mut described = [
            ("Nats-Msg-Id", format!("unreadable:{}:{}", self.name(), stored.seq)),
            ("Living-Map-Unreadable-Subject", stored.subject.escape_default().to_string()),
            ("Living-Map-Unreadable-Headers", headers.escape_ascii().to_string()),
        ];
        let frame =
            "NATS/1.0\r\n\r\n".len() + described.iter().map(|(name, _)| name.len() + ": \r\n".len()).sum::<usize>();
        let mut room = known.max_message.saturating_sub(frame);
        for (nth, (_, value)) in described.iter_mut().enumerate() {
            // what describes gives way to the payload; the id does not
            let most = if nth == 0 { room } else { room.saturating_sub(payload.len()).min(DESCRIBED_MAX) };
            // what is escaped is ASCII: cut anywhere
            value.truncate(most);
            room -= value.len();
        }
        if payload.len() > room {
            tracing::warn!(
                seq = stored.seq,
                bytes = payload.len(),
                room,
                "a message is cut: its copy would be too large"
            );
            payload.truncate(room);
        }
        let message = described
            .into_iter()
            .fold(PublishMessage::build(), |message, (name, value)| message.header(name, value.as_str()))
            .payload(payload.into());
        let refused = |error: &dyn std::fmt::Display| Stays::Refused(format!("its copy was not taken: {error}"));
        let unanswered = || Stays::Unanswered(LogError::Unavailable("the server did not answer in time".to_owned()));
        let jetstream = self.connection().jetstream();
        let sent = jetstream.send_publish(subject, message);
        let sent = timeout(ANSWER, sent).await.map_err(|_| unanswered())?.map_err(|error| refused(&error))?;
        // unanswered is not refused: the copy is known by its id when it is sent again
        let ack =
            timeout(ANSWER, sent.into_future()).await.map_err(|_| unanswered())?.map_err(|error| refused(&error))?;
        if ack.stream != self.name() {
            return Err(refused(&format!("stream '{}' has it", ack.stream)));
        }
        Ok(())
    }

    async fn delete(&self, seq: u64) -> Result<(), Stays> {
        match self.ask::<Value>("STREAM.MSG.DELETE", &json!({"seq": seq, "no_erase": true})).await? {
            Response::Ok(_) => {
                metrics::counter!("living_map_log_unreadable_total").increment(1);
                tracing::warn!(seq, "a message that the client cannot read was moved to the end of the log");
                Ok(())
            }
            Response::Err { error } => match self.ask::<Value>("STREAM.MSG.GET", &json!({"seq": seq})).await? {
                // another process was faster
                Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(()),
                _ => Err(Stays::Refused(format!("the client cannot read the message at {seq}: {error}"))),
            },
        }
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str, body: &Value) -> Result<Response<T>, Stays> {
        let mut problem = "the server did not answer in time".to_owned();
        for _ in 0..ATTEMPTS {
            let subject = format!("{what}.{}", self.name());
            match timeout(ANSWER, self.connection().jetstream().request(subject, body)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => problem = error.to_string(),
                Err(_) => {}
            }
        }
        Err(Stays::Unanswered(LogError::Unavailable(problem)))
    }
}

fn decoded(base64: &str) -> Result<Vec<u8>, Stays> {
    BASE64_STANDARD.decode(base64).map_err(|error| Stays::Refused(format!("the server's answer is no base64: {error}")))
}

/// The subject, with a plain character for each that is not.
fn plain(subject: &str) -> String {
    let odd = |c: char| c == GARBLED || c.is_whitespace() || c.is_control();
    subject.chars().map(|c| if odd(c) { '_' } else { c }).collect()
}

/// Whether the client reads a message with this header block (empty: none), as its `try_read_op` does. A status makes it
/// take the message for a word of the server's, which is lost to the reader.
///
/// A subject with the character that stands for broken ones may be broken; it counts as if it were.
fn is_readable(subject: &str, headers: &[u8]) -> bool {
    if subject.contains(GARBLED) {
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
        // in the middle of a value, a return is more than the client bears
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
    fn what_the_client_reads_is_left_where_it_is() {
        for headers in
            ["", "NATS/1.0\r\n\r\n", "NATS/1.0\r\na: b\r\n  more\r\nc:\r\n\r\n", "NATS/1.0\r\na: \u{e9}:\t\r\n\r\n"]
        {
            assert!(is_readable("city.event.\u{e9}", headers.as_bytes()), "{headers:?}");
        }
    }

    #[test]
    fn what_the_client_breaks_at_is_not_readable() {
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
        assert!(is_readable("city.event.\u{2003}x", b""), "without headers only blanks separate");
        assert_eq!(plain("city.event.\u{fffd}\u{2003}x"), "city.event.__x");
    }

    #[test]
    fn only_the_same_position_again_and_again_is_a_stall() {
        let mut stalled = Stalled::default();
        for position in [7, 7, 7, 8, 8, 8] {
            assert!(!stalled.again(position));
        }
        assert!(stalled.again(8) && stalled.again(8));
        stalled.reset();
        assert!(!stalled.again(8));
    }
}
