//! Messages of the network, and events published to `POST /living-map/events`.
//!
//! Input: a subject, a newline, and a body.

#![no_main]

use chrono::{DateTime, TimeDelta, Utc};
use libfuzzer_sys::fuzz_target;
use living_map::model::envelope::{self, Message};
use living_map::model::{Cursor, Epoch, Event};

/// Fields that a rejection can name.
const FIELDS: [&str; 9] =
    ["event", "event_type", "event_id", "idempotency_key", "source", "trace_id", "agent_id", "user_id", "timestamp"];

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

fuzz_target!(|input: &[u8]| {
    let line_end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (subject, body) = (String::from_utf8_lossy(&input[..line_end]), &input[input.len().min(line_end + 1)..]);
    let event = read(&subject, body, 1);
    assert!(!event.event_type.contains('\0') && event.event_type.len() <= subject.len() * 3);
    round_trip(event);
    let Ok(value) = serde_json::from_slice(body) else { return };
    match envelope::publish(value, DateTime::UNIX_EPOCH) {
        Ok(new) => round_trip(new.event),
        Err(error) => {
            assert!(FIELDS.contains(&error.field), "{error:?}");
            assert!(error.to_string().starts_with(error.field));
        }
    }
});
