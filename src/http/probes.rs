//! What a process without the map is asked: is it alive, how is it doing, what has it counted?

use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;

use super::guard;
use super::health::LearnerCheck;
use crate::learner::LearnerStatus;

/// How the learner is doing.
#[derive(Debug, Serialize)]
struct LearnerHealth {
    /// `ok`, or `degraded`: the check says why.
    status: &'static str,
    service: &'static str,
    version: &'static str,
    time: DateTime<Utc>,
    learner: LearnerCheck,
}

/// `GET /health` and `GET /metrics` of a learner that runs alone. `/health` is 200 as long as the process is alive: what it
/// rests on being away is no reason to start it again.
pub fn learner_router(learner: watch::Receiver<LearnerStatus>, metrics: PrometheusHandle) -> Router {
    let health = move || {
        let check = LearnerCheck::from(&*learner.borrow());
        let (service, version) = ("living-map-learner", env!("CARGO_PKG_VERSION"));
        let status = if check.is_down() { "degraded" } else { "ok" };
        std::future::ready(Json(LearnerHealth { status, service, version, time: Utc::now(), learner: check }))
    };
    metrics_router(metrics).route("/health", get(health))
}

/// `GET /metrics`, and nothing else.
pub fn metrics_router(metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(move || std::future::ready(super::metrics::answer(&metrics))))
        .fallback(guard::no_such_route)
        .method_not_allowed_fallback(guard::method_not_allowed)
}
