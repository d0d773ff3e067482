//! `ops.alert.{severity}` of the network's services, `living_map.alert.raised|cleared` of this one, and what operators say of
//! them (`living_map.alert.acknowledged|silenced|unsilenced`).
//!
//! An alert is known by its `alert_id` (or `id`, `fingerprint`), else by who raised it and its title. A `status` or `state`
//! of `resolved`, `cleared`, `closed` or `ok` clears it; so does the end of its `ttl_seconds`.

use chrono::{DateTime, TimeDelta, Utc};

use super::About;
use crate::map::alerts::Said;
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

/// What an event of these subjects says, at the producer's `time`; none where it says nothing of alerts.
pub(in crate::map) fn read(about: About<'_>, tokens: &[&str], time: DateTime<Utc>) -> Option<Said> {
    match tokens {
        ["ops", "alert", severity, ..] => of_network(about, severity, time),
        // it lasts until it is cleared, unless it says how long
        ["living_map", "alert", "raised"] => {
            Some(raised(about, severity_of(about).unwrap_or(AlertSeverity::Warning), ttl(about), time))
        }
        ["living_map", "alert", "cleared"] => Some(Said::Cleared { id: id(about) }),
        ["living_map", "alert", "acknowledged"] => Some(Said::Acknowledged {
            id: id(about),
            by: cut(first(about, &["by"]).unwrap_or("somebody"), MAX_ID_CHARS),
            note: note(about),
            at: time,
        }),
        ["living_map", "alert", "silenced"] => silenced(about, time),
        ["living_map", "alert", "unsilenced"] => {
            Some(Said::Unsilenced { id: cut(&about.id("silence_id")?, MAX_ID_CHARS) })
        }
        _ => None,
    }
}

/// An alert of the network.
fn of_network(about: About<'_>, severity: &str, time: DateTime<Utc>) -> Option<Said> {
    let severity = severity.parse().ok().or_else(|| severity_of(about))?;
    let state = about.text("status").or_else(|| about.text("state")).unwrap_or_default().to_ascii_lowercase();
    Some(if matches!(state.as_str(), "resolved" | "cleared" | "closed" | "ok") || about.is_true("resolved") {
        Said::Cleared { id: id(about) }
    } else {
        raised(about, severity, Some(ttl(about).unwrap_or(TTL_SECONDS)), time)
    })
}

/// Somebody silences alerts. One that is about none, or has no end, is no silence.
fn silenced(about: About<'_>, time: DateTime<Utc>) -> Option<Said> {
    let named = |name: &str| about.id(name).map(|id| cut(&id, MAX_ID_CHARS));
    let (id, until) = (named("silence_id")?, about.get("until").and_then(time::lenient)?);
    let silence = Silence {
        id,
        rule: named("rule"),
        alert: named("alert"),
        entity_id: named("entity_id"),
        until,
        by: named("by"),
        note: note(about),
        created_at: time,
    };
    let names_any = silence.rule.is_some() || silence.alert.is_some() || silence.entity_id.is_some();
    names_any.then_some(Said::Silenced(silence))
}

fn note(about: About<'_>) -> Option<String> {
    first(about, &["note"]).map(|note| cut(note, MAX_MESSAGE_CHARS))
}

fn raised(about: About<'_>, severity: AlertSeverity, ttl_seconds: Option<u64>, time: DateTime<Utc>) -> Said {
    let alert = Alert {
        id: id(about),
        severity,
        title: title(about),
        message: first(about, &["message", "description", "summary", "text"]).map(|text| cut(text, MAX_MESSAGE_CHARS)),
        source: source(about).map(|source| cut(source, MAX_ID_CHARS)),
        entity_id: about.event.entity_id.clone(),
        raised_at: time,
        rule: about.text("rule").map(|rule| cut(rule, MAX_ID_CHARS)),
        group: about.text("group").map(|group| cut(group, MAX_ID_CHARS)),
        acknowledged_by: None,
        acknowledged_at: None,
        note: None,
        silenced_until: None,
    };
    let lasting = ttl_seconds.and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?));
    Said::Raised { alert, lasting }
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
