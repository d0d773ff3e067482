//! `CloudEvents` 1.0 in the structured and the binary content mode.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{FieldError, Parts, agent, check_name, clean, key, take_key, take_text, take_time, trace_of};
use crate::model::event::NewEvent;
use crate::model::json::Normal;
use crate::model::note::{self, Notes};
use crate::model::trace::Traceparent;
use crate::model::{json, subject, time};

/// Prefix of the headers that have the attributes in the binary mode.
const HEADER_PREFIX: &str = "ce-";
/// Member with data that is not JSON.
const DATA_BASE64: &str = "data_base64";
/// Attribute with the media type of the data.
const CONTENT_TYPE: &str = "datacontenttype";

/// Returns true if a JSON object is a `CloudEvent` and no network envelope.
#[must_use]
pub fn is_cloud_event(value: &Value) -> bool {
    value.get("specversion").is_some() && value.get("event_type").is_none()
}

/// Returns true if this media type is JSON: `application/json`, or a type that ends with `+json`.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

fn is_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.starts_with("text/") || essence == "application/xml" || essence.ends_with("+xml")
}

fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Attributes in the headers of a message in the binary mode. `content_type` is the media type of its body.
#[must_use]
pub fn attributes(
    headers: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    content_type: Option<&str>,
) -> Map<String, Value> {
    let text = |value: &str| Value::String(clean(value));
    let headers = headers.into_iter();
    let mut map: Map<String, Value> = headers
        .filter_map(|(name, value)| {
            let attribute = attribute_of_header(name.as_ref())?.to_ascii_lowercase();
            Some((clean(&attribute), text(value.as_ref())))
        })
        .filter(|(name, _)| name != "data" && name != DATA_BASE64)
        .collect();
    if let Some(content_type) = content_type {
        map.insert(CONTENT_TYPE.to_owned(), text(content_type));
    }
    map
}

/// Name of the attribute in a header of a message in the binary mode.
#[must_use]
pub fn attribute_of_header(name: &str) -> Option<&str> {
    name.get(..HEADER_PREFIX.len())?.eq_ignore_ascii_case(HEADER_PREFIX).then(|| &name[HEADER_PREFIX.len()..])
}

/// Adds the body of a message in the binary mode to its attributes, as the structured mode has it.
pub fn add_data(attributes: &mut Map<String, Value>, body: &[u8]) {
    if !body.is_empty() {
        attributes.insert(DATA_BASE64.to_owned(), Value::String(BASE64_STANDARD.encode(body)));
    }
}

/// Parses one `CloudEvent` of `POST /living-map/events`, whose `type` is the event type: strict where
/// [`read`](super::read) is lenient, because the sender gets the error.
///
/// # Errors
/// The first invalid attribute.
pub fn publish_cloud_event(event: impl Into<Normal>, now: DateTime<Utc>) -> Result<NewEvent, FieldError> {
    let Normal { value: Value::Object(map), notes } = event.into() else {
        return Err(FieldError::new("event", "expected a CloudEvent, which is a JSON object"));
    };
    if map.contains_key(note::FIELD) {
        return Err(FieldError::new(note::FIELD, "is reserved for the server"));
    }
    match map.get("specversion") {
        Some(Value::String(version)) if version == "1.0" => {}
        None | Some(Value::Null) => return Err(FieldError::new("specversion", "is required")),
        Some(_) => return Err(FieldError::new("specversion", "expected '1.0'")),
    }
    for name in ["id", "source", "type"] {
        if matches!(map.get(name), None | Some(Value::Null)) {
            return Err(FieldError::new(name, "is required"));
        }
        check_name(&map, name)?;
    }
    for name in [CONTENT_TYPE, "idempotencykey", "idempotency_key", "trace_id", "agent_id"] {
        check_name(&map, name)?;
    }
    match map.get("time") {
        Some(value) if !value.is_null() && time::lenient(value).is_none() => {
            return Err(FieldError::new("time", "expected an RFC 3339 time"));
        }
        _ => {}
    }
    check_data(&map)?;
    let event_type = map["type"].as_str().unwrap_or_default().to_owned();
    subject::validate(&event_type).map_err(|error| FieldError::new("type", error.to_string()))?;
    let mut event = Parts::of_cloud_event(map);
    event.notes.extend(&notes);
    Ok(event.into_event(event_type, time::whole_micros(now), || Uuid::now_v7().to_string()).into())
}

fn check_data(map: &Map<String, Value>) -> Result<(), FieldError> {
    let Some(encoded) = map.get(DATA_BASE64).filter(|value| !value.is_null()) else { return Ok(()) };
    if map.get("data").is_some_and(|data| !data.is_null()) {
        return Err(FieldError::new(DATA_BASE64, "expected either 'data' or 'data_base64', not both"));
    }
    let bytes = encoded.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let Some(bytes) = bytes else { return Err(FieldError::new(DATA_BASE64, "expected base64")) };
    match map
        .get(CONTENT_TYPE)
        .and_then(Value::as_str)
        .filter(|kind| is_json(kind))
        .map(|_| json::parse_payload(&bytes))
    {
        Some(Err(error)) => {
            Err(FieldError::new(DATA_BASE64, format!("expected JSON, as datacontenttype says: {error}")))
        }
        _ => Ok(()),
    }
}

impl Parts {
    pub(super) fn of_cloud_event(mut map: Map<String, Value>) -> Self {
        let mut notes = Notes::default();
        let payload = take_data(&mut map, &mut notes);
        Self {
            // it stays among the attributes, since the event's id is derived from it
            event_id: key(map.get("id")),
            idempotency_key: take_key(&mut map, "idempotency_key").or_else(|| take_key(&mut map, "idempotencykey")),
            timestamp: take_time(&mut map, &["time"], &mut notes),
            source: take_text(&mut map, "source"),
            trace_id: trace_of(map.get(Traceparent::NAME)).or_else(|| take_text(&mut map, "trace_id")),
            agent_id: agent(&map),
            payload,
            payload_at: "/data",
            rest: map,
            notes,
            ..Self::default()
        }
    }
}

/// Removes the data from the attributes: `data`, or `data_base64` where that is JSON (the default type) or a text. Other
/// bytes stay encoded among the attributes, and so do those of a JSON text that was repaired, or is declared and cannot be read.
fn take_data(map: &mut Map<String, Value>, notes: &mut Notes) -> Value {
    match map.remove("data") {
        None | Some(Value::Null) => {}
        Some(data) => return data,
    }
    let bytes = map.get(DATA_BASE64).and_then(Value::as_str).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let media_type = map.get(CONTENT_TYPE).and_then(Value::as_str);
    let decoded = bytes.and_then(|bytes| match media_type {
        Some(media_type) if is_text(media_type) => {
            let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
            Some((Value::String(text), true))
        }
        Some(media_type) if !is_json(media_type) => None,
        _ => match json::parse_payload(&bytes) {
            Ok(normal) => {
                notes.extend(&normal.notes);
                Some((normal.value, normal.notes.is_empty()))
            }
            Err(error) => {
                // without a type it may be anything
                if media_type.is_some() {
                    notes.extend(&error.notes());
                }
                None
            }
        },
    });
    let Some((data, whole)) = decoded else { return Value::Null };
    if whole {
        map.remove(DATA_BASE64);
    }
    data
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::cursor::{Cursor, Epoch};
    use crate::model::envelope::{Message, read, write};

    fn of_nats(headers: &[(&str, &str)], body: &Value) -> crate::model::Event {
        let cursor = Cursor { epoch: Epoch(1), seq: 9 };
        let body = body.to_string();
        let body = if body == "null" { &[][..] } else { body.as_bytes() };
        read(&Message { subject: "agent.event.status", headers, body, cursor, logged_at: DateTime::UNIX_EPOCH }).event
    }

    fn cloud_event() -> Value {
        json!({"specversion": "1.0", "id": "e/1", "source": "/gateway", "type": "agent.event.status",
            "time": "2026-01-19T12:00:00Z", "subject": "sofia", "dataschema": "https://schema.example/status",
            "datacontenttype": "application/json", "partitionkey": "7", "comexampleflag": true,
            "data": {"agent_id": "agent:sofia", "status": "online"}})
    }

    #[test]
    fn http_and_nats_give_the_same_event_and_keep_all_attributes() {
        let event = publish_cloud_event(cloud_event(), Utc::now()).unwrap().event;
        assert_eq!(event, of_nats(&[], &cloud_event()));
        assert_eq!(
            (event.event_type.as_str(), event.entity_id.as_deref()),
            ("agent.event.status", Some("agent:sofia"))
        );
        let kept = event.envelope.as_ref().unwrap();
        let mut expected = cloud_event().as_object().unwrap().clone();
        for elsewhere in ["source", "time", "data"] {
            expected.remove(elsewhere);
        }
        assert_eq!(*kept, expected);
        assert_eq!(event.source_service.as_deref(), Some("/gateway"));
        assert_eq!(of_nats(&[], &write(&event)), event, "as the log has it");
    }

    #[test]
    fn base64_data_is_decoded_by_its_type() {
        let event = |media_type: Option<&str>, data: &[u8]| {
            let mut event = cloud_event();
            event["data"].take();
            event["data_base64"] = BASE64_STANDARD.encode(data).into();
            event["datacontenttype"] = media_type.into();
            let published = publish_cloud_event(event.clone(), Utc::now()).unwrap().event;
            assert_eq!(published, of_nats(&[], &event));
            assert_eq!(of_nats(&[], &write(&published)), published);
            published
        };
        for media_type in [None, Some("application/json"), Some("application/vnd.status+json; charset=utf-8")] {
            let event = event(media_type, br#"{"agent_id":"mira"}"#);
            assert_eq!(event.payload, json!({"agent_id": "mira"}), "{media_type:?}");
            assert!(!event.envelope.unwrap().contains_key(DATA_BASE64), "{media_type:?}");
        }
        assert_eq!(event(Some("text/plain"), "Привіт".as_bytes()).payload, "Привіт");
        for (media_type, data) in
            [(Some("image/png"), &b"\x89PNG"[..]), (Some("text/plain"), b"\xff"), (None, b"\x89PNG")]
        {
            let event = event(media_type, data);
            assert_eq!(event.payload, Value::Null);
            assert_eq!(event.envelope.unwrap()[DATA_BASE64], BASE64_STANDARD.encode(data), "{media_type:?}");
        }
        let altered = event(None, br#"{"a":1,"a":2}"#);
        assert_eq!(altered.payload, json!({"a": 2}));
        assert!(altered.envelope.unwrap().contains_key(DATA_BASE64));
    }

    #[test]
    fn the_invalid_attribute_is_named() {
        for (attribute, value) in [
            ("specversion", Value::Null),
            ("specversion", json!("0.3")),
            ("id", Value::Null),
            ("id", json!("")),
            ("id", json!(7)),
            ("source", Value::Null),
            ("source", json!("x".repeat(513))),
            ("type", Value::Null),
            ("type", json!("com example")),
            ("type", json!("agent.*")),
            ("time", json!("soon")),
            ("datacontenttype", json!(7)),
            ("data_base64", json!("e30=")),
        ] {
            let mut event = cloud_event();
            event[attribute] = value.clone();
            assert_eq!(publish_cloud_event(event, Utc::now()).unwrap_err().field, attribute, "{value}");
        }
        for encoded in [json!("%"), json!(7), json!("e30")] {
            let mut event = cloud_event();
            event["data"].take();
            event["data_base64"] = encoded.clone();
            assert_eq!(publish_cloud_event(event, Utc::now()).unwrap_err().field, "data_base64", "{encoded}");
        }
        let mut event = cloud_event();
        event["data"].take();
        event["data_base64"] = BASE64_STANDARD.encode("{").into();
        assert_eq!(publish_cloud_event(event, Utc::now()).unwrap_err().field, "data_base64");
        assert_eq!(publish_cloud_event(json!([]), Utc::now()).unwrap_err().field, "event");
    }

    /// Data of 129 levels was accepted, and could not be read from the log, where an envelope is around it.
    #[test]
    fn accepted_data_is_readable_in_the_log() {
        for (levels, media_type, accepted) in [
            (128, Some("application/json"), true),
            (129, Some("application/json"), false),
            (128, None, true),
            (129, None, true),
            (200, None, true),
        ] {
            let data = "[".repeat(levels) + &"]".repeat(levels);
            let mut event = cloud_event();
            event["data"].take();
            event["data_base64"] = BASE64_STANDARD.encode(data).into();
            event["datacontenttype"] = media_type.into();
            let published = publish_cloud_event(event, Utc::now()).map(|new| new.event);
            assert_eq!(published.is_ok(), accepted, "{levels} {media_type:?}");
            match published {
                Ok(event) => assert_eq!(of_nats(&[], &write(&event)), event, "{levels} {media_type:?}"),
                Err(error) => assert_eq!(error.field, "data_base64"),
            }
        }
    }

    #[test]
    fn the_binary_mode_of_nats_keeps_its_media_type() {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "e/1"),
            ("ce-source", "/gateway"),
            ("CE-Type", "status"),
            ("ce-partitionkey", "7"),
            ("ce-data", "no attribute"),
            ("Content-Type", "application/json"),
        ];
        let event = of_nats(&headers, &json!({"agent_id": "sofia"}));
        let kept = json!({"specversion": "1.0", "id": "e/1", "type": "status", "partitionkey": "7",
            "datacontenttype": "application/json"});
        assert_eq!(Value::Object(event.envelope.unwrap()), kept);
        assert_eq!(event.payload, json!({"agent_id": "sofia"}));
    }
}
