//! A webhook that receives alerts.

use std::fmt;

use url::Url;

use crate::model::alert::{Alert, AlertSeverity};

/// A key that signs messages. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes of the key, for signing.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// A webhook that receives alerts. Its `Debug` form hides URL and keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name: in metrics, in the error journal, and in the database.
    pub name: String,
    /// The URL; it may contain a secret.
    pub url: Url,
    /// Each message is signed with all of them, so that a key can be rotated without a gap.
    pub keys: Vec<SigningKey>,
    /// The lowest severity it receives.
    pub severity: AlertSeverity,
    /// The rules whose alerts it receives; empty for all alerts.
    pub rules: Vec<String>,
}

impl Destination {
    /// Filters by severity and rule.
    #[must_use]
    pub fn wants(&self, alert: &Alert) -> bool {
        alert.severity >= self.severity
            && (self.rules.is_empty() || alert.rule.as_ref().is_some_and(|rule| self.rules.contains(rule)))
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}
