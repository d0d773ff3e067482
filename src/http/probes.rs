//! Probes that do not depend on the server's main runtime: of a listener for metrics, of connections beyond the limit, and
//! of a process without a map, such as a separate learner.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;

use super::config::HttpConfig;
use super::cross_origin::check_host_only;
use super::error::Problem;
use super::health::checks::LearnerCheck;
use super::{fallback, health};
use crate::learner::LearnerStatus;

/// Health of the learner.
#[derive(Debug, Serialize)]
struct LearnerHealth {
    /// `ok`, or `degraded`; see the check.
    status: &'static str,
    service: &'static str,
    version: &'static str,
    time: DateTime<Utc>,
    learner: LearnerCheck,
}

/// `GET /health` and `GET /metrics` of a separate learner process. `/health` returns 200 as long as the process runs: a
/// restart would not help against an unavailable dependency.
pub fn learner_router(
    config: &HttpConfig,
    learner: watch::Receiver<LearnerStatus>,
    metrics: PrometheusHandle,
) -> Router {
    let health = move || {
        let check = LearnerCheck::from(&*learner.borrow());
        let (service, version) = ("living-map-learner", env!("CARGO_PKG_VERSION"));
        let status = if check.is_down() { "degraded" } else { "ok" };
        std::future::ready(Json(LearnerHealth { status, service, version, time: Utc::now(), learner: check }))
    };
    without_tokens(config, metrics_router(metrics).route("/health", get(health)))
}

/// `GET /metrics` only.
fn metrics_router(metrics: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(move || super::metrics::render(metrics.clone())))
}

/// Completes the routes of a listener without authentication.
fn without_tokens(config: &HttpConfig, routes: Router) -> Router {
    routes
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(from_fn_with_state(config.allowed_hosts.clone(), check_host_only))
}

/// `GET /metrics`, `/health` and `/ready` of a server, for a listener without authentication.
pub fn listener_router(config: &HttpConfig, metrics: PrometheusHandle, readiness: ReadinessProbe) -> Router {
    let ready = move |mut request: Request| async move {
        *request.uri_mut() = Uri::from_static(READINESS);
        readiness.check(request).await
    };
    without_tokens(config, metrics_router(metrics).route("/health", get(health::health)).route("/ready", get(ready)))
}

/// Paths of the liveness probes of the server and the learner.
const LIVENESS: [&str; 2] = ["/living-map/health", "/health"];
/// Path of the server's readiness probe.
const READINESS: &str = "/living-map/ready";

/// The probes of `router`, for connections beyond the limit; 503 for everything else. Readiness is checked on `main`.
pub fn reserved_router(router: &Router, main: Handle, config: &HttpConfig) -> Router {
    let readiness = ReadinessProbe::new(main, config);
    readiness.begin(router.clone());
    let retry_after = config.retry_after;
    let full = move || {
        let detail = "all connections that this address may have are in use; this one is reserved for probes";
        std::future::ready(Problem::unavailable(detail, retry_after))
    };
    let mut probes =
        Router::new().route(READINESS, any(move |request: Request| async move { readiness.check(request).await }));
    for path in LIVENESS {
        let router = router.clone();
        probes = probes.route(path, any(move |request: Request| router.oneshot(request)));
    }
    probes.fallback(full)
}

/// Readiness of the server as a whole, which includes that its main runtime answers in time.
#[derive(Clone)]
pub struct ReadinessProbe {
    main: Handle,
    router: Arc<OnceLock<Router>>,
    timeout: Duration,
    retry_after: Duration,
}

impl ReadinessProbe {
    /// A probe of a server that is starting, on the runtime `main`.
    pub fn new(main: Handle, config: &HttpConfig) -> Self {
        // the dependencies are checked at the same time
        let timeout = config.probe_timeout * 2;
        Self { main, router: Arc::default(), timeout, retry_after: config.retry_after }
    }

    /// Notes that `router` answers requests now.
    pub fn begin(&self, router: Router) {
        // a server has one router
        let _ = self.router.set(router);
    }

    /// Response of the router to `request`, or 503 if there is none yet or none in time.
    async fn check(&self, request: Request) -> Response {
        let unavailable = |detail: &'static str| Problem::unavailable(detail, self.retry_after).into_response();
        let Some(router) = self.router.get() else { return unavailable("the server is starting") };
        let answer = AbortOnDropHandle::new(self.main.spawn(router.clone().oneshot(request)));
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(_)) => unavailable("the check of readiness was aborted"),
            Err(_) => unavailable("the server is too busy to check its readiness in time"),
        }
    }
}

/// Bytes of a request that [`is_probe`] looks at, at most.
pub const MAX_REQUEST_LINE: usize = 64;

/// Returns true if a request that begins with these bytes asks for a probe.
pub fn is_probe(request: &[u8]) -> bool {
    let path = [&b"GET "[..], b"HEAD "].iter().find_map(|method| request.strip_prefix(*method));
    let path = path.and_then(|rest| rest.split(|byte| matches!(byte, b' ' | b'?')).next());
    path.is_some_and(|path| LIVENESS.iter().chain([&READINESS]).any(|probe| probe.as_bytes() == path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_probes_are_recognized_by_their_first_bytes() {
        for (request, expected) in [
            ("GET /living-map/health HTTP/1.1\r\n", true),
            ("HEAD /living-map/ready?verbose HTTP/1.1\r\n", true),
            ("GET /health HTTP/1.0\r\n", true),
            ("GET /living-map/healthy HTTP/1.1\r\n", false),
            ("POST /living-map/health HTTP/1.1\r\n", false),
            ("GET /living-map/snapshot HTTP/1.1\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_probe(request.as_bytes()), expected, "{request:?}");
        }
    }
}
