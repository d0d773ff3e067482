//! The six upstream services and how they are doing.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::entity::{UnknownName, wire_enum};

wire_enum! {
    /// An upstream service.
    Service {
        /// The agents service.
        Agents = "agents",
        /// The microdao service.
        Microdao = "microdao",
        /// The dao service.
        Dao = "dao",
        /// The usage service.
        Usage = "usage",
        /// The city service.
        City = "city",
        /// The space service.
        Space = "space",
    }
}

wire_enum! {
    /// Whether a source's data can be trusted to be current.
    SourceStatus {
        /// The last poll succeeded.
        Ok = "ok",
        /// The last poll failed; the last good data is served.
        Stale = "stale",
        /// The last poll failed and there is no good data to serve.
        Down = "down",
        /// Not polled yet.
        Unknown = "unknown",
    }
}

/// How one upstream is doing, as `meta.sources` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceHealth {
    /// The upstream's name.
    pub service: Service,
    /// Whether its data is current.
    pub status: SourceStatus,
    /// Seconds since the last successful poll; null before the first.
    pub age_seconds: Option<f64>,
    /// When the last poll succeeded.
    pub last_success_at: Option<DateTime<Utc>>,
    /// What the last failed poll said; null once a later one succeeds.
    pub last_error: Option<String>,
}
