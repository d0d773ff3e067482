//! `GET /`: the page for browsers, a list of what there is for programs.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{negotiate, page};

/// The name this service goes by since its first version; clients compare it.
pub const SERVICE: &str = "living-map-service";

/// What this server is and where its parts are.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceInfo {
    /// `living-map-service`.
    service: &'static str,
    /// Version of the server.
    version: &'static str,
    /// Stage of the service's life; kept for clients of the service this one replaces.
    phase: &'static str,
    /// Where its parts are.
    endpoints: Endpoints,
}

/// Paths of the server's parts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoints {
    /// Liveness.
    health: &'static str,
    /// The whole map.
    snapshot: &'static str,
    /// Entities of all layers.
    entities: &'static str,
    /// Every event.
    history: &'static str,
    /// WebSocket.
    stream: &'static str,
    /// Server-sent events.
    event_stream: &'static str,
    /// Readiness, dependency by dependency.
    ready: &'static str,
    /// Publishing events.
    events: &'static str,
    /// The `OpenAPI` document.
    openapi: &'static str,
    /// The explorer of the `OpenAPI` document.
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

/// What this server is
///
/// Browsers (`Accept: text/html`) get the map's page.
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
