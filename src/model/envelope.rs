//! Parses messages of publishers: the network envelope, the catalogue envelope, `CloudEvents` 1.0 (structured and
//! binary) and flat payloads.
//!
//! Parsing never fails: a body that cannot be read becomes an event with a null payload, and its bytes are kept. The event's
//! notes say what was repaired, or could not be read (see [`super::json`]).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::cursor::Cursor;
use super::event::{Event, LogEntry, NewEvent};
use super::json::Normal;
use super::note::{self, NoteKind, Notes};
use super::subject::{self, InvalidSubject};
use super::trace::Traceparent;
use super::{json, time};

mod cloud_event;
mod entity_of;
pub use cloud_event::{add_data, attribute_of_header, attributes, is_cloud_event, is_json, publish_cloud_event};
pub use entity_of::{EntityRef, entity_of};

/// Namespace of event ids that are derived from other names.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_6576_656e_7473);

/// Longest `event_id`, `idempotency_key`, `source` or `trace_id` that `POST` accepts, in bytes. In messages of the
/// network a longer source, trace or entity id is ignored and stays in the payload or envelope: a database index entry
/// holds about 2,700 bytes, and one publisher's faulty message must not block the history.
pub const MAX_NAME_BYTES: usize = 512;

/// Longest subject that is kept, in bytes, for the same reason; the rest is cut. The network's subjects are far
/// shorter, and events published here are limited to [`subject::MAX_SUBJECT_BYTES`].
const MAX_KEPT_SUBJECT_BYTES: usize = 1_024;

/// A message of a log.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// NATS subject.
    pub subject: &'a str,
    /// Headers, by name as sent.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: &'a [u8],
    /// Position in the log.
    pub cursor: Cursor,
    /// Time at which the log stored it.
    pub logged_at: DateTime<Utc>,
}

impl Message<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The name of a message that the log sources from another stream: its position there, subject and content, because
    /// a recreated stream assigns the same positions to other messages. It is the same when the log is recreated.
    fn origin(&self) -> Option<String> {
        // nats-server 2.9 writes the stream and the position, newer versions append more
        let mut source = self.header("Nats-Stream-Source")?.split_ascii_whitespace();
        let (stream, seq) = (source.next()?, source.next()?);
        let stream = stream.split(':').next().unwrap_or(stream);
        let content = Uuid::new_v5(&NAMESPACE, self.body);
        Some(format!("origin:{stream}:{seq}:{}:{content}", self.subject))
    }
}

/// Parses a message of the log.
#[must_use]
pub fn read(message: &Message<'_>) -> LogEntry {
    let logged_at = time::whole_micros(message.logged_at);
    let Normal { value, mut notes } = match json::parse(message.body) {
        Ok(normal) => normal,
        Err(_) if message.body.is_empty() => Value::Null.into(),
        Err(error) => Normal { value: Value::Null, notes: error.notes() },
    };
    let mut parts = match Parts::of_binary_cloud_event(message) {
        Some(parts) => Parts { payload: value, payload_at: "", ..parts },
        None => Parts::of(value),
    };
    // a shorter body cannot be nested as deeply
    if message.body.len() > 2 * json::MAX_DEPTH && json::depth(&parts.payload) > json::MAX_DEPTH {
        notes.extend(&json::Unreadable::TooDeep { offset: json::MAX_DEPTH }.notes());
        parts.payload = Value::Null;
    }
    parts.notes.extend(&notes);
    // a replacement character is longer than a NUL
    let mut event_type = clean(message.subject);
    if event_type.len() > MAX_KEPT_SUBJECT_BYTES {
        parts.notes.add(NoteKind::Subject, || (String::new(), format!("{} bytes", message.subject.len())));
        event_type.truncate(event_type.floor_char_boundary(MAX_KEPT_SUBJECT_BYTES));
    }
    if parts.event_id.is_none() && parts.idempotency_key.is_none() {
        parts.message_id = message.header("Nats-Msg-Id").map(clean);
    }
    // position and time without the epoch: a log that lost its newest entries gets a new epoch, and the entries that it
    // kept must keep their ids
    let fallback = || {
        message.origin().unwrap_or_else(|| format!("position:{}:{}", message.cursor.seq, logged_at.timestamp_micros()))
    };
    let mut notes = std::mem::take(&mut parts.carried);
    let mut event = parts.into_event(event_type, logged_at, fallback);
    // notes that came with the event are about other bytes
    let raw = (!event.notes.is_empty()).then(|| Bytes::copy_from_slice(message.body));
    notes.extend(&event.notes);
    event.notes = notes;
    if let Some(from) = message.header(Traceparent::NAME).and_then(|text| text.parse().ok()) {
        event.traced(from);
    }
    LogEntry { cursor: message.cursor, logged_at, event, raw }
}

/// An invalid field of a published event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Name of the field.
    pub field: &'static str,
    /// Expected value.
    pub problem: String,
}

impl FieldError {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// Parses one network envelope of `POST /living-map/events`: strict where [`read`] is lenient, because the sender gets
/// the error. The notes of a repaired envelope become the event's.
///
/// # Errors
/// The first invalid field.
pub fn publish(envelope: impl Into<Normal>, now: DateTime<Utc>) -> Result<NewEvent, FieldError> {
    let Normal { value: Value::Object(map), notes } = envelope.into() else {
        return Err(FieldError::new("event", "expected a JSON object"));
    };
    if map.contains_key(note::FIELD) {
        return Err(FieldError::new(note::FIELD, "is reserved for the server"));
    }
    let event_type = match map.get("event_type") {
        Some(Value::String(subject)) => subject.clone(),
        Some(_) => return Err(FieldError::new("event_type", "expected a string")),
        None => return Err(FieldError::new("event_type", "is required")),
    };
    subject::validate(&event_type).map_err(|error: InvalidSubject| FieldError::new("event_type", error.to_string()))?;
    for field in ["event_id", "idempotency_key", "source", "trace_id", "agent_id", "user_id"] {
        check_name(&map, field)?;
    }
    match map.get("timestamp") {
        None | Some(Value::Null) => {}
        Some(value) if time::lenient(value).is_some() => {}
        Some(_) => {
            return Err(FieldError::new("timestamp", time::EXPECTED));
        }
    }
    let now = time::whole_micros(now);
    let mut parts = Parts::of_network(map);
    parts.notes.extend(&notes);
    let event = parts.into_event(event_type, now, || Uuid::now_v7().to_string());
    Ok(event.into())
}

/// Checks that a field is absent, null, or a text of bounded length.
fn check_name(map: &Map<String, Value>, field: &'static str) -> Result<(), FieldError> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if (1..=MAX_NAME_BYTES).contains(&text.len()) => Ok(()),
        Some(_) => Err(FieldError::new(field, format!("expected a string of 1 to {MAX_NAME_BYTES} bytes"))),
    }
}

/// The network envelope of `event`: [`read`] returns the same event, at any position of any log. Fields of another
/// envelope form whose names this form uses are omitted.
#[must_use]
pub fn write(event: &Event) -> Value {
    let mut map = event.envelope.clone().unwrap_or_default();
    let mut put = |key: &str, value: Option<&String>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), Value::String(value.clone()));
        }
    };
    put("event_type", Some(&event.event_type));
    put("source", event.source_service.as_ref());
    put("trace_id", event.trace_id.as_ref());
    put("idempotency_key", event.idempotency_key.as_ref());
    if event.idempotency_key.is_none() {
        put("event_id", Some(&event.id.to_string()));
    }
    map.insert("timestamp".into(), Value::String(time::text(event.timestamp)));
    map.insert("payload".into(), event.payload.clone());
    if let Some(notes) = event.notes.to_value() {
        map.insert(note::FIELD.to_owned(), notes);
    }
    Value::Object(map)
}

/// The parts of an envelope of any form.
#[derive(Debug, Default)]
struct Parts {
    event_id: Option<String>,
    idempotency_key: Option<String>,
    message_id: Option<String>,
    timestamp: Option<DateTime<Utc>>,
    source: Option<String>,
    trace_id: Option<String>,
    agent_id: Option<String>,
    payload: Value,
    rest: Map<String, Value>,
    /// Location of the payload in what was sent; empty where it is the whole.
    payload_at: &'static str,
    /// Notes made by reading.
    notes: Notes,
    /// Notes in the envelope: of an event that was read before.
    carried: Notes,
}

impl Parts {
    fn of(value: Value) -> Self {
        let Value::Object(map) = value else {
            return Self { payload: value, ..Self::default() };
        };
        let has = |key: &str| map.contains_key(key);
        let is_named = has("event_type") && has("timestamp") && (has("event_id") || has("idempotency_key"));
        if has("payload") && is_named {
            // written by `write`: further fields of the event's envelope may look like another form
            Self::of_network(map)
        } else if has("specversion") && has("type") && has("source") {
            Self::of_cloud_event(map)
        } else if has("payload") && has("domain") && has("type") {
            Self::of_catalogue(map)
        } else if has("payload") && (has("event_type") || has("event_id") || has("idempotency_key")) {
            Self::of_network(map)
        } else {
            Self::of_flat(map)
        }
    }

    fn of_network(mut map: Map<String, Value>) -> Self {
        map.remove("event_type");
        let payload = map.remove("payload").unwrap_or(Value::Null);
        let carried = map.get(note::FIELD).and_then(Notes::of_value).unwrap_or_default();
        if !carried.is_empty() {
            map.remove(note::FIELD);
        }
        let mut notes = Notes::default();
        Self {
            event_id: take_key(&mut map, "event_id"),
            idempotency_key: take_key(&mut map, "idempotency_key"),
            timestamp: take_time(&mut map, &["timestamp", "ts"], &mut notes),
            source: take_text(&mut map, "source"),
            trace_id: take_text(&mut map, "trace_id").or_else(|| trace_of(map.get(Traceparent::NAME))),
            agent_id: agent(&map),
            payload,
            rest: map,
            message_id: None,
            payload_at: "/payload",
            notes,
            carried,
        }
    }

    fn of_catalogue(mut map: Map<String, Value>) -> Self {
        let meta = map.get("meta").and_then(Value::as_object);
        let trace_id = meta.and_then(|meta| text(meta.get("trace_id")));
        let trace_id = trace_id.or_else(|| trace_of(map.get(Traceparent::NAME)));
        let key = key(map.get("idempotency_key")).or_else(|| meta.and_then(|meta| key(meta.get("idempotency_key"))));
        let agent_id = agent(&map);
        let mut notes = Notes::default();
        Self {
            event_id: take_key(&mut map, "event_id"),
            idempotency_key: key,
            timestamp: take_time(&mut map, &["ts", "timestamp"], &mut notes),
            source: take_text(&mut map, "source").or_else(|| text(map.get("domain"))),
            trace_id,
            agent_id,
            payload: map.remove("payload").unwrap_or(Value::Null),
            payload_at: "/payload",
            rest: map,
            notes,
            ..Self::default()
        }
    }

    fn of_binary_cloud_event(message: &Message<'_>) -> Option<Self> {
        message.header("ce-specversion")?;
        let headers = message.headers.iter().copied();
        let map = attributes(headers, message.header("content-type"));
        Some(Self::of_cloud_event(map))
    }

    fn of_flat(map: Map<String, Value>) -> Self {
        let find = |keys: &[&str]| keys.iter().find_map(|key| text(map.get(*key)));
        let mut notes = Notes::default();
        Self {
            event_id: key(map.get("event_id")),
            idempotency_key: key(map.get("idempotency_key")),
            timestamp: find_time(&map, &["ts", "timestamp"], "", &mut notes).map(|(_, time)| time),
            source: find(&["source_service", "source"]),
            trace_id: find(&["trace_id"]),
            notes,
            payload: Value::Object(map),
            ..Self::default()
        }
    }

    fn into_event(mut self, event_type: String, logged_at: DateTime<Utc>, fallback: impl FnOnce() -> String) -> Event {
        let id = self.identity().unwrap_or_else(|| named(&fallback()));
        let entity = entity_of(&event_type, &self.payload, self.agent_id.as_deref());
        let timestamp = self.timestamp.or_else(|| self.message_time(&event_type));
        let timestamp = timestamp.unwrap_or(logged_at);
        Event {
            id,
            timestamp,
            payload: self.payload,
            source_service: self.source.or_else(|| family_service(&event_type).map(str::to_owned)),
            entity_id: entity.id,
            entity_type: entity.kind,
            trace_id: self.trace_id,
            idempotency_key: self.idempotency_key,
            envelope: (!self.rest.is_empty()).then_some(self.rest),
            notes: self.notes,
            event_type,
        }
    }

    /// The time in the payload, for envelopes without one: `messaging.message.created` has it in `created_at`.
    fn message_time(&mut self, event_type: &str) -> Option<DateTime<Utc>> {
        let keys: &[&str] = if event_type.starts_with("messaging.") {
            &["created_at", "ts", "timestamp"]
        } else {
            &["ts", "timestamp"]
        };
        find_time(self.payload.as_object()?, keys, self.payload_at, &mut self.notes).map(|(_, time)| time)
    }

    fn identity(&self) -> Option<Uuid> {
        if let Some(key) = &self.idempotency_key {
            return Some(named(&format!("key:{key}")));
        }
        if let Some(id) = &self.event_id {
            let uuid = Uuid::try_parse(id).ok().filter(|uuid| !uuid.is_nil());
            return Some(
                uuid.unwrap_or_else(|| named(&format!("event:{}:{id}", self.source.as_deref().unwrap_or_default()))),
            );
        }
        self.message_id.as_ref().map(|id| named(&format!("message:{id}")))
    }
}

fn named(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The service that publishes a family of subjects, for messages that do not name their service.
#[must_use]
pub fn family_service(event_type: &str) -> Option<&str> {
    let family = event_type.split('.').next()?;
    Some(match family {
        "agent" | "agents" => "agents",
        "dao" | "microdao" | "city" | "usage" | "space" | "messaging" | "living_map" => family,
        "node" => "nodes",
        _ => return None,
    })
}

/// The agent in an envelope.
fn agent(map: &Map<String, Value>) -> Option<String> {
    let actor = map.get("actor").and_then(Value::as_object);
    let actor = actor.filter(|actor| actor.get("kind").is_some_and(|kind| kind == "agent"));
    text(map.get("agent_id")).or_else(|| text(actor?.get("id")))
}

fn trace_of(traceparent: Option<&Value>) -> Option<String> {
    traceparent?.as_str()?.parse().ok().map(|from: Traceparent| from.trace())
}

/// A name of bounded length.
fn text(value: Option<&Value>) -> Option<String> {
    key(value).filter(|text| text.len() <= MAX_NAME_BYTES)
}

/// A key that identifies an event, of any length; a string or an integer.
fn key(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn take_text(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    take(map, name, text)
}

fn take_key(map: &mut Map<String, Value>, name: &str) -> Option<String> {
    take(map, name, key)
}

fn take(map: &mut Map<String, Value>, name: &str, read: fn(Option<&Value>) -> Option<String>) -> Option<String> {
    let taken = read(map.get(name));
    if taken.is_some() || map.get(name) == Some(&Value::Null) {
        map.remove(name);
    }
    taken
}

fn take_time(map: &mut Map<String, Value>, keys: &[&str], notes: &mut Notes) -> Option<DateTime<Utc>> {
    let (key, time) = find_time(map, keys, "", notes)?;
    map.remove(key);
    Some(time)
}

/// The first time in the fields `keys` of an object at `location`, and its field. Notes the fields before it that are no
/// times.
fn find_time<'k>(
    map: &Map<String, Value>,
    keys: &[&'k str],
    location: &str,
    notes: &mut Notes,
) -> Option<(&'k str, DateTime<Utc>)> {
    for key in keys {
        let Some(value) = map.get(*key).filter(|value| !value.is_null()) else { continue };
        if let Some(time) = time::lenient(value) {
            return Some((key, time));
        }
        let at = format!("{location}/{key}");
        // a field of a flat payload is looked at twice
        if !notes.iter().any(|note| note.kind == NoteKind::Timestamp && note.at.as_ref() == Some(&at)) {
            notes.add(NoteKind::Timestamp, || (at, json::shown(value)));
        }
    }
    None
}

/// Text from outside the JSON body, in a form that a database can store.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
