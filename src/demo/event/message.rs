//! Messages as their publishers send them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

/// A message as its publisher sends it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::demo) struct PublishedMessage {
    pub subject: String,
    pub payload: Value,
    /// The entity that the idempotency key of the network envelope names; none for a flat payload.
    pub keyed: Option<String>,
}

impl PublishedMessage {
    pub(super) fn flat(subject: impl Into<String>, payload: Value) -> Self {
        Self { subject: subject.into(), payload, keyed: None }
    }

    pub(super) fn enveloped(subject: impl Into<String>, entity: impl Into<String>, payload: Value) -> Self {
        Self { subject: subject.into(), payload, keyed: Some(entity.into()) }
    }
}

/// A time with its offset, as most publishers write it.
pub(super) fn with_offset(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// A time without an offset, as the microdao and dao services write it.
pub(super) fn naive(time: DateTime<Utc>) -> String {
    time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}
