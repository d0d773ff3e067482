//! Responses to requests that no handler answers.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::error::Problem;

/// 404: no route has this path.
pub async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this path; GET / lists the endpoints")
}

/// 405. The router adds the `Allow` header.
pub async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support this method; see the Allow header")
}

/// 500: a handler panicked. The panic hook has printed the location.
#[expect(clippy::needless_pass_by_value, reason = "the signature that CatchPanicLayer requires")]
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    metrics::counter!("living_map_http_panics_total").increment(1);
    Problem::internal(format_args!("a handler panicked: {message}")).into_response()
}
