//! Roles.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;
use utoipa::ToSchema;

/// A role. Each role includes the permissions of the roles before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything: the map, history, streams, errors, metrics
    Viewer,
    /// Also publishes events
    Publisher,
    /// Also operates the network: handles alerts, lessons, and dead letters
    Operator,
    /// Also administers the server: changes its stored data
    Admin,
}

impl Role {
    /// All roles in ascending order.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Publisher, Self::Operator, Self::Admin];

    /// Name in tokens, settings, and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected viewer, publisher, operator or admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}
