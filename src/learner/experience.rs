//! Decodes the experiences that publishers send.
//!
//! Tolerant: with or without an envelope, older field names, numbers as text. Only the agent and the outcome are
//! required; without them an event is [`Unreadable`].

use chrono::SubsecRound;
use serde_json::{Map, Value};

use crate::model::experience::{SUBJECT_PREFIX, VERSION};
use crate::model::{EntityType, Event, Experience, Outcome};

/// The longest name, in bytes; longer ones are cut.
const MAX_NAME_BYTES: usize = 256;
/// The longest error message, in bytes; longer ones are cut.
const MAX_MESSAGE_BYTES: usize = 2_000;

/// An event that cannot be read as an experience.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not a JSON object.
    #[error("expected a JSON object")]
    NoObject,
    /// Neither its fields nor its subject name an agent.
    #[error("agent_id: is required")]
    NoAgent,
    /// It has no outcome.
    #[error("outcome: expected ok, error, silent or timeout")]
    NoOutcome,
}

/// True for subjects of experiences; false for their dead letters.
#[must_use]
pub fn is_experience(subject: &str) -> bool {
    subject.starts_with(SUBJECT_PREFIX) && !crate::model::subject::is_dead_letter(subject)
}

/// Reads an event of the log.
///
/// # Errors
/// A required field is missing.
pub fn read(event: &Event) -> Result<Experience, Unreadable> {
    let Value::Object(fields) = &event.payload else { return Err(Unreadable::NoObject) };
    let mut more = fields.clone();
    let mut take = |names: &[&str], max: usize| {
        let name = names.iter().find(|name| text(fields, name).is_some())?;
        more.remove(*name);
        text(fields, name).map(|text| cut(&text, max))
    };
    let mut name = |names: &[&str]| take(names, MAX_NAME_BYTES);
    let agent = name(&["agent_id", "agent"])
        .or_else(|| event.entity_id.clone().filter(|_| event.entity_type == Some(EntityType::Agent)));
    let agent = agent.or_else(|| Some(event.event_type.strip_prefix(SUBJECT_PREFIX)?.to_owned()));
    let agent_id = agent.filter(|agent| !agent.is_empty()).ok_or(Unreadable::NoAgent)?;
    let event_id = name(&["event_id", "id"]).unwrap_or_else(|| event.id.to_string());
    let status = name(&["outcome", "status", "result"]);
    let task = name(&["task", "route", "task_type"]);
    let model = name(&["model", "model_name"]);
    let provider = name(&["provider"]);
    let tool = name(&["tool", "tool_name", "tool_id"]);
    let trace_id = name(&["trace_id"]).or_else(|| event.trace_id.clone());
    let class = name(&["error_class", "error_type", "error_code"]);
    let message = take(&["error_message", "error"], MAX_MESSAGE_BYTES);
    let nested = |key: &str| fields.get("error").and_then(|error| error.get(key)).and_then(Value::as_str);
    let error_class =
        class.or_else(|| ["class", "type", "code"].iter().find_map(|key| nested(key)).map(|t| cut(t, MAX_NAME_BYTES)));
    let error_message = message.or_else(|| nested("message").map(|text| cut(text, MAX_MESSAGE_BYTES)));
    let outcome = match status {
        Some(status) => parse_outcome(&status),
        None => match fields.get("success").or_else(|| fields.get("ok")) {
            Some(Value::Bool(true)) => Outcome::Ok,
            Some(Value::Bool(false)) => Outcome::Error,
            _ if error_class.is_some() || error_message.is_some() => Outcome::Error,
            _ => return Err(Unreadable::NoOutcome),
        },
    };
    let latency = ["latency_ms", "duration_ms"].iter().find_map(|name| number(fields.get(*name)?));
    for known in ["latency_ms", "duration_ms", "timestamp", "ts", "version"] {
        more.remove(known);
    }
    let version = fields.get("version").and_then(Value::as_u64).and_then(|version| u32::try_from(version).ok());
    Ok(Experience {
        event_id,
        agent_id: EntityType::Agent.prefixed(&agent_id),
        task,
        outcome,
        latency_ms: latency,
        error_class,
        error_message,
        model,
        provider,
        tool,
        trace_id,
        timestamp: event.timestamp.trunc_subsecs(3),
        version: version.unwrap_or(VERSION),
        more,
    })
}

/// Parses the outcome in the various forms that publishers use.
fn parse_outcome(text: &str) -> Outcome {
    match text.to_ascii_lowercase().as_str() {
        "ok" | "success" | "succeeded" | "completed" | "done" => Outcome::Ok,
        "error" | "failed" | "failure" | "exception" => Outcome::Error,
        "silent" | "no_reply" | "empty" => Outcome::Silent,
        "timeout" | "timed_out" => Outcome::Timeout,
        _ => Outcome::Other,
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::envelope::{self, Message};
    use crate::model::{Cursor, Epoch};

    fn decode(subject: &str, body: &[u8]) -> Result<Experience, Unreadable> {
        let entry = envelope::read(&Message {
            subject,
            headers: &[],
            body,
            cursor: Cursor { epoch: Epoch(1), seq: 1 },
            logged_at: DateTime::UNIX_EPOCH,
        });
        read(&entry.event)
    }

    #[test]
    fn the_documented_form_is_read_and_unknown_fields_are_kept() {
        let flat = json!({"event_id": "e1", "agent_id": "agent:sofia", "task": "answer", "outcome": "timeout",
            "latency_ms": 5210, "error_class": "slow", "error_message": "too late", "model": "m", "provider": "p",
            "tool": "t", "trace_id": "x", "timestamp": "2026-01-19T12:00:00Z", "version": 1, "mood": {"x": 1}});
        let subject = "agent.experience.v1.agent:sofia";
        let read = decode(subject, flat.to_string().as_bytes()).unwrap();
        assert_eq!((&*read.event_id, &*read.agent_id, read.outcome), ("e1", "agent:sofia", Outcome::Timeout));
        assert_eq!(
            (read.latency_ms, read.model.as_deref(), read.tool.as_deref()),
            (Some(5210.0), Some("m"), Some("t"))
        );
        assert_eq!(Value::Object(read.more.clone()), json!({"mood": {"x": 1}}));
        assert_eq!(serde_json::to_value(&read).unwrap()["mood"], json!({"x": 1}));
        let envelope = json!({"event_type": subject, "event_id": "other", "payload": flat});
        let mut inside = decode(subject, envelope.to_string().as_bytes()).unwrap();
        inside.timestamp = read.timestamp;
        assert_eq!(inside, read);
    }

    #[test]
    fn older_names_are_read_and_missing_fields_rejected() {
        let read = |value: Value| decode("agent.experience.v1.sofia", value.to_string().as_bytes());
        let old =
            read(json!({"status": "FAILED", "duration_ms": "12.5", "error": {"type": "x", "message": "y"}})).unwrap();
        assert_eq!((old.outcome, old.latency_ms, &*old.agent_id), (Outcome::Error, Some(12.5), "agent:sofia"));
        assert_eq!((old.error_class.as_deref(), old.error_message.as_deref()), (Some("x"), Some("y")));
        assert_eq!(read(json!({"success": true})).unwrap().outcome, Outcome::Ok);
        assert_eq!(read(json!({"outcome": "puzzled"})).unwrap().outcome, Outcome::Other);
        assert_eq!(read(json!({"latency_ms": 3})), Err(Unreadable::NoOutcome));
        assert_eq!(read(json!([1])), Err(Unreadable::NoObject));
        assert_eq!(decode("agent.experience.v1.a", b"{no json"), Err(Unreadable::NoObject));
        assert_eq!(decode("somewhere", br#"{"outcome": "ok"}"#), Err(Unreadable::NoAgent));
        assert!(is_experience("agent.experience.v1.a") && !is_experience("agent.experience.v1.a.dlq"));
    }

    proptest! {
        #[test]
        fn no_input_panics(key in "outcome|agent_id|error|latency_ms|status", text in ".{0,300}") {
            let _ = decode("agent.experience.v1.a", json!({key.clone(): text}).to_string().as_bytes());
            let _ = decode("agent.experience.v1.a", json!({key: {"type": 1}}).to_string().as_bytes());
        }
    }
}
