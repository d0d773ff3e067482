//! What every request passes: limits, security headers, metrics, and the one place where failures are logged.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::error::Problem;
use super::limits::refused;
use super::spans;
use super::state::AppState;
use super::traffic::Traffic;

/// Who may embed an answer in a page.
const EMBEDDING: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What the guard works with.
#[derive(Clone)]
pub struct Guard {
    /// Limits.
    pub state: AppState,
    /// Where requests are counted.
    pub traffic: Arc<Traffic>,
}

/// Guards a request and its answer.
pub async fn guard(State(Guard { state, traffic }): State<Guard>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let uri = request.uri().clone();

    let span = spans::of_request(&method, route.as_ref().map(MatchedPath::as_str), request.headers());
    let limit = state.config.max_uri_bytes;
    let too_long = uri.path_and_query().is_some_and(|path| path.as_str().len() > limit);
    let answered = if too_long {
        let detail = format!("the path and query are longer than {limit} bytes");
        Err(Problem::new(StatusCode::URI_TOO_LONG, detail))
    } else {
        // an answer that is ready at once costs no timer: the limit is registered at the first wait
        let answer = tokio::time::timeout(state.config.request_timeout, next.run(request));
        answer.instrument(span.clone()).await.map_err(|_| {
            let detail = "the answer took too long; whether anything was changed is not known";
            Problem::unavailable(detail, state.config.retry_after).cause("request timed out")
        })
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);

    let route = route.as_ref().map(MatchedPath::as_str);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        count_refusal(problem.status());
        if let Some(cause) = problem.logged_cause() {
            log(&problem, &method, route, cause);
            if let Some(dependency) = problem.failed_dependency() {
                let op = if method == Method::POST { "write" } else { "read" };
                state.journal.record(op, dependency, route.unwrap_or_default(), &cause);
            }
        }
        let mut added = std::mem::take(response.headers_mut());
        // without the query, which may hold a secret; without the path when that is what was too long
        response = if too_long { problem } else { problem.instance(uri.path()) }.into_response();
        // by the router and by CORS, without which a page could not read why it was refused
        for name in added.keys().filter(|name| is_added(name)).cloned().collect::<Vec<_>>() {
            if let Some(value) = added.remove(&name) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // pages of other origins read answers where CORS lets them, and embed none
    headers.insert(EMBEDDING, HeaderValue::from_static("same-origin"));
    spans::answered(&span, response.status());
    traffic.count(route, &method, response.status(), started.elapsed());
    response
}

/// Whether a header of a problem's answer is not the problem's own, and goes out with it.
fn is_added(name: &HeaderName) -> bool {
    [header::ALLOW, header::VARY].contains(name) || name.as_str().starts_with("access-control-")
}

/// What was too large or too slow; what was too often is counted where that is found.
fn count_refusal(status: StatusCode) {
    match status {
        StatusCode::URI_TOO_LONG => refused("uri"),
        StatusCode::PAYLOAD_TOO_LARGE => refused("body"),
        StatusCode::REQUEST_TIMEOUT => refused("body_time"),
        _ => {}
    }
}

fn log(problem: &Problem, method: &Method, route: Option<&str>, cause: &str) {
    let status = problem.status().as_u16();
    if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(status, %method, route, cause, "request failed");
    } else {
        tracing::warn!(status, %method, route, cause, "request could not be answered");
    }
}

/// A handler that panicked answers 500; the panic hook has printed where.
#[expect(clippy::needless_pass_by_value, reason = "the layer that calls it gives the panic away")]
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    metrics::counter!("living_map_http_panics_total").increment(1);
    Problem::internal(format_args!("a handler panicked: {message}")).into_response()
}

/// 404 for paths that no route takes.
pub async fn no_such_route() -> Problem {
    Problem::not_found("there is nothing at this path; GET / lists what there is")
}

/// 405; the router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method; see the Allow header")
}
