//! What a request that cannot be answered gets: a problem document (RFC 9457).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::history::HistoryError;
use crate::log::LogError;
use crate::stream::{InvalidOption, OpenError, UpgradeError};

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What `Retry-After` says where no configured value is at hand.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request was not answered: both the error type of every handler and the document its client reads.
#[derive(Debug, Clone)]
pub struct Problem(Box<Document>);

/// An RFC 9457 problem document.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "detail": "limit: expected a whole number from 1 to 500, not '0'",
    "instance": "/living-map/entities",
    "parameter": "limit",
}))]
pub struct Document {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// The status in words.
    #[schema(value_type = String)]
    title: &'static str,
    /// The HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What was wrong with this request and what was expected.
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// The query or path parameter, or the header, that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    parameter: Option<Cow<'static, str>>,
    /// The field of the body that was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<&'static str>,
    /// Members of this problem's own.
    #[serde(flatten)]
    #[schema(ignore)]
    extensions: Map<String, Value>,
    /// For `Retry-After`.
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
    /// Headers that the status asks for.
    #[serde(skip)]
    #[schema(ignore)]
    headers: HeaderMap,
    /// For the log, never for the client.
    #[serde(skip)]
    #[schema(ignore)]
    cause: Option<Arc<str>>,
    /// For the journal: what this server rests on and could not use.
    #[serde(skip)]
    #[schema(ignore)]
    dependency: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem of this status; `detail` says what was expected.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Document {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            instance: None,
            parameter: None,
            field: None,
            extensions: Map::new(),
            retry_after: None,
            headers: HeaderMap::new(),
            cause: None,
            dependency: None,
        }))
    }

    /// 400: `parameter` is not as expected; `problem` says how it should be.
    pub fn bad_request(parameter: impl Into<Cow<'static, str>>, problem: impl fmt::Display) -> Self {
        let parameter = parameter.into();
        Self::new(StatusCode::BAD_REQUEST, format!("{parameter}: {problem}")).parameter(parameter)
    }

    /// 404: there is nothing of this name.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 413: the body is larger than `limit`.
    pub fn too_large(limit: impl fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is too large: at most {limit} in one request"))
    }

    /// 503: the same request may be answered later.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// 429: the same request may be answered after `wait`.
    pub fn too_many(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, detail);
        // whole seconds, and not before
        problem.0.retry_after = Some(wait.saturating_add(Duration::from_nanos(999_999_999)));
        problem
    }

    /// 500: what happened is in the log and nobody else's business.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here; it was logged").cause(cause)
    }

    /// Names the parameter or header that was wrong.
    #[must_use]
    pub fn parameter(mut self, parameter: impl Into<Cow<'static, str>>) -> Self {
        self.0.parameter = Some(parameter.into());
        self
    }

    /// Names the field of the body that was wrong.
    #[must_use]
    pub fn field(mut self, field: &'static str) -> Self {
        self.0.field = Some(field);
        self
    }

    /// Adds an extension member.
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.0.extensions.insert(member.to_owned(), value);
        self
    }

    /// Adds headers that the status asks for.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// Says what the log should tell.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string().into());
        self
    }

    /// Says whose failure it is.
    #[must_use]
    pub fn dependency(mut self, dependency: &'static str) -> Self {
        self.0.dependency = Some(dependency);
        self
    }

    /// Says when to try again, in place of the default; only of a problem that says so at all.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = self.0.retry_after.map(|_| after);
        self
    }

    /// Says which request it was.
    #[must_use]
    pub fn instance(mut self, path: &str) -> Self {
        self.0.instance = Some(path.to_owned());
        self
    }

    /// What its client reads.
    #[cfg(fuzzing)]
    pub fn document(&self) -> &Document {
        &self.0
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What the log should tell, if anything.
    #[must_use]
    pub fn logged_cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Whose failure it is, where it is not the request's own.
    #[must_use]
    pub fn failed_dependency(&self) -> Option<&'static str> {
        self.0.dependency
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&*self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.clone_from(&self.0.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        // the guard (`super::guard`) knows the request: it logs the cause and adds the instance
        response.extensions_mut().insert(self);
        response
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        let problem = match error {
            HistoryError::Unavailable(_) => {
                Self::unavailable("the history is not available right now", DEFAULT_RETRY_AFTER).cause(error)
            }
            // the question's failure rather than the database's
            HistoryError::TooSlow(_) => {
                let detail = "the database did not finish in the time that one question may take; a smaller one may be \
                    answered: less time between 'since' and 'until', or more filters";
                return Self::unavailable(detail, DEFAULT_RETRY_AFTER).cause(error);
            }
            HistoryError::Refused(_) | HistoryError::Migration(_) => Self::internal(error),
        };
        problem.dependency("database")
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Unavailable(_) => Self::unavailable("the log is not available right now", DEFAULT_RETRY_AFTER)
                .cause(&error)
                .dependency("log"),
            LogError::NotRecorded(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).field("event_type")
            }
            LogError::Refused(_) => {
                let detail = "the database behind the log cannot hold this event";
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

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn body(response: Response) -> Value {
        serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_names_the_parameter_and_what_was_expected() {
        let problem = Problem::bad_request("limit", "expected a whole number").with("oldest_cursor", "1.1".into());
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Bad Request", "status": 400,
            "detail": "limit: expected a whole number", "parameter": "limit", "oldest_cursor": "1.1",
        });
        assert_eq!(body(response).await, expected);
    }

    #[tokio::test]
    async fn what_went_wrong_inside_is_for_the_log_alone() {
        let refused = HistoryError::Refused(sqlx::Error::Protocol("secret table".into()));
        let problem = Problem::from(refused);
        assert!(problem.logged_cause().is_some_and(|cause| cause.contains("secret table")));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body(response).await.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_question_that_took_too_long_says_how_to_ask_less() {
        let problem = Problem::from(HistoryError::TooSlow(sqlx::Error::PoolTimedOut));
        assert_eq!(problem.failed_dependency(), None);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(body(response).await["detail"].as_str().unwrap().contains("'since'"));
    }

    #[test]
    fn an_absent_dependency_says_when_to_come_back() {
        let away = || HistoryError::Unavailable(sqlx::Error::PoolTimedOut);
        let response = Problem::from(away()).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        let later = Problem::from(away()).retry_after(Duration::from_secs(30)).into_response();
        assert_eq!(later.headers()[header::RETRY_AFTER], "30");
    }
}
