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
    "entity_id": null, "raised_at": "2026-01-19T12:00:00Z",
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
