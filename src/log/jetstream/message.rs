//! Reading messages of the stream as log entries, and the headers of dead letter events.

use async_nats::HeaderMap;
use async_nats::jetstream::message::Info;

use serde_json::Value;

use super::bridged;
use crate::model::subject::is_dead_letter;
use crate::model::{Cursor, Epoch, Event, LogEntry, envelope};

/// The log entry of a message delivered with `info`.
pub fn entry_of(message: &async_nats::Message, info: &Info<'_>, epoch: Epoch) -> LogEntry {
    let headers = message.headers.as_ref().map(pairs).unwrap_or_default();
    let (subject, headers) = bridged::original(message.subject.as_str(), headers);
    envelope::read(&envelope::Message {
        subject,
        headers: &headers,
        body: &message.payload,
        cursor: Cursor { epoch, seq: info.stream_sequence },
        logged_at: info.published,
    })
}

/// The first value of each header, sorted by name: a `HeaderMap` has no order, and every replica must read the same entry.
fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut pairs: Vec<(&str, &str)> = headers
        .iter()
        .filter_map(|(name, values)| Some((AsRef::<str>::as_ref(name), values.first()?.as_str())))
        .collect();
    pairs.sort_unstable();
    pairs
}

/// Headers of a dead letter event, by the fields of `dead_letter` in its envelope, for consumers that do not read bodies.
const DEAD_LETTER_HEADERS: [(&str, &str); 7] = [
    ("id", "Living-Map-Dead-Letter"),
    ("processor", "Living-Map-Processor"),
    ("error", "Living-Map-Error"),
    ("attempts", "Living-Map-Attempts"),
    ("origin_stream", "Living-Map-Origin-Stream"),
    ("origin_sequence", "Living-Map-Origin-Sequence"),
    ("origin_cursor", "Living-Map-Origin-Cursor"),
];

/// The headers of an event, if it is a dead letter event of this server.
pub fn dead_letter_headers(event: &Event) -> Vec<(&'static str, String)> {
    let about = event.envelope.as_ref().and_then(|envelope| envelope.get("dead_letter")?.as_object());
    let Some(about) = about.filter(|_| is_dead_letter(&event.event_type)) else { return Vec::new() };
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    // a header value is one line of printable ASCII
    let plain = |text: String| text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).take(500).collect();
    let header = |(field, name): (&str, &'static str)| Some((name, about.get(field).and_then(text).map(plain)?));
    DEAD_LETTER_HEADERS.into_iter().filter_map(header).collect()
}
