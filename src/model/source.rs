//! The six upstream services and their health.

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
    /// Freshness of an upstream's data.
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

/// Health of one upstream, as in `meta.sources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceHealth {
    /// The upstream's name.
    pub service: Service,
    /// `true` if its data is current.
    pub status: SourceStatus,
    /// Seconds since the last successful poll; null before the first.
    pub age_seconds: Option<f64>,
    /// Time of the last successful poll.
    pub last_success_at: Option<DateTime<Utc>>,
    /// Error of the last failed poll; null once a later one succeeds.
    pub last_error: Option<String>,
}
