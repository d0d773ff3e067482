//! Events in the form that the fold and the history use.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::cursor::{Cursor, Epoch};
use super::entity::EntityType;
use super::note::Notes;
use super::trace::Traceparent;

/// One event, normalized (see [`super::json`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Identity: two events with the same id are one event. Derived from the `idempotency_key`, else the `event_id`,
    /// else the `Nats-Msg-Id`, else position and time in the log (see [`super::envelope`]).
    pub id: Uuid,
    /// The NATS subject.
    pub event_type: String,
    /// The producer's time, in microseconds; the log's time when the producer gave none.
    pub timestamp: DateTime<Utc>,
    /// Payload: any JSON value; null when the body cannot be read, which the notes say.
    pub payload: Value,
    /// The service that sent it.
    pub source_service: Option<String>,
    /// Its entity with the type's prefix (`agent:sofia`), by the name that the producer used; not resolved.
    pub entity_id: Option<String>,
    /// Type of the entity.
    pub entity_type: Option<EntityType>,
    /// Trace id.
    pub trace_id: Option<String>,
    /// Idempotency key of the producer.
    pub idempotency_key: Option<String>,
    /// Further fields of its envelope.
    pub envelope: Option<Map<String, Value>>,
    /// What was repaired, or could not be read, in what its publisher sent.
    pub notes: Notes,
}

impl Event {
    /// The span in which it was published, if known.
    #[must_use]
    pub fn traceparent(&self) -> Option<Traceparent> {
        self.envelope.as_ref()?.get(Traceparent::NAME)?.as_str()?.parse().ok()
    }

    /// Sets the span in which it was published, unless it has a trace already.
    pub fn traced(&mut self, from: Traceparent) {
        if self.trace_id.is_none() {
            self.trace_id = Some(from.trace());
            let envelope = self.envelope.get_or_insert_default();
            envelope.insert(Traceparent::NAME.to_owned(), Value::String(from.to_string()));
        }
    }
}

/// An event to append to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// The original bytes, if normalizing changed the content.
    pub raw: Option<Bytes>,
}

/// An event at a position of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Position, from 1, without gaps.
    pub cursor: Cursor,
    /// Time at which the log stored it; never decreases along the log.
    pub logged_at: DateTime<Utc>,
    /// The event.
    pub event: Event,
    /// The original bytes, if normalizing changed the content.
    pub raw: Option<Bytes>,
}

impl LogEntry {
    /// Identity of its log.
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
