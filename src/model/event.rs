//! Events in the form in which the fold and the history see them.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::cursor::{Cursor, Epoch};
use super::entity::EntityType;
use super::trace::Traceparent;

/// One fact from the network, in its normal form (see [`super::json`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Says which events are the same: two with one id are one event. Made from the `idempotency_key`, else from the
    /// `event_id`, else from the `Nats-Msg-Id`, else from its position and time in the log (see [`super::envelope`]).
    pub id: Uuid,
    /// The NATS subject.
    pub event_type: String,
    /// The producer's time, in microseconds; the log's time when the producer gave none.
    pub timestamp: DateTime<Utc>,
    /// What happened. Any JSON value; null when the body was no JSON at all.
    pub payload: Value,
    /// Who sent it.
    pub source_service: Option<String>,
    /// The entity it is about, with its type's prefix (`agent:sofia`), by the name the producer used; not resolved.
    pub entity_id: Option<String>,
    /// What that entity is.
    pub entity_type: Option<EntityType>,
    /// The trace it belongs to.
    pub trace_id: Option<String>,
    /// The key its producer gave it.
    pub idempotency_key: Option<String>,
    /// What its envelope said beyond the fields above.
    pub envelope: Option<Map<String, Value>>,
}

impl Event {
    /// The span in which it was published, if that is known.
    #[must_use]
    pub fn traceparent(&self) -> Option<Traceparent> {
        self.envelope.as_ref()?.get(Traceparent::NAME)?.as_str()?.parse().ok()
    }

    /// Says where it was published, unless it says itself which trace it belongs to.
    pub fn traced(&mut self, from: Traceparent) {
        if self.trace_id.is_none() {
            self.trace_id = Some(from.trace());
            let envelope = self.envelope.get_or_insert_default();
            envelope.insert(Traceparent::NAME.to_owned(), Value::String(from.to_string()));
        }
    }
}

/// An event on its way into the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// The original bytes, when normalising lost something.
    pub raw: Option<Bytes>,
}

/// An event at its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its position, from 1, without gaps.
    pub cursor: Cursor,
    /// When the log took it: never runs backwards along the log.
    pub logged_at: DateTime<Utc>,
    /// The event.
    pub event: Event,
    /// The original bytes, when normalising lost something.
    pub raw: Option<Bytes>,
}

impl LogEntry {
    /// The log it is in.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.cursor.epoch
    }
}

impl From<Event> for NewEvent {
    fn from(event: Event) -> Self {
        Self { event, raw: None }
    }
}
