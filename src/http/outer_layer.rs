//! Outermost layer of every request: length of the URI, request timeout, security headers, metrics, and the log and error
//! journal entries of failures.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::error::Problem;
use super::request_metrics::RequestMetrics;
use super::spans;
use super::state::AppState;
use crate::instruments::{Limit, count_rejected};

/// Response header: which origins may embed the response in a page.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// State of the outermost layer.
#[derive(Clone)]
pub struct OuterLayer {
    /// Limits and error journal.
    pub state: AppState,
    /// Request counters.
    pub metrics: Arc<RequestMetrics>,
}

/// Runs a request within its limits and completes the response.
pub async fn handle(
    State(OuterLayer { state, metrics }): State<OuterLayer>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let uri = request.uri().clone();
    let base = state.limits.forwarded_prefix(request.extensions(), request.headers());
    let base = base.unwrap_or_else(|| state.config.base_path.clone());
    request.extensions_mut().insert(base.clone());

    let span = spans::of_request(&method, route.as_ref().map(MatchedPath::as_str), request.headers());
    let limit = state.config.max_uri_bytes;
    let too_long = uri.path_and_query().is_some_and(|path| path.as_str().len() > limit);
    let answered = if too_long {
        let detail = format!("the path and query are longer than {limit} bytes");
        Err(Problem::new(StatusCode::URI_TOO_LONG, detail))
    } else {
        // a response that is ready at once costs no timer: the timeout is registered at the first await that pends
        let answer = tokio::time::timeout(state.config.request_timeout, next.run(request));
        answer.instrument(span.clone()).await.map_err(|_| {
            let detail = "the request took too long; it is unknown whether it changed anything";
            Problem::unavailable(detail, state.config.retry_after).cause("request timed out")
        })
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);

    let route = route.as_ref().map(MatchedPath::as_str);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        report(&problem, &state, &method, route);
        // the path without the query, which may contain a secret; nothing if the path is too long
        let problem = if too_long { problem } else { problem.instance(&base.join(uri.path())) };
        response = with_added_headers(problem, &mut response);
    }
    add_security_headers(response.headers_mut());
    spans::answered(&span, response.status());
    metrics.count(route, &method, response.status(), started.elapsed());
    response
}

/// Adds the headers that every response has.
pub fn add_security_headers(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // other origins may read responses where CORS permits it, but not embed them
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// Counts a rejected request; logs a failure and records it in the error journal.
fn report(problem: &Problem, state: &AppState, method: &Method, route: Option<&str>) {
    count_rejection(problem.status());
    let Some(cause) = problem.logged_cause() else { return };
    log(problem, method, route, cause);
    if let Some(dependency) = problem.failed_dependency() {
        let operation = if method == Method::POST { "write" } else { "read" };
        state.journal.record(operation, dependency, route.unwrap_or_default(), &cause);
    }
}

/// Response of a problem, with the headers that the router and CORS added to the first one: without the latter a page
/// could not read the problem.
fn with_added_headers(problem: Problem, first: &mut Response) -> Response {
    let mut response = problem.into_response();
    let mut added = std::mem::take(first.headers_mut());
    for name in added.keys().filter(|name| is_added(name)).cloned().collect::<Vec<_>>() {
        if let Some(value) = added.remove(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Whether the router or CORS adds this header.
fn is_added(name: &HeaderName) -> bool {
    [header::ALLOW, header::VARY].contains(name) || name.as_str().starts_with("access-control-")
}

/// Counts requests that exceed a size or time limit. Rate limits are counted where they are checked.
fn count_rejection(status: StatusCode) {
    match status {
        StatusCode::URI_TOO_LONG => count_rejected(Limit::Uri),
        StatusCode::PAYLOAD_TOO_LARGE => count_rejected(Limit::Body),
        StatusCode::REQUEST_TIMEOUT => count_rejected(Limit::BodyTime),
        _ => {}
    }
}

fn log(problem: &Problem, method: &Method, route: Option<&str>, cause: &str) {
    let status = problem.status().as_u16();
    if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(status, %method, route, cause, "request failed");
    } else {
        tracing::warn!(status, %method, route, cause, "a dependency of a request is unavailable");
    }
}
