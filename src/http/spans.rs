//! Tracing span of a request, part of the trace in its `traceparent` header.

use axum::http::{HeaderMap, Method, StatusCode};
use tracing::Span;
use tracing::field::Empty;

use crate::model::Traceparent;
use crate::telemetry::{self, TARGET};

/// Span of a request. Has the route instead of the path and query, which may contain private data.
pub fn of_request(method: &Method, route: Option<&str>, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = %name(method, route),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = known(method),
        http.route = route,
        http.response.status_code = Empty,
    );
    if !span.is_disabled()
        && let Some(from) = caller(headers)
    {
        telemetry::set_parent(&span, from);
    }
    span
}

/// Records the status of the response.
pub fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "error");
    }
}

/// Trace of a request, even if this server does not export traces.
pub fn of(headers: &HeaderMap) -> Option<Traceparent> {
    telemetry::current().or_else(|| caller(headers))
}

/// Value of the `traceparent` header. A repeated header is ambiguous and ignored.
fn caller(headers: &HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all(Traceparent::NAME).iter();
    let first = values.next().filter(|_| values.next().is_none())?;
    first.to_str().ok()?.parse().ok()
}

fn name(method: &Method, route: Option<&str>) -> String {
    let method = known(method);
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// Method as a label of a closed set, since a client may send any method.
fn known(method: &Method) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}
