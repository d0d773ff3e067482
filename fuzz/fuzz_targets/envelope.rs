//! Messages of the network, and events published to `POST /living-map/events`.
//!
//! Input: a subject, a newline, and a body.

#![no_main]

use chrono::{DateTime, TimeDelta, Utc};
use libfuzzer_sys::fuzz_target;
use living_map::model::envelope::{self, Message};
use living_map::model::json::{self, Elements, Normal};
use living_map::model::{Cursor, Epoch, Event};

/// Fields that a rejection can name.
const FIELDS: [&str; 10] = [
    "event",
    "event_type",
    "event_id",
    "idempotency_key",
    "source",
    "trace_id",
    "agent_id",
    "user_id",
    "timestamp",
    "living_map_notes",
];

/// Events of a body, at most.
const MAX_ELEMENTS: usize = 64;

fn read(subject: &str, body: &[u8], seq: u64) -> Event {
    let logged_at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(seq.cast_signed());
    let cursor = Cursor { epoch: Epoch(7), seq };
    envelope::read(&Message { subject, headers: &[], body, cursor, logged_at }).event
}

/// An event that is encoded and decoded is the same event at any position, except for its original envelope.
fn round_trip(event: Event) {
    let body = serde_json::to_vec(&envelope::write(&event)).expect("an event is JSON");
    let again = read(&event.event_type, &body, 2);
    let bare = |event| Event { envelope: None, ..event };
    assert_eq!(bare(again), bare(event), "{}", String::from_utf8_lossy(&body));
}

/// Payloads are strict JSON in normal form, and unreadable parts are noted.
fn normal_form(body: &[u8], event: &Event) {
    let Ok(normal) = json::parse(body) else {
        assert!(body.is_empty() || event.notes.is_unreadable(), "{}", body.escape_ascii());
        return;
    };
    let again = json::parse(normal.value.to_string().as_bytes());
    assert_eq!(again, Ok(Normal { value: normal.value, notes: Default::default() }));
    assert!(event.notes.to_string().len() < 1 << 15);
}

fuzz_target!(|input: &[u8]| {
    let line_end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (subject, body) = (String::from_utf8_lossy(&input[..line_end]), &input[input.len().min(line_end + 1)..]);
    let event = read(&subject, body, 1);
    assert!(!event.event_type.contains('\0') && event.event_type.len() <= subject.len() * 3);
    normal_form(body, &event);
    round_trip(event);
    let Ok(elements) = Elements::of(body, MAX_ELEMENTS) else { return };
    assert!(elements.len() <= MAX_ELEMENTS);
    for element in elements.parsed() {
        match element.map(|normal| envelope::publish(normal, DateTime::UNIX_EPOCH)) {
            Ok(Ok(new)) => round_trip(new.event),
            Ok(Err(error)) => {
                assert!(FIELDS.contains(&error.field), "{error:?}");
                assert!(error.to_string().starts_with(error.field));
            }
            Err(error) => assert!(error.offset() <= body.len() * 2, "{error}"),
        }
    }
});
