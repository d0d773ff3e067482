//! From a message of the stream to an entry of the log.

use async_nats::HeaderMap;
use async_nats::jetstream::message::Info;

use crate::model::{Cursor, Epoch, LogEntry, envelope};

/// Reads a message that the server delivered with `info`.
pub fn entry_of(message: &async_nats::Message, info: &Info<'_>, epoch: Epoch) -> LogEntry {
    let headers = message.headers.as_ref().map(pairs).unwrap_or_default();
    envelope::read(&envelope::Message {
        subject: message.subject.as_str(),
        headers: &headers,
        body: &message.payload,
        cursor: Cursor { epoch, seq: info.stream_sequence },
        logged_at: info.published,
    })
}

/// The headers by name, a repeated one by its first value; ordered, since the map they come in is not and every replica
/// must read the same.
fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut pairs: Vec<(&str, &str)> = headers
        .iter()
        .filter_map(|(name, values)| Some((AsRef::<str>::as_ref(name), values.first()?.as_str())))
        .collect();
    pairs.sort_unstable();
    pairs
}
