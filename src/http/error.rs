//! Error responses: problem documents (RFC 9457).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

mod conversions;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Body of a problem document that cannot be encoded.
const UNENCODABLE: &str =
    r#"{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"internal error; see the log"}"#;

/// `Retry-After` where the configured value is not available.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Error type of every handler, and its response.
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
    /// Always `about:blank`: the status is the type of the problem.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// Reason phrase of the status.
    #[schema(value_type = String)]
    title: &'static str,
    /// HTTP status.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// Description of the error, with what was expected.
    #[schema(value_type = String)]
    detail: Cow<'static, str>,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Name of the query parameter, path parameter, or header that is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    parameter: Option<Cow<'static, str>>,
    /// Name of the body's field that is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    field: Option<&'static str>,
    /// Additional members, such as `oldest_cursor`.
    #[serde(flatten)]
    #[schema(ignore)]
    extensions: Map<String, Value>,
    /// Value of `Retry-After`.
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
    /// Headers that the status requires.
    #[serde(skip)]
    #[schema(ignore)]
    headers: HeaderMap,
    /// Cause for the server's log; never sent to the client.
    #[serde(skip)]
    #[schema(ignore)]
    cause: Option<Arc<str>>,
    /// Dependency that failed, for the error journal.
    #[serde(skip)]
    #[schema(ignore)]
    dependency: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with this status.
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

    /// 400: `parameter` is invalid; `problem` describes what was expected.
    pub fn bad_request(parameter: impl Into<Cow<'static, str>>, problem: impl fmt::Display) -> Self {
        let parameter = parameter.into();
        Self::new(StatusCode::BAD_REQUEST, format!("{parameter}: {problem}")).parameter(parameter)
    }

    /// 404.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 413: the body exceeds `limit`.
    pub fn too_large(limit: impl fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is too large: at most {limit} in one request"))
    }

    /// 503: a retry after this delay may succeed.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        problem.0.retry_after = Some(retry_after);
        problem
    }

    /// 429: a retry after `wait` will succeed.
    pub fn too_many(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, detail);
        // rounded up to whole seconds
        problem.0.retry_after = Some(wait.saturating_add(Duration::from_nanos(999_999_999)));
        problem
    }

    /// 500: the cause is logged and not sent to the client.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error; the server has logged the cause").cause(cause)
    }

    /// Sets the parameter or header that is invalid.
    #[must_use]
    pub fn parameter(mut self, parameter: impl Into<Cow<'static, str>>) -> Self {
        self.0.parameter = Some(parameter.into());
        self
    }

    /// Sets the field of the body that is invalid.
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

    /// Adds headers that the status requires.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// Sets the cause for the server's log.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string().into());
        self
    }

    /// Sets the dependency that failed.
    #[must_use]
    pub fn dependency(mut self, dependency: &'static str) -> Self {
        self.0.dependency = Some(dependency);
        self
    }

    /// Replaces the default `Retry-After`; no effect on a problem without one.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = self.0.retry_after.map(|_| after);
        self
    }

    /// Sets the path of the request.
    #[must_use]
    pub fn instance(mut self, path: &str) -> Self {
        self.0.instance = Some(path.to_owned());
        self
    }

    /// The document that the client receives.
    #[cfg(fuzzing)]
    pub fn document(&self) -> &Document {
        &self.0
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Cause for the server's log.
    #[must_use]
    pub fn logged_cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Dependency that failed; `None` if the request itself is at fault.
    #[must_use]
    pub fn failed_dependency(&self) -> Option<&'static str> {
        self.0.dependency
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, body) = match serde_json::to_vec(&*self.0) {
            Ok(body) => (self.0.status, Body::from(body)),
            Err(error) => {
                tracing::error!(%error, "a problem document cannot be encoded");
                (StatusCode::INTERNAL_SERVER_ERROR, Body::from(UNENCODABLE))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.clone_from(&self.0.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        // for the outer layer, which knows the request: it logs the cause and adds the instance
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
