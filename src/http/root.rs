//! `GET /`: the web page for browsers, a list of endpoints for programs.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{negotiate, page};

/// Service name in responses. Unchanged since the first version, since clients compare it.
pub const SERVICE: &str = "living-map-service";

/// Name, version, and endpoints of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceInfo {
    /// `living-map-service`.
    service: &'static str,
    /// Version of the server.
    version: &'static str,
    /// Lifecycle stage, always `production`; for clients of the service that this one replaces.
    phase: &'static str,
    /// Paths of the main endpoints.
    endpoints: Endpoints,
}

/// Paths of the main endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoints {
    /// Liveness.
    health: &'static str,
    /// The whole map.
    snapshot: &'static str,
    /// List of entities.
    entities: &'static str,
    /// History of all events.
    history: &'static str,
    /// Live changes by WebSocket.
    stream: &'static str,
    /// Live changes by server-sent events.
    event_stream: &'static str,
    /// Readiness, with a check for each dependency.
    ready: &'static str,
    /// Publishes events.
    events: &'static str,
    /// `OpenAPI` document.
    openapi: &'static str,
    /// Explorer of the `OpenAPI` document.
    docs: &'static str,
    /// Prometheus metrics.
    metrics: &'static str,
}

const INFO: ServiceInfo = ServiceInfo {
    service: SERVICE,
    version: env!("CARGO_PKG_VERSION"),
    phase: "production",
    endpoints: Endpoints {
        health: "/living-map/health",
        snapshot: "/living-map/snapshot",
        entities: "/living-map/entities",
        history: "/living-map/history",
        stream: "/living-map/stream",
        event_stream: "/living-map/events/stream",
        ready: "/living-map/ready",
        events: "/living-map/events",
        openapi: "/openapi.json",
        docs: "/docs/",
        metrics: "/metrics",
    },
};

/// Get the server's name and endpoints
///
/// Browsers (`Accept: text/html`) get the web page.
#[utoipa::path(
    get, path = "/", tag = "service", operation_id = "root",
    responses((status = 200, content((ServiceInfo = "application/json"), (String = "text/html"))))
)]
pub async fn root(headers: HeaderMap) -> Response {
    let mut response = if negotiate::prefers_html(&headers) {
        page::index(&headers).into_response()
    } else {
        Json(INFO).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
