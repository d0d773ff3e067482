//! Encoding of frames as server-sent events: `event` is the kind, `id` the cursor, `data` the JSON without line breaks.

use bytes::Bytes;
use chrono::Utc;

use crate::model::Cursor;
use crate::stream::frame::Frame;
use crate::stream::protocol::{self, SNAPSHOT_PREFIX, SNAPSHOT_SUFFIX, TextFrame};

/// A comment, which clients ignore.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// Appends an `event` frame and its `alert` frames. `at` is any position of the same log.
pub fn event(chunk: &mut Vec<u8>, at: Cursor, frame: &Frame) {
    let cursor = Cursor { seq: frame.seq(), ..at };
    push(chunk, "event", Some(cursor), &frame.json());
    for alert in frame.alerts() {
        push(chunk, "alert", Some(cursor), &alert);
    }
}

/// A `snapshot` frame in parts: beginning, shared JSON, end.
pub fn snapshot(cursor: Cursor, json: Bytes) -> [Bytes; 3] {
    let mut head = format!("event: snapshot\nid: {cursor}\ndata: ").into_bytes();
    head.extend_from_slice(SNAPSHOT_PREFIX);
    [head.into(), json, [SNAPSHOT_SUFFIX, b"\n\n"].concat().into()]
}

/// A `ping` frame.
pub fn ping(cursor: Cursor) -> Bytes {
    single("ping", Some(cursor), &protocol::ping(Utc::now(), cursor))
}

/// An `error` frame.
pub fn error(code: &str, message: &str) -> Bytes {
    single("error", None, &protocol::error(Utc::now(), code, message))
}

/// A `reconnect` frame with the `retry` field that browsers follow, and the position, which a client with filters may
/// not know.
pub fn reconnect(after_ms: u64, cursor: Option<Cursor>) -> Bytes {
    let mut chunk = format!("retry: {after_ms}\n").into_bytes();
    push(&mut chunk, "reconnect", cursor, &protocol::reconnect(after_ms).json());
    chunk.into()
}

fn single(kind: &str, cursor: Option<Cursor>, frame: &TextFrame) -> Bytes {
    let mut chunk = Vec::new();
    push(&mut chunk, kind, cursor, &frame.json());
    chunk.into()
}

fn push(chunk: &mut Vec<u8>, kind: &str, cursor: Option<Cursor>, json: &[u8]) {
    chunk.extend_from_slice(b"event: ");
    chunk.extend_from_slice(kind.as_bytes());
    if let Some(cursor) = cursor {
        chunk.extend_from_slice(format!("\nid: {cursor}").as_bytes());
    }
    chunk.extend_from_slice(b"\ndata: ");
    chunk.extend_from_slice(json);
    chunk.extend_from_slice(b"\n\n");
}
