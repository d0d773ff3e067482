//! Errors of requests to upstreams.

use std::time::Duration;

use super::CA_FILE;
use crate::model::Service;
use crate::tls::request_error;

/// A failed request to an upstream. Its text has the service and the path, never a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{service} {path}: {kind}")]
pub struct AdapterError {
    /// The upstream.
    pub service: Service,
    /// Path and query of the request.
    pub path: String,
    /// The kind of failure.
    pub kind: ErrorKind,
}

/// Kind of a failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// No connection, or the connection was lost.
    #[error("{0}")]
    Transport(String),
    /// The response was not complete in time.
    #[error("no complete response within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The deadline of the poll passed before the request could start.
    #[error("not requested: the deadline of the poll has passed")]
    DeadlinePassed,
    /// Any status other than 2xx. Redirects are not followed: the new address has to be configured.
    #[error("answered {status}{}", after_colon(.body))]
    Status {
        /// The HTTP status.
        status: u16,
        /// Start of the body.
        body: String,
    },
    /// The body is larger than the limit, in bytes.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
    /// The body is not JSON.
    #[error("the response is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON of another shape. Holds the expected one.
    #[error("unexpected response: expected {0}")]
    Shape(String),
}

fn after_colon(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

impl ErrorKind {
    /// Whether a retry may succeed. A 4xx other than 429 means that the request itself is wrong, and a wrong body does not
    /// change by requesting it again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Timeout(_) => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::DeadlinePassed | Self::TooLarge(_) | Self::NotJson(_) | Self::Shape(_) => false,
        }
    }

    /// The outcome in metrics, from a small set.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Timeout(_) | Self::DeadlinePassed => "timeout",
            Self::Status { status, .. } if *status >= 500 => "status_5xx",
            Self::Status { status, .. } if *status >= 400 => "status_4xx",
            Self::Status { .. } => "status_other",
            Self::TooLarge(_) => "too_large",
            Self::NotJson(_) | Self::Shape(_) => "garbage",
        }
    }

    pub(super) fn shape(expected: impl Into<String>) -> Self {
        Self::Shape(expected.into())
    }
}

impl From<reqwest::Error> for ErrorKind {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(request_error(error, CA_FILE))
    }
}

impl AdapterError {
    /// Whether this is a response with the status `wanted`.
    #[must_use]
    pub const fn is_status(&self, wanted: u16) -> bool {
        matches!(self.kind, ErrorKind::Status { status, .. } if status == wanted)
    }
}
