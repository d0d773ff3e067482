//! `ops.alert.{severity}` of the network's services, `living_map.alert.raised|cleared` of this service, and operators'
//! actions (`living_map.alert.acknowledged|silenced|unsilenced`).
//!
//! An alert is identified by its `alert_id` (or `id`, `fingerprint`), else by its source and title. It is cleared by a
//! `status` or `state` of `resolved`, `cleared`, `closed` or `ok`, and when its `ttl_seconds` have passed.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::map::names;
use crate::model::alert::{Alert, AlertSeverity, Measurement, Silence};
use crate::model::time;

use super::assertion::AlertOperation;
use super::reader::EventReader;

/// Time to live of a network service's alert that gives none: its service may be gone before it clears it.
const TTL_SECONDS: u64 = 3_600;

/// Longest time to live that an alert can ask for.
const MAX_TTL_SECONDS: u64 = 7 * 24 * 3_600;

const MAX_ID_CHARS: usize = 128;
const MAX_TITLE_CHARS: usize = 160;
const MAX_MESSAGE_CHARS: usize = 400;

/// None for an event that does not change any alert. `time` is the producer's.
pub(super) fn read(reader: EventReader<'_>, tokens: &[&str], time: DateTime<Utc>) -> Option<AlertOperation> {
    match tokens {
        ["ops", "alert", severity, ..] => of_network(reader, severity, time),
        // active until it is cleared, unless it has a time to live
        ["living_map", "alert", "raised"] => {
            Some(raise(reader, severity_of(reader).unwrap_or(AlertSeverity::Warning), ttl(reader), time))
        }
        ["living_map", "alert", "cleared"] => Some(AlertOperation::Clear { id: id(reader) }),
        ["living_map", "alert", "acknowledged"] => Some(AlertOperation::Acknowledge {
            id: id(reader),
            by: cut(first(reader, &["by"]).unwrap_or("somebody"), MAX_ID_CHARS),
            note: note(reader),
            at: time,
        }),
        ["living_map", "alert", "silenced"] => silence(reader, time),
        ["living_map", "alert", "unsilenced"] => {
            Some(AlertOperation::Unsilence { id: cut(&reader.id("silence_id")?, MAX_ID_CHARS) })
        }
        _ => None,
    }
}

/// An alert of a network service.
fn of_network(reader: EventReader<'_>, severity: &str, time: DateTime<Utc>) -> Option<AlertOperation> {
    let severity = severity.parse().ok().or_else(|| severity_of(reader))?;
    let state = reader.text("status").or_else(|| reader.text("state")).unwrap_or_default().to_ascii_lowercase();
    Some(if matches!(state.as_str(), "resolved" | "cleared" | "closed" | "ok") || reader.is_true("resolved") {
        AlertOperation::Clear { id: id(reader) }
    } else {
        raise(reader, severity, Some(ttl(reader).unwrap_or(TTL_SECONDS)), time)
    })
}

/// A silence needs an id, an end, and something to match.
fn silence(reader: EventReader<'_>, time: DateTime<Utc>) -> Option<AlertOperation> {
    let id_in = |name: &str| reader.id(name).map(|id| cut(&id, MAX_ID_CHARS));
    let (id, until) = (id_in("silence_id")?, reader.get("until").and_then(time::lenient)?);
    let silence = Silence {
        id,
        rule: id_in("rule"),
        alert: id_in("alert"),
        entity_id: id_in("entity_id"),
        until,
        by: id_in("by"),
        note: note(reader),
        created_at: time,
    };
    let matches_any = silence.rule.is_some() || silence.alert.is_some() || silence.entity_id.is_some();
    matches_any.then_some(AlertOperation::Silence(silence))
}

fn note(reader: EventReader<'_>) -> Option<String> {
    first(reader, &["note"]).map(|note| cut(note, MAX_MESSAGE_CHARS))
}

fn raise(
    reader: EventReader<'_>,
    severity: AlertSeverity,
    ttl_seconds: Option<u64>,
    time: DateTime<Utc>,
) -> AlertOperation {
    let alert = Alert {
        id: id(reader),
        severity,
        title: title(reader),
        message: first(reader, &["message", "description", "summary", "text"]).map(|text| cut(text, MAX_MESSAGE_CHARS)),
        source: source(reader).map(|source| cut(source, MAX_ID_CHARS)),
        entity_id: reader.event.entity_id.clone(),
        raised_at: time,
        rule: reader.text("rule").map(|rule| cut(rule, MAX_ID_CHARS)),
        group: reader.text("group").map(|group| cut(group, MAX_ID_CHARS)),
        acknowledged_by: None,
        acknowledged_at: None,
        note: None,
        silenced_until: None,
        measurement: reader.get("measurement").and_then(measurement),
    };
    let ttl = ttl_seconds.and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?));
    AlertOperation::Raise { alert: Box::new(alert), ttl }
}

fn measurement(value: &Value) -> Option<Measurement> {
    Measurement::deserialize(value).ok().map(Measurement::bounded)
}

fn severity_of(reader: EventReader<'_>) -> Option<AlertSeverity> {
    reader.text("severity")?.parse().ok()
}

fn ttl(reader: EventReader<'_>) -> Option<u64> {
    reader.count("ttl_seconds").map(|seconds| seconds.clamp(1, MAX_TTL_SECONDS))
}

fn id(reader: EventReader<'_>) -> String {
    let explicit = ["alert_id", "id", "fingerprint"].iter().find_map(|name| names::raw_id(reader.get(name)?));
    let derived = || format!("{}:{}", source(reader).unwrap_or_default(), title(reader));
    cut(&explicit.unwrap_or_else(derived), MAX_ID_CHARS)
}

fn title(reader: EventReader<'_>) -> String {
    let explicit = first(reader, &["title", "name", "alert", "alertname", "summary", "message", "reason"]);
    cut(explicit.unwrap_or(&reader.event.event_type), MAX_TITLE_CHARS)
}

fn source(reader: EventReader<'_>) -> Option<&str> {
    reader.event.source_service.as_deref().or_else(|| first(reader, &["service", "source"]))
}

fn first<'a>(reader: EventReader<'a>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| reader.text(name)).filter(|text| !text.is_empty())
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
