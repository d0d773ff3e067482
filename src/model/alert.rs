//! Alerts: what somebody should look at, from when it is raised until it is cleared or runs out.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use utoipa::ToSchema;

/// The subject by which this server, and whoever speaks for it, raises an alert: `{alert_id, severity, title, message,
/// entity_id, ttl_seconds}`.
pub const RAISED: &str = "living_map.alert.raised";

/// The subject by which it clears one: `{alert_id}`.
pub const CLEARED: &str = "living_map.alert.cleared";

/// The subject by which somebody says that they look after one: `{alert_id, by, note}`.
pub const ACKNOWLEDGED: &str = "living_map.alert.acknowledged";

/// The subject by which alerts are silenced: `{silence_id, rule, alert, entity_id, until, by, note}`.
pub const SILENCED: &str = "living_map.alert.silenced";

/// The subject by which a silence ends before its time: `{silence_id, by}`.
pub const UNSILENCED: &str = "living_map.alert.unsilenced";

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// Worth knowing.
    Info,
    /// Wants a look.
    Warning,
    /// Wants somebody now.
    Critical,
}

impl AlertSeverity {
    /// Its name on the wire.
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
    /// Also by the names that other systems use.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "critical" | "error" | "fatal" => Ok(Self::Critical),
            "warning" | "warn" => Ok(Self::Warning),
            "info" | "notice" => Ok(Self::Info),
            _ => Err("expected one of critical warning info".to_owned()),
        }
    }
}

/// An alert that is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "dead_letters", "severity": "warning", "title": "12 dead letters", "message": null, "source": "living-map",
    "entity_id": null, "raised_at": "2026-01-19T12:00:00Z", "rule": null, "group": null, "acknowledged_by": null,
    "acknowledged_at": null, "note": null, "silenced_until": null,
}))]
pub struct Alert {
    /// Its name: raised again under the same one it is the same alert.
    pub id: String,
    /// How urgent it is.
    pub severity: AlertSeverity,
    /// What it is, in a line.
    pub title: String,
    /// More of it.
    pub message: Option<String>,
    /// Who raised it.
    pub source: Option<String>,
    /// The entity it is about, by the name the producer used.
    pub entity_id: Option<String>,
    /// When it was raised first; it stays while the alert is active.
    pub raised_at: DateTime<Utc>,
    /// The rule that raised it.
    #[serde(default)]
    #[schema(required)]
    pub rule: Option<String>,
    /// Which of the rule's groups it is about.
    #[serde(default)]
    #[schema(required)]
    pub group: Option<String>,
    /// Who looks after it.
    #[serde(default)]
    #[schema(required)]
    pub acknowledged_by: Option<String>,
    /// Since when.
    #[serde(default)]
    #[schema(required)]
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// What they say of it.
    #[serde(default)]
    #[schema(required)]
    pub note: Option<String>,
    /// Until when it is not to disturb anybody; null when it is not silenced.
    #[serde(default)]
    #[schema(required)]
    pub silenced_until: Option<DateTime<Utc>>,
}

/// Alerts that are not to disturb anybody for a time. They are shown all the same. Which ones: those that are as `rule`, `alert`
/// and `entity_id` say, as far as these say anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "0199a1de-7a3c-7c51-9d4e-0f8f7f1f5f10", "rule": "agent-errors", "alert": null, "entity_id": "agent:sofia",
    "until": "2026-01-19T13:00:00Z", "by": "olena", "note": "being moved", "created_at": "2026-01-19T12:00:00Z",
}))]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// Alerts of this rule.
    #[schema(required)]
    pub rule: Option<String>,
    /// The alert of this id.
    #[schema(required)]
    pub alert: Option<String>,
    /// Alerts about this entity, by the name that the alert has.
    #[schema(required)]
    pub entity_id: Option<String>,
    /// When it ends.
    pub until: DateTime<Utc>,
    /// Who made it.
    #[schema(required)]
    pub by: Option<String>,
    /// Why.
    #[schema(required)]
    pub note: Option<String>,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

impl Silence {
    /// Whether it is about this alert.
    #[must_use]
    pub fn covers(&self, alert: &Alert) -> bool {
        let agrees = |wanted: Option<&String>, has: Option<&String>| wanted.is_none() || wanted == has;
        agrees(self.rule.as_ref(), alert.rule.as_ref())
            && agrees(self.alert.as_ref(), Some(&alert.id))
            && agrees(self.entity_id.as_ref(), alert.entity_id.as_ref())
            && (self.rule.is_some() || self.alert.is_some() || self.entity_id.is_some())
    }
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It is active: new, or not as it was.
    Raised,
    /// It is over.
    Cleared,
}

/// An alert that was raised or cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertChange {
    /// What became of it.
    pub state: AlertState,
    /// As it is, or was last.
    pub alert: Alert,
}
