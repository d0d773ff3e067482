//! `ops.alert.{severity}` of the network's services, `living_map.alert.raised|cleared` of this one, and what operators say of
//! them (`living_map.alert.acknowledged|silenced|unsilenced`).
//!
//! An alert is known by its `alert_id` (or `id`, `fingerprint`), else by who raised it and its title. A `status` or `state`
//! of `resolved`, `cleared`, `closed` or `ok` clears it; so does the end of its `ttl_seconds`.

use chrono::TimeDelta;

use super::About;
use crate::map::fold::Fold;
use crate::map::names;
use crate::model::alert::{Alert, AlertSeverity, Silence};
use crate::model::time;

/// How long an alert of the network lasts that says nothing of it: nobody may be left to clear it.
const TTL_SECONDS: u64 = 3_600;

/// The longest that an alert can ask to last.
const MAX_TTL_SECONDS: u64 = 7 * 24 * 3_600;

const MAX_ID_CHARS: usize = 128;
const MAX_TITLE_CHARS: usize = 160;
const MAX_MESSAGE_CHARS: usize = 400;

/// An alert of the network.
pub(super) fn of_network(fold: &mut Fold<'_>, about: About<'_>, severity: &str) {
    let Some(severity) = severity.parse().ok().or_else(|| severity_of(about)) else { return };
    let state = about.text("status").or_else(|| about.text("state")).unwrap_or_default().to_ascii_lowercase();
    if matches!(state.as_str(), "resolved" | "cleared" | "closed" | "ok") || about.is_true("resolved") {
        cleared(fold, about);
    } else {
        raise(fold, about, severity, Some(ttl(about).unwrap_or(TTL_SECONDS)));
    }
}

/// An alert of this server. It lasts until it is cleared, unless it says how long.
pub(super) fn raised(fold: &mut Fold<'_>, about: About<'_>) {
    raise(fold, about, severity_of(about).unwrap_or(AlertSeverity::Warning), ttl(about));
}

/// An alert is over.
pub(super) fn cleared(fold: &mut Fold<'_>, about: About<'_>) {
    fold.clear_alert(&id(about));
}

/// Somebody looks after an alert.
pub(super) fn acknowledged(fold: &mut Fold<'_>, about: About<'_>) {
    let by = cut(first(about, &["by"]).unwrap_or("somebody"), MAX_ID_CHARS);
    fold.acknowledge_alert(&id(about), by, note(about));
}

/// Somebody silences alerts. One that is about none, or has no end, is no silence.
pub(super) fn silenced(fold: &mut Fold<'_>, about: About<'_>) {
    let named = |name: &str| about.id(name).map(|id| cut(&id, MAX_ID_CHARS));
    let (Some(id), Some(until)) = (named("silence_id"), about.get("until").and_then(time::lenient)) else { return };
    let silence = Silence {
        id,
        rule: named("rule"),
        alert: named("alert"),
        entity_id: named("entity_id"),
        until,
        by: named("by"),
        note: note(about),
        created_at: fold.time,
    };
    if silence.rule.is_some() || silence.alert.is_some() || silence.entity_id.is_some() {
        fold.silence_alerts(silence);
    }
}

/// A silence ends before its time.
pub(super) fn unsilenced(fold: &mut Fold<'_>, about: About<'_>) {
    if let Some(id) = about.id("silence_id") {
        fold.unsilence_alerts(&cut(&id, MAX_ID_CHARS));
    }
}

fn note(about: About<'_>) -> Option<String> {
    first(about, &["note"]).map(|note| cut(note, MAX_MESSAGE_CHARS))
}

fn raise(fold: &mut Fold<'_>, about: About<'_>, severity: AlertSeverity, ttl_seconds: Option<u64>) {
    let alert = Alert {
        id: id(about),
        severity,
        title: title(about),
        message: first(about, &["message", "description", "summary", "text"]).map(|text| cut(text, MAX_MESSAGE_CHARS)),
        source: source(about).map(|source| cut(source, MAX_ID_CHARS)),
        entity_id: about.event.entity_id.clone(),
        raised_at: fold.time,
        rule: about.text("rule").map(|rule| cut(rule, MAX_ID_CHARS)),
        group: about.text("group").map(|group| cut(group, MAX_ID_CHARS)),
        acknowledged_by: None,
        acknowledged_at: None,
        note: None,
        silenced_until: None,
    };
    let lasting = ttl_seconds.and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?));
    fold.raise_alert(alert, lasting);
}

fn severity_of(about: About<'_>) -> Option<AlertSeverity> {
    about.text("severity")?.parse().ok()
}

fn ttl(about: About<'_>) -> Option<u64> {
    about.count("ttl_seconds").map(|seconds| seconds.clamp(1, MAX_TTL_SECONDS))
}

fn id(about: About<'_>) -> String {
    let given = ["alert_id", "id", "fingerprint"].iter().find_map(|name| names::raw_id(about.get(name)?));
    let made = || format!("{}:{}", source(about).unwrap_or_default(), title(about));
    cut(&given.unwrap_or_else(made), MAX_ID_CHARS)
}

fn title(about: About<'_>) -> String {
    let given = first(about, &["title", "name", "alert", "alertname", "summary", "message", "reason"]);
    cut(given.unwrap_or(&about.event.event_type), MAX_TITLE_CHARS)
}

fn source(about: About<'_>) -> Option<&str> {
    about.event.source_service.as_deref().or_else(|| first(about, &["service", "source"]))
}

fn first<'a>(about: About<'a>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| about.text(name)).filter(|text| !text.is_empty())
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
