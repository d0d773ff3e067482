//! The frames of the stream. The JSON is the same for WebSocket and server-sent events.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::map::Outcome;
use crate::model::{AlertChange, Change, Cursor, EntityType, LogEntry, Notes, time};

/// Beginning of the JSON of a `snapshot` frame, before the snapshot.
pub const SNAPSHOT_PREFIX: &[u8] = br#"{"kind":"snapshot","data":"#;
/// End of the JSON of a `snapshot` frame, after the snapshot.
pub const SNAPSHOT_SUFFIX: &[u8] = b"}";

/// Maximum length of a server's WebSocket frame header, in bytes.
const MAX_HEADER_BYTES: usize = 10;

/// An `event` frame.
#[derive(Serialize)]
struct EventFrame<'a> {
    kind: &'static str,
    event_type: &'a str,
    timestamp: String,
    payload: &'a Value,
    cursor: Cursor,
    id: uuid::Uuid,
    entity_id: Option<&'a str>,
    entity_type: Option<EntityType>,
    changes: &'a [Change],
    #[serde(skip_serializing_if = "Notes::is_empty")]
    notes: &'a Notes,
}

/// A WebSocket text frame with JSON.
#[derive(Debug, Clone)]
pub struct TextFrame {
    wire: Bytes,
    header_len: usize,
}

impl TextFrame {
    /// The whole frame: header and JSON.
    #[must_use]
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The JSON without the header.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.wire.slice(self.header_len..)
    }

    /// Writes the header into the reserved bytes at the front of `buffer`, directly before the JSON, so that no bytes
    /// move.
    fn of_buffer(mut buffer: Vec<u8>) -> Self {
        let header = header(OpCode::Data(Data::Text), buffer.len() - MAX_HEADER_BYTES);
        let start = MAX_HEADER_BYTES - header.len();
        buffer[start..MAX_HEADER_BYTES].copy_from_slice(&header);
        Self { wire: Bytes::from(buffer).slice(start..), header_len: header.len() }
    }
}

/// The `event` frame of a log entry.
///
/// # Errors
/// A value cannot be serialized. JSON values always can.
pub fn event(entry: &LogEntry, outcome: &Outcome) -> serde_json::Result<TextFrame> {
    let event = &entry.event;
    let entity_id = outcome.entity_id.as_deref().or(event.entity_id.as_deref());
    let mut buffer = vec![0; MAX_HEADER_BYTES];
    serde_json::to_writer(
        &mut buffer,
        &EventFrame {
            kind: "event",
            event_type: &event.event_type,
            timestamp: time::text(event.timestamp),
            payload: &event.payload,
            cursor: entry.cursor,
            id: event.id,
            entity_id,
            entity_type: event.entity_type.or_else(|| entity_id.and_then(EntityType::of_id)),
            changes: &outcome.changes,
            notes: &event.notes,
        },
    )?;
    buffer.shrink_to_fit();
    Ok(TextFrame::of_buffer(buffer))
}

/// The `alert` frame of an alert that an entry raised or cleared. It follows the entry's `event` frame directly.
#[must_use]
pub fn alert(entry: &LogEntry, change: &AlertChange) -> TextFrame {
    let (timestamp, cursor) = (time::text(entry.logged_at), entry.cursor);
    let AlertChange { state, alert } = change;
    text(&json!({"kind": "alert", "state": state, "alert": alert, "timestamp": timestamp, "cursor": cursor}))
}

/// A `ping` frame: the connection works, and everything up to `cursor` was sent or filtered out.
#[must_use]
pub fn ping(now: DateTime<Utc>, cursor: Cursor) -> TextFrame {
    text(&json!({"kind": "ping", "timestamp": time::text(now), "cursor": cursor}))
}

/// An `error` frame. `code` is a stable name, `message` a text for people.
#[must_use]
pub fn error(now: DateTime<Utc>, code: &str, message: &str) -> TextFrame {
    text(&json!({"kind": "error", "error": message, "timestamp": time::text(now), "code": code}))
}

/// A `reconnect` frame: the server is stopping; reconnect after `after_ms`.
#[must_use]
pub fn reconnect(after_ms: u64) -> TextFrame {
    text(&json!({"kind": "reconnect", "after_ms": after_ms}))
}

fn text(value: &Value) -> TextFrame {
    let mut buffer = vec![0; MAX_HEADER_BYTES];
    buffer.extend_from_slice(value.to_string().as_bytes());
    TextFrame::of_buffer(buffer)
}

/// The bytes before a snapshot of `bytes` bytes: the frame header and [`SNAPSHOT_PREFIX`].
#[must_use]
pub fn snapshot_head(bytes: usize) -> Bytes {
    let mut head = header(OpCode::Data(Data::Text), SNAPSHOT_PREFIX.len() + bytes + SNAPSHOT_SUFFIX.len());
    head.extend_from_slice(SNAPSHOT_PREFIX);
    Bytes::from(head)
}

/// A WebSocket ping without payload.
#[must_use]
pub fn protocol_ping() -> Bytes {
    Bytes::from(header(OpCode::Control(Control::Ping), 0))
}

/// The reply to a WebSocket ping.
#[must_use]
pub fn protocol_pong(payload: &[u8]) -> Bytes {
    control(Control::Pong, payload)
}

/// A WebSocket close frame. `reason` is truncated to 123 bytes, the maximum.
#[must_use]
pub fn protocol_close(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(123)];
    control(Control::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

fn control(kind: Control, payload: &[u8]) -> Bytes {
    let mut frame = header(OpCode::Control(kind), payload.len());
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

fn header(opcode: OpCode, bytes: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(MAX_HEADER_BYTES);
    let frame = FrameHeader { is_final: true, opcode, mask: None, ..FrameHeader::default() };
    // Writing to a vector cannot fail.
    let _ = frame.format(bytes as u64, &mut header);
    header
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use uuid::Uuid;

    use super::*;
    use crate::model::{Epoch, Event, Layer};

    #[test]
    fn an_event_frame_has_every_field_of_the_contract() {
        let entry = LogEntry {
            cursor: Cursor { epoch: Epoch(0x5f), seq: 7 },
            logged_at: Utc.timestamp_opt(1_768_824_100, 0).unwrap(),
            event: Event {
                id: Uuid::from_u128(1),
                event_type: "agent.event.status".into(),
                timestamp: Utc.timestamp_opt(1_768_824_000, 500_000).unwrap(),
                payload: json!({"agent_id": "sofia", "status": "online"}),
                source_service: None,
                entity_id: Some("agent:sofia".into()),
                entity_type: Some(EntityType::Agent),
                trace_id: None,
                idempotency_key: None,
                envelope: None,
                notes: Notes::NONE,
            },
            raw: None,
        };
        let totals = json!({"online_agents": 1}).as_object().unwrap().clone();
        let change = Change::Totals { layer: Layer::Agents, patch: totals };
        let outcome = Outcome { changes: vec![change], entity_id: Some("agent:s".into()), ..Outcome::default() };
        let frame = event(&entry, &outcome).unwrap();
        insta::assert_snapshot!(
            std::str::from_utf8(&frame.json()).unwrap(),
            @r#"{"kind":"event","event_type":"agent.event.status","timestamp":"2026-01-19T12:00:00.000500Z","payload":{"agent_id":"sofia","status":"online"},"cursor":"5f.7","id":"00000000-0000-0000-0000-000000000001","entity_id":"agent:s","entity_type":"agent","changes":[{"op":"totals","layer":"agents","patch":{"online_agents":1}}]}"#
        );
        assert_eq!(frame.wire()[..2], [0x81, 126]);
        assert_eq!(frame.wire().len(), frame.json().len() + 4);
    }

    #[test]
    fn headers_have_the_shortest_length_that_fits() {
        for (bytes, header_len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(header(OpCode::Data(Data::Text), bytes).len(), header_len, "{bytes}");
        }
    }

    #[test]
    fn a_close_reason_is_truncated_between_characters() {
        let frame = protocol_close(1008, &"є".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
