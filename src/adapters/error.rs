//! Why an upstream gave no answer.

use std::error::Error;
use std::time::Duration;

use crate::model::Service;

/// An upstream's answer could not be had. Its text names the service and the path, never a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{service} {path}: {kind}")]
pub struct AdapterError {
    /// The upstream.
    pub service: Service,
    /// What it was asked for, with the query.
    pub path: String,
    /// What went wrong.
    pub kind: ErrorKind,
}

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// No connection, or it broke off.
    #[error("{0}")]
    Transport(String),
    /// The answer was not complete in time.
    #[error("no complete answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The round ended before the request could begin.
    #[error("not asked, the round's time is over")]
    RoundOver,
    /// Any status but 2xx. Redirects are not followed: an upstream that moved is to be configured anew.
    #[error("answered {status}{}", said(.body))]
    Status {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The body is longer than the limit, in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The body is no JSON.
    #[error("the answer is no JSON: {0}")]
    NotJson(String),
    /// The body is JSON of another shape. What was expected.
    #[error("the answer is not what was expected: {0}")]
    Shape(String),
}

fn said(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

impl ErrorKind {
    /// Whether the same request may succeed a moment later. A 4xx but 429 says that the request itself is wrong, and a
    /// body of the wrong kind is not bettered by reading it again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Timeout(_) => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::RoundOver | Self::TooLarge(_) | Self::NotJson(_) | Self::Shape(_) => false,
        }
    }

    /// A name from a small set, for metrics.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Transport(_) => "transport",
            Self::Timeout(_) | Self::RoundOver => "timeout",
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
        // reqwest's own text has the whole URL, which may hold a password, and hides the cause
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Transport(text)
    }
}

impl AdapterError {
    /// Whether this is an answer with that status.
    #[must_use]
    pub const fn is_status(&self, wanted: u16) -> bool {
        matches!(self.kind, ErrorKind::Status { status, .. } if status == wanted)
    }
}
