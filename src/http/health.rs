//! Liveness and readiness.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::auth;
use super::error::Problem;
use super::query::{FromParams, Params, Query};
use super::requester::Requester;
use super::root::SERVICE;
use super::state::{AlertServices, AppState};
use crate::access::{Access, Role};
use crate::history::HistoryError;
use crate::live::FollowStatus;
use crate::log::Bounds;
use checks::{Checks, Dependency, LogCheck, MapCheck, PoolCheck, StreamCheck, WebhookCheck};

pub mod checks;

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "status": "ok", "service": "living-map-service", "version": "0.1.0", "time": "2026-01-19T12:00:00Z",
}))]
pub struct Health {
    /// `ok`.
    status: &'static str,
    /// `living-map-service`.
    service: &'static str,
    /// Version of the server.
    version: &'static str,
    /// The server's clock.
    time: DateTime<Utc>,
}

/// Readiness of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// All checks pass.
    Ready,
    /// The server answers requests, but a dependency is unavailable or an upstream's data is stale; see the checks.
    Degraded,
    /// The map is not complete yet: the server is still reading the event log for the first time, or the log has lost its
    /// entries and the map has not been carried over yet.
    NotReady,
}

/// Readiness of the server and the state of its dependencies.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Result of all checks.
    status: Readiness,
    /// Checks of the dependencies; null if the server requires tokens and the request has none.
    #[schema(required)]
    checks: Option<Checks>,
    /// Use of the pools that clients share; only with `verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pools: Option<Vec<PoolCheck>>,
}

/// Level of detail.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReadyQuery {
    /// Adds the use of each pool that clients share. Requires the role operator, where tokens are required.
    #[param(value_type = Option<bool>)]
    verbose: bool,
}

impl FromParams for ReadyQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self { verbose: params.switch("verbose")? })
    }
}

/// Check liveness
///
/// Succeeds as long as the process runs. Does not query any dependency.
#[utoipa::path(
    get, path = "/living-map/health", tag = "service", operation_id = "health",
    responses((status = 200, body = Health))
)]
pub async fn health() -> Response {
    let health = Health { status: "ok", service: SERVICE, version: env!("CARGO_PKG_VERSION"), time: Utc::now() };
    uncached(Json(health).into_response())
}

/// Check readiness
///
/// Reports the state of each dependency. If an upstream, the event log, or the database is unavailable, the status is
/// `degraded` with HTTP 200, since the server still answers from its last state. HTTP 503 is returned only while the map
/// is not complete yet.
#[utoipa::path(
    get, path = "/living-map/ready", tag = "service", operation_id = "ready",
    params(ReadyQuery),
    responses(
        (status = 200, description = "`ready` or `degraded`", body = Ready),
        (status = 400, description = "`verbose` is not a boolean"),
        (status = 401, description = "`verbose` requires a token"),
        (status = 403, description = "`verbose` requires the role operator"),
        (status = 503, description = "`not_ready`", body = Ready),
    )
)]
pub async fn ready(
    State(state): State<AppState>,
    requester: Requester,
    Query(query): Query<ReadyQuery>,
) -> Result<Response, Problem> {
    if query.verbose {
        auth::require(&requester, Role::Operator)?;
    }
    let checks = check_all(&state).await;
    let status = match checks.all_pass() {
        _ if !state.live.is_complete() => Readiness::NotReady,
        true => Readiness::Ready,
        false => Readiness::Degraded,
    };
    // error messages and dependencies are not public
    let checks = (!requester.is_anonymous()).then_some(checks);
    let code = if status == Readiness::NotReady { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let pools = query.verbose.then(|| state.pool_usage().into_iter().map(PoolCheck::from).collect());
    Ok(uncached((code, Json(Ready { status, checks, pools })).into_response()))
}

/// Checks all dependencies at the same time. Each may take `probe_timeout`.
async fn check_all(state: &AppState) -> Checks {
    let limit = state.config.probe_timeout;
    let (log, history, bounds, webhooks) = tokio::join!(
        within(limit, state.log.ready()),
        within(limit, state.history.ping()),
        within(limit, state.log.bounds()),
        within(limit, check_webhooks(state))
    );
    Checks {
        log: LogCheck::new(state.log.kind(), log.err(), state.log.warning(), state.log.unsourced()),
        bridge: state.bridge.as_ref().map(|bridge| bridge.status().into()),
        history: Dependency::new(state.history.kind(), history.err()),
        writer: state.writer.as_ref().map(|status| (&*status.borrow()).into()),
        adopted_rows: state.adoption.as_ref().map(|status| (&*status.borrow()).into()),
        map: check_map(state, bounds.ok()),
        lease: state.leadership.status().into(),
        sources: state.upstreams.health(Utc::now()),
        journal: state.journal.status().into(),
        learner: state.learner.as_ref().map(|status| (&*status.borrow()).into()),
        alerts: state.alerts.as_ref().map(|alerts| (&*alerts.rules.borrow()).into()),
        webhooks: webhooks.ok().flatten(),
        stream: StreamCheck { clients: state.streams.clients() },
        keys: state.access.as_ref().and_then(Access::keys).map(Into::into),
    }
}

fn check_map(state: &AppState, bounds: Option<Bounds>) -> MapCheck {
    let cursor = state.live.cursor();
    let (following, error) = match state.live.follow_status() {
        FollowStatus::CatchingUp => ("catching_up", None),
        FollowStatus::Current => ("current", None),
        FollowStatus::AwaitingBase(reason) => ("awaiting_base", Some(reason)),
        FollowStatus::Stale(reason) => ("stale", Some(reason)),
    };
    let lag = bounds.filter(|bounds| bounds.epoch == cursor.epoch).map(|b| b.last.saturating_sub(cursor.seq));
    let (entities, compatible) = state.live.with(|map| (map.len(), map.compatibility()));
    MapCheck { following, error, cursor, lag, entities, compatible }
}

async fn check_webhooks(state: &AppState) -> Result<Option<Vec<WebhookCheck>>, HistoryError> {
    let Some(AlertServices { rules, outbox }) = &state.alerts else { return Ok(None) };
    let destinations = Arc::clone(&rules.borrow().destinations);
    if destinations.is_empty() {
        return Ok(None);
    }
    let pending = outbox.backlog().await?;
    Ok(Some(destinations.iter().map(|destination| WebhookCheck::new(destination, &pending)).collect()))
}

async fn within<T, E: ToString>(limit: Duration, check: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, check).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no response within {limit:?}")),
    }
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
