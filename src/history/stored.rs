//! Conversion between events and the values of a row, the same for both databases.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::model::{Compatibility, Cursor, EntityType, Epoch, LogEntry, Notes, json};

/// An entry with its JSON as text, ready to be bound.
pub struct InsertRow<'a> {
    pub entry: &'a LogEntry,
    pub source: Option<Cow<'a, str>>,
    pub payload: String,
    pub envelope: Option<String>,
    /// Notes; none is stored as NULL.
    pub notes: Option<String>,
}

impl<'a> InsertRow<'a> {
    pub fn new(entry: &'a LogEntry, compatibility: Compatibility) -> Self {
        let envelope = entry.event.envelope.as_ref().map(object_text);
        let source = compatibility.stored_source(&entry.event);
        let notes = entry.event.notes.to_value().map(|notes| notes.to_string());
        Self { entry, source, payload: entry.event.payload.to_string(), envelope, notes }
    }

    fn bytes(&self) -> usize {
        self.payload.len()
            + self.envelope.as_ref().map_or(0, String::len)
            + self.notes.as_ref().map_or(0, String::len)
            + self.entry.raw.as_ref().map_or(0, Bytes::len)
    }
}

/// Text of an object. Unlike that of `serde_json::to_string`, it has no error that could leave the object out.
fn object_text(object: &Map<String, Value>) -> String {
    let members = object.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Divides rows into statements of at most `max_rows` rows and about `max_bytes` bytes, at least one row each.
pub fn statements(rows: &[InsertRow<'_>], max_rows: usize, max_bytes: usize) -> Vec<Range<usize>> {
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

/// Parses stored notes; none for a row that another service wrote there.
pub fn read_notes(text: Option<&[u8]>) -> Notes {
    text.and_then(|text| Notes::of_value(&read_json(text))).unwrap_or_default()
}

/// Parses stored JSON. JSON that another service stored may be invalid in our normal form or nested too deeply; then the
/// result is a string with its text.
pub fn read_json(text: &[u8]) -> Value {
    json::parse_stored(text).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(text).into_owned()))
}

/// Stored JSON in normal form, as text.
///
/// # Errors
/// The text cannot be encoded.
pub fn normal_text(text: &[u8]) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&read_json(text))
}

/// JSON that was stored in normal form, as its stored text.
///
/// Except with long numbers: `jsonb` expands 1e300 to its digits, which clients with integers of any size would read as one.
///
/// # Errors
/// The text cannot be encoded.
pub fn stored_text(text: &[u8]) -> serde_json::Result<Box<RawValue>> {
    /// More than any number of 64 bits has.
    const DIGITS: usize = 20 + 1;
    let long = text.chunk_by(|a, b| a.is_ascii_digit() && b.is_ascii_digit()).any(|run| run.len() >= DIGITS);
    if long {
        return normal_text(text);
    }
    serde_json::from_slice(text).or_else(|_| normal_text(text))
}

/// A random epoch for a new log: 48 bits, so that cursors stay short.
pub fn new_epoch() -> Epoch {
    Epoch((Uuid::new_v4().as_u64_pair().0 >> 16).max(1))
}

/// An epoch as the signed 64-bit integer that is stored.
pub const fn epoch_to_sql(epoch: Epoch) -> i64 {
    epoch.0.cast_signed()
}

/// The epoch of a stored integer.
pub const fn epoch_from_sql(stored: i64) -> Epoch {
    Epoch(stored.cast_unsigned())
}

/// A position as it is stored; larger ones than `i64::MAX` do not occur.
pub fn seq_to_sql(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The cursor of stored integers; none unless both are valid.
pub fn cursor_from_sql(epoch: Option<i64>, seq: Option<i64>) -> Option<Cursor> {
    Some(Cursor { epoch: epoch_from_sql(epoch?), seq: u64::try_from(seq?).ok()? })
}

/// The entity type of a stored name in any case: another service may have written `AGENT`.
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
        let rows: Vec<InsertRow<'_>> = entries.iter().map(|entry| InsertRow::new(entry, Compatibility::None)).collect();
        assert_eq!(statements(&rows, 2, 1_000), [0..2, 2..4, 4..5]);
        assert_eq!(statements(&rows, 10, 15), [0..2, 2..4, 4..5]);
        assert_eq!(statements(&rows, 10, 1), [0..1, 1..2, 2..3, 3..4, 4..5]);
        assert!(statements(&[], 10, 10).is_empty());
    }

    #[test]
    fn an_envelope_is_never_stored_as_missing() {
        let envelope =
            json!({"type": "x", "a \"quoted\" \u{1} name": [1, 2.5, null, {}], "": {"nested": "\\"}, "é": "\n"});
        for object in [&Map::new(), envelope.as_object().unwrap()] {
            assert_eq!(object_text(object), serde_json::to_string(object).unwrap());
        }
    }

    #[test]
    fn rows_of_other_services_are_readable() {
        assert_eq!(entity_type(Some("AGENT")), Some(EntityType::Agent));
        assert_eq!(entity_type(Some("robot")), None);
        let huge = "1".repeat(400);
        assert_eq!(read_json(huge.as_bytes()), json!(huge), "a number beyond 64 bits");
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert_eq!(read_json(deep.as_bytes()), json!(deep), "nested too deeply");
        assert_eq!(read_notes(Some(b"{}")), Notes::NONE);
    }

    #[test]
    fn a_payload_is_returned_as_stored_except_with_long_numbers() {
        for text in [r#"{"a": [1, 2.50, "x"], "until": 18446744073709551615}"#, "null", r#""just text""#] {
            assert_eq!(stored_text(text.as_bytes()).unwrap().get(), text);
        }
        let expanded = format!("{{\"a\": 1{}, \"id\": \"{}\"}}", "0".repeat(300), "7".repeat(40));
        let value = json!({"a": 1e300, "id": "7".repeat(40)});
        assert_eq!(stored_text(expanded.as_bytes()).unwrap().get(), value.to_string());
        assert_eq!(stored_text(b"{broken").unwrap().get(), r#""{broken""#, "invalid JSON is returned as a string");
    }

    #[test]
    fn every_epoch_fits() {
        for epoch in [Epoch(1), Epoch(u64::MAX), Epoch(1 << 63)] {
            assert_eq!(epoch_from_sql(epoch_to_sql(epoch)), epoch);
        }
    }
}
