//! Problem documents for errors of other modules.

use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;

use super::{DEFAULT_RETRY_AFTER, Problem};
use crate::dead_letters::DeadLetterError;
use crate::history::HistoryError;
use crate::log::LogError;
use crate::stream::{InvalidOption, OpenError, UpgradeError};

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::NotFound => Self::not_found("there is no dead letter with this id, or no longer"),
            DeadLetterError::Status(_) | DeadLetterError::Changed | DeadLetterError::NoProcessor(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            DeadLetterError::Unavailable(_) => Self::unavailable(error.to_string(), DEFAULT_RETRY_AFTER),
            DeadLetterError::History(error) => Self::from(error),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        let problem = match error {
            HistoryError::Unavailable(_) => {
                Self::unavailable("the database is unavailable", DEFAULT_RETRY_AFTER).cause(error)
            }
            // caused by the query, not by the database
            HistoryError::TooSlow(_) => {
                let detail = "the query exceeded the time limit; reduce its cost by a shorter period between 'since' and \
                    'until', or by more filters";
                return Self::unavailable(detail, DEFAULT_RETRY_AFTER).cause(error);
            }
            HistoryError::Rejected(_) | HistoryError::Migration(_) => Self::internal(error),
        };
        problem.dependency("database")
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Unavailable(_) => {
                Self::unavailable("the event log is unavailable", DEFAULT_RETRY_AFTER).cause(&error).dependency("log")
            }
            // the sender's own subject, and what its operator has to grant
            LogError::Denied(_) => {
                Self::unavailable(error.to_string(), DEFAULT_RETRY_AFTER).field("event_type").dependency("log")
            }
            LogError::NotRecorded(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).field("event_type")
            }
            LogError::Refused(_) => {
                let detail = "the database of the event log cannot store this event";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).cause(error).dependency("log")
            }
            LogError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            LogError::Truncated { .. } | LogError::EpochChanged(_) => Self::internal(error).dependency("log"),
        }
    }
}

impl From<InvalidOption> for Problem {
    fn from(error: InvalidOption) -> Self {
        Self::bad_request(error.parameter, error.expected)
    }
}

impl From<UpgradeError> for Problem {
    fn from(error: UpgradeError) -> Self {
        let problem = Self::new(error.status(), error.to_string()).headers(error.headers());
        match error {
            UpgradeError::NotWebSocket(_) | UpgradeError::NotUpgradable => problem.parameter("Upgrade"),
            UpgradeError::Origin(_) => problem.parameter("Origin"),
            UpgradeError::Full { .. } | UpgradeError::Stopping { .. } => problem,
        }
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Gone { oldest } => {
                let problem = Self::new(StatusCode::GONE, error.to_string());
                problem.with("oldest_cursor", oldest.to_string().into())
            }
            OpenError::Full { retry_after }
            | OpenError::Stopping { retry_after }
            | OpenError::Unavailable { retry_after } => Self::unavailable(error.to_string(), retry_after),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}
