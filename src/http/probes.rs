//! Health and metrics of a process without a map, such as a separate learner.

use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;

use super::fallback;
use super::health::checks::LearnerCheck;
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
pub fn learner_router(learner: watch::Receiver<LearnerStatus>, metrics: PrometheusHandle) -> Router {
    let health = move || {
        let check = LearnerCheck::from(&*learner.borrow());
        let (service, version) = ("living-map-learner", env!("CARGO_PKG_VERSION"));
        let status = if check.is_down() { "degraded" } else { "ok" };
        std::future::ready(Json(LearnerHealth { status, service, version, time: Utc::now(), learner: check }))
    };
    metrics_router(metrics).route("/health", get(health))
}

/// `GET /metrics` only.
pub fn metrics_router(metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(move || std::future::ready(super::metrics::render(&metrics))))
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
}
