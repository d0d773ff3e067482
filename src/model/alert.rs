//! Alerts and silences.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::{Number, Value};
use utoipa::ToSchema;

use super::json;

/// Longest text in a measurement, in characters.
const MAX_MEASURED_CHARS: usize = 128;

/// Subject that raises an alert of this service: `{alert_id, severity, title, message, entity_id, ttl_seconds}`.
pub const RAISED: &str = "living_map.alert.raised";

/// Subject that clears an alert: `{alert_id}`.
pub const CLEARED: &str = "living_map.alert.cleared";

/// Subject that acknowledges an alert: `{alert_id, by, note}`.
pub const ACKNOWLEDGED: &str = "living_map.alert.acknowledged";

/// Subject that adds a silence: `{silence_id, rule, alert, entity_id, until, by, note}`.
pub const SILENCED: &str = "living_map.alert.silenced";

/// Subject that removes a silence before its end: `{silence_id, by}`.
pub const UNSILENCED: &str = "living_map.alert.unsilenced";

/// Severity of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// For information.
    Info,
    /// Needs attention, not immediately.
    Warning,
    /// Needs attention immediately.
    Critical,
}

impl AlertSeverity {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl FromStr for AlertSeverity {
    type Err = String;
    /// Accepts the names of other systems too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "critical" | "error" | "fatal" => Ok(Self::Critical),
            "warning" | "warn" => Ok(Self::Warning),
            "info" | "notice" => Ok(Self::Info),
            _ => Err("expected one of critical warning info".to_owned()),
        }
    }
}

/// An active alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "dead_letters", "severity": "warning", "title": "12 dead letters", "message": null, "source": "living-map",
    "entity_id": null, "raised_at": "2026-01-19T12:00:00Z", "rule": null, "group": null, "acknowledged_by": null,
    "acknowledged_at": null, "note": null, "silenced_until": null,
}))]
pub struct Alert {
    /// Id; an alert raised again with the same id is the same alert.
    pub id: String,
    /// Severity.
    pub severity: AlertSeverity,
    /// Summary in one line.
    pub title: String,
    /// Details.
    pub message: Option<String>,
    /// The service that raised it.
    pub source: Option<String>,
    /// The affected entity, by the name that the producer used.
    pub entity_id: Option<String>,
    /// Time of the first raise while the alert is active.
    pub raised_at: DateTime<Utc>,
    /// The rule that raised it.
    #[serde(default)]
    #[schema(required)]
    pub rule: Option<String>,
    /// The rule's group that it concerns.
    #[serde(default)]
    #[schema(required)]
    pub group: Option<String>,
    /// User who acknowledged it.
    #[serde(default)]
    #[schema(required)]
    pub acknowledged_by: Option<String>,
    /// Time of the acknowledgement.
    #[serde(default)]
    #[schema(required)]
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Note of the acknowledgement.
    #[serde(default)]
    #[schema(required)]
    pub note: Option<String>,
    /// End of the silence that matches it; null when none does.
    #[serde(default)]
    #[schema(required)]
    pub silenced_until: Option<DateTime<Utc>>,
    /// The comparison that raised it; absent if it does not say. The title has the value rounded.
    // the last field, and left out, because stored alerts keep their bytes
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub measurement: Option<Measurement>,
}

/// The comparison that raised an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Measurement {
    /// Compared field, as in the rule (`payload.cpu`, `metrics.temperature`, `age_seconds`); null when events are counted.
    #[schema(required)]
    pub field: Option<String>,
    /// Value when the alert was raised: a number, a text or a boolean, or null.
    #[serde(default, deserialize_with = "json::value")]
    pub value: Value,
    /// Comparison with the bound.
    pub condition: MeasuredCondition,
    /// Bound; null when a state is compared, or when an event is absent.
    #[schema(required, value_type = Option<f64>)]
    pub bound: Option<Number>,
    /// Length of the time window of a rate or an absence, in seconds; null otherwise.
    #[schema(required)]
    pub window_seconds: Option<u64>,
}

impl Measurement {
    /// The same with long texts cut, and without a value that is no scalar.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |text: &str| text.chars().take(MAX_MEASURED_CHARS).collect::<String>();
        self.field = self.field.as_deref().map(cut);
        self.value = match self.value {
            Value::String(text) => Value::String(cut(&text)),
            Value::Array(_) | Value::Object(_) => Value::Null,
            scalar => scalar,
        };
        self
    }
}

/// How a value was compared when an alert was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredCondition {
    /// The value is above the bound.
    Above,
    /// The value is below the bound.
    Below,
    /// The value is one of a list.
    Is,
    /// No event arrived.
    Absent,
}

/// A silence: matching alerts cause no notifications until it ends, and are still shown. An alert matches if it equals
/// all of `rule`, `alert` and `entity_id` that are set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "0199a1de-7a3c-7c51-9d4e-0f8f7f1f5f10", "rule": "agent-errors", "alert": null, "entity_id": "agent:sofia",
    "until": "2026-01-19T13:00:00Z", "by": "olena", "note": "being moved", "created_at": "2026-01-19T12:00:00Z",
}))]
pub struct Silence {
    /// Id.
    pub id: String,
    /// Rule of the alerts.
    #[schema(required)]
    pub rule: Option<String>,
    /// Id of the alert.
    #[schema(required)]
    pub alert: Option<String>,
    /// Affected entity, by the name in the alert.
    #[schema(required)]
    pub entity_id: Option<String>,
    /// End.
    pub until: DateTime<Utc>,
    /// User who added it.
    #[schema(required)]
    pub by: Option<String>,
    /// Reason.
    #[schema(required)]
    pub note: Option<String>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
}

impl Silence {
    /// Returns `true` if it matches this alert.
    #[must_use]
    pub fn covers(&self, alert: &Alert) -> bool {
        let agrees = |wanted: Option<&String>, has: Option<&String>| wanted.is_none() || wanted == has;
        agrees(self.rule.as_ref(), alert.rule.as_ref())
            && agrees(self.alert.as_ref(), Some(&alert.id))
            && agrees(self.entity_id.as_ref(), alert.entity_id.as_ref())
            && (self.rule.is_some() || self.alert.is_some() || self.entity_id.is_some())
    }
}

/// State of an alert after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Active: new or changed.
    Raised,
    /// Cleared or expired.
    Cleared,
}

/// An alert that was raised or cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertChange {
    /// State after the change.
    pub state: AlertState,
    /// The alert; once cleared, its last content.
    pub alert: Alert,
}
