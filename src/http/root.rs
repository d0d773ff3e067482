//! `GET /`: the web page for browsers, a list of endpoints for programs.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::{negotiate, page};
use crate::access::base_path::BasePath;

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
    health: String,
    /// The whole map.
    snapshot: String,
    /// List of entities.
    entities: String,
    /// History of all events.
    history: String,
    /// Live changes by WebSocket.
    stream: String,
    /// Live changes by server-sent events.
    event_stream: String,
    /// Readiness, with a check for each dependency.
    ready: String,
    /// Publishes events.
    events: String,
    /// `OpenAPI` document.
    openapi: String,
    /// Explorer of the `OpenAPI` document.
    docs: String,
    /// Prometheus metrics.
    metrics: String,
}

impl ServiceInfo {
    /// `base` is the path under which the client sees this server.
    fn at(base: &BasePath) -> Self {
        let path = |path: &str| base.join(path);
        Self {
            service: SERVICE,
            version: env!("CARGO_PKG_VERSION"),
            phase: "production",
            endpoints: Endpoints {
                health: path("/living-map/health"),
                snapshot: path("/living-map/snapshot"),
                entities: path("/living-map/entities"),
                history: path("/living-map/history"),
                stream: path("/living-map/stream"),
                event_stream: path("/living-map/events/stream"),
                ready: path("/living-map/ready"),
                events: path("/living-map/events"),
                openapi: path("/openapi.json"),
                docs: path("/docs/"),
                metrics: path("/metrics"),
            },
        }
    }
}

/// Get the server's name and endpoints
///
/// Browsers (`Accept: text/html`) get the web page.
#[utoipa::path(
    get, path = "/", tag = "service", operation_id = "root",
    responses((status = 200, content((ServiceInfo = "application/json"), (String = "text/html"))))
)]
pub async fn root(Extension(base): Extension<BasePath>, headers: HeaderMap) -> Response {
    let mut response = if negotiate::prefers_html(&headers) {
        page::index(&headers).into_response()
    } else {
        Json(ServiceInfo::at(&base)).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
