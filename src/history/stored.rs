//! What both databases share about the form of a row.

use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::model::{Cursor, EntityType, Epoch, LogEntry, json};

/// An entry with its JSON as text, ready to be bound.
pub struct Row<'a> {
    pub entry: &'a LogEntry,
    pub payload: String,
    pub envelope: Option<String>,
}

impl<'a> Row<'a> {
    pub fn new(entry: &'a LogEntry) -> Self {
        // never fails: its keys are strings
        let envelope = entry.event.envelope.as_ref().and_then(|map| serde_json::to_string(map).ok());
        Self { entry, payload: entry.event.payload.to_string(), envelope }
    }

    fn bytes(&self) -> usize {
        self.payload.len()
            + self.envelope.as_ref().map_or(0, String::len)
            + self.entry.raw.as_ref().map_or(0, Bytes::len)
    }
}

/// Cuts rows into statements of at most `max_rows` rows and about `max_bytes` bytes, at least one row each.
pub fn statements(rows: &[Row<'_>], max_rows: usize, max_bytes: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, row) in rows.iter().enumerate() {
        let size = row.bytes();
        if index > start && (index - start >= max_rows || bytes + size > max_bytes) {
            ranges.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    if start < rows.len() {
        ranges.push(start..rows.len());
    }
    ranges
}

/// Reads stored JSON. What was stored by others may be out of the normal form, or nested deeper than we read: then it is
/// its text.
pub fn read_json(text: &[u8]) -> Value {
    match json::parse(text) {
        Ok(normal) => normal.value,
        Err(_) => Value::String(String::from_utf8_lossy(text).into_owned()),
    }
}

/// Stored JSON in normal form, as text.
pub fn normal_text(text: &[u8]) -> Box<RawValue> {
    // a value always has a text: its keys are strings
    to_raw_value(&read_json(text)).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The text of JSON that was stored in normal form, as the database has it.
///
/// All but its large numbers: `jsonb` writes 1e300 out, and readers with integers of any size would take it for one.
pub fn hand_on(text: &[u8]) -> Box<RawValue> {
    /// No number of 64 bits has as many.
    const DIGITS: usize = 20 + 1;
    let long = text.chunk_by(|a, b| a.is_ascii_digit() && b.is_ascii_digit()).any(|run| run.len() >= DIGITS);
    if long {
        return normal_text(text);
    }
    serde_json::from_slice(text).unwrap_or_else(|_| normal_text(text))
}

/// A new log's identity: 48 random bits, so that cursors stay short.
pub fn new_epoch() -> Epoch {
    Epoch((Uuid::new_v4().as_u64_pair().0 >> 16).max(1))
}

/// The 64 bits of an epoch, as the signed number that a database has a type for.
pub const fn epoch_to_sql(epoch: Epoch) -> i64 {
    epoch.0.cast_signed()
}

/// The other way.
pub const fn epoch_from_sql(stored: i64) -> Epoch {
    Epoch(stored.cast_unsigned())
}

/// A position as a database has it; no log gets past it.
pub fn seq_to_sql(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The other way; what is no position is none.
pub fn cursor_from_sql(epoch: Option<i64>, seq: Option<i64>) -> Option<Cursor> {
    Some(Cursor { epoch: epoch_from_sql(epoch?), seq: u64::try_from(seq?).ok()? })
}

/// The type that a stored name means, in any case: others may have written `AGENT`.
pub fn entity_type(stored: Option<&str>) -> Option<EntityType> {
    stored?.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::model::{NewEvent, envelope};

    fn entry(payload: &Value) -> LogEntry {
        let envelope = json!({"event_type": "a", "payload": payload});
        let NewEvent { event, raw } = envelope::publish(envelope, DateTime::UNIX_EPOCH).unwrap();
        LogEntry { cursor: Cursor { epoch: Epoch(1), seq: 1 }, logged_at: DateTime::UNIX_EPOCH, event, raw }
    }

    #[test]
    fn statements_are_bounded_by_rows_and_bytes_and_lose_nothing() {
        let entries = ["", "0123456789", "", "", "0123456789012345678901234567890"].map(|text| entry(&json!(text)));
        let rows: Vec<Row<'_>> = entries.iter().map(Row::new).collect();
        assert_eq!(statements(&rows, 2, 1_000), [0..2, 2..4, 4..5]);
        assert_eq!(statements(&rows, 10, 15), [0..2, 2..4, 4..5]);
        assert_eq!(statements(&rows, 10, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert!(statements(&[], 10, 10).is_empty());
    }

    #[test]
    fn what_others_stored_is_readable() {
        assert_eq!(entity_type(Some("AGENT")), Some(EntityType::Agent));
        assert_eq!(entity_type(Some("robot")), None);
        let huge = "1".repeat(400);
        assert_eq!(read_json(huge.as_bytes()), json!(huge), "a number beyond 64 bits");
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(read_json(deep.as_bytes()), json!(deep), "nested deeper than we read");
    }

    #[test]
    fn a_payload_is_handed_on_as_it_is_stored_unless_a_number_in_it_is_written_out() {
        for text in [r#"{"a": [1, 2.50, "x"], "until": 18446744073709551615}"#, "null", r#""just text""#] {
            assert_eq!(hand_on(text.as_bytes()).get(), text);
        }
        let written_out = format!("{{\"a\": 1{}, \"id\": \"{}\"}}", "0".repeat(300), "7".repeat(40));
        let value = json!({"a": 1e300, "id": "7".repeat(40)});
        assert_eq!(hand_on(written_out.as_bytes()).get(), value.to_string());
        assert_eq!(hand_on(b"{broken").get(), r#""{broken""#, "whatever is stored, a page has it");
    }

    #[test]
    fn every_epoch_fits() {
        for epoch in [Epoch(1), Epoch(u64::MAX), Epoch(1 << 63)] {
            assert_eq!(epoch_from_sql(epoch_to_sql(epoch)), epoch);
        }
    }
}
