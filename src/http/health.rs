//! Is the process alive, and can it do its work?

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::Visitor;
use super::root::SERVICE;
use super::state::{AlertServices, AppState};
use crate::access::{Access, KeysStatus};
use crate::alerts::{Destination, RulesStatus};
use crate::history::HistoryError;
use crate::history::outbox::OutboxStanding;
use crate::journal::JournalStatus;
use crate::learner::LearnerStatus;
use crate::lease::{LeadershipStatus, Role};
use crate::live::FollowStatus;
use crate::log::WriterStatus;
use crate::model::{Cursor, SourceHealth, SourceStatus};

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

/// How well the server can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Everything works.
    Ready,
    /// Reads are answered, but something they rest on is away: see the checks.
    Degraded,
    /// The map is not complete yet: the log is still being folded for the first time.
    NotReady,
}

/// How well the server can do its work, and what of it rests on what.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// The sum of the checks.
    status: Readiness,
    /// One by one; null for those without a token where one is asked for.
    #[schema(required)]
    checks: Option<Checks>,
}

/// The dependencies, one by one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    /// The ordered log.
    log: Dependency,
    /// The durable record.
    history: Dependency,
    /// What brings the log into the record; null where the record is the log itself.
    #[schema(required)]
    writer: Option<WriterCheck>,
    /// The map.
    map: MapCheck,
    /// Whether this server does what one does for all servers of a database.
    lease: LeaseCheck,
    /// The upstreams.
    sources: Vec<SourceHealth>,
    /// The files of the error journal.
    journal: JournalCheck,
    /// What learns from experiences; null where this server does not.
    #[schema(required)]
    learner: Option<LearnerCheck>,
    /// The file of alert rules; null where there is none.
    #[schema(required)]
    alerts: Option<AlertsCheck>,
    /// Where alerts are sent; null where the file names nothing, or the database does not answer.
    #[schema(required)]
    webhooks: Option<Vec<WebhookCheck>>,
    /// The WebSocket side.
    stream: StreamCheck,
    /// The keys that tokens are checked with; null where none are fetched.
    #[schema(required)]
    keys: Option<KeysCheck>,
}

/// The file of alert rules.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertsCheck {
    /// `ok`, or `down`: the file as it is now cannot be used, and the rules before stay in force.
    status: &'static str,
    /// Rules in force.
    rules: usize,
    /// Since when.
    loaded_at: DateTime<Utc>,
    /// What is wrong with the file.
    #[schema(required)]
    error: Option<String>,
}

impl From<&RulesStatus> for AlertsCheck {
    fn from(status: &RulesStatus) -> Self {
        let RulesStatus { rules, loaded_at, error, .. } = status;
        let status = if error.is_none() { "ok" } else { "down" };
        Self { status, rules: rules.len(), loaded_at: *loaded_at, error: error.clone() }
    }
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookCheck {
    /// Its name in the file.
    name: String,
    /// `ok`, or `down`: a message that waits was not taken when it was sent last.
    status: &'static str,
    /// Messages that wait.
    waiting: u64,
    /// Since when the one waits that waits longest.
    #[schema(required)]
    oldest: Option<DateTime<Utc>>,
    /// Why the last one was not taken.
    #[schema(required)]
    error: Option<String>,
}

impl WebhookCheck {
    fn of(destination: &Destination, standing: &[OutboxStanding]) -> Self {
        let name = destination.name.clone();
        let Some(standing) = standing.iter().find(|standing| standing.destination == name) else {
            return Self { name, status: "ok", waiting: 0, oldest: None, error: None };
        };
        let status = if standing.error.is_none() { "ok" } else { "down" };
        let (waiting, oldest, error) = (standing.waiting, Some(standing.oldest), standing.error.clone());
        Self { name, status, waiting, oldest, error }
    }
}

/// The keys that tokens are checked with.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeysCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// How many can be used. Those that are there are used for as long as no others can be had.
    keys: usize,
    /// When they were read last.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Why they could not be read anew.
    #[schema(required)]
    error: Option<String>,
}

impl From<KeysStatus> for KeysCheck {
    fn from(KeysStatus { keys, last_success, error }: KeysStatus) -> Self {
        Self { status: if error.is_none() { "ok" } else { "down" }, keys, last_success, error }
    }
}

/// A dependency.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dependency {
    /// `ok` or `down`.
    status: &'static str,
    /// Which implementation it is: `jetstream` or `table`, `postgres` or `sqlite`.
    kind: &'static str,
    /// Why it is down.
    error: Option<String>,
}

/// The history writer.
#[derive(Debug, Serialize, ToSchema)]
pub struct WriterCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// Events in the log that are not in the record yet; null when it is not known.
    #[schema(required)]
    lag: Option<u64>,
    /// When a batch was committed last.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Why it cannot write.
    #[schema(required)]
    error: Option<String>,
}

impl From<&WriterStatus> for WriterCheck {
    fn from(writer: &WriterStatus) -> Self {
        let error = writer.database_error.clone().or_else(|| writer.log_error.clone());
        let status = if error.is_none() { "ok" } else { "down" };
        Self { status, lag: writer.lag, last_success: writer.last_success, error }
    }
}

/// Who polls the upstreams, saves the map and deletes what is too old.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeaseCheck {
    /// `leading`: this server; `following`: another one; `unknown`: the database does not say.
    role: &'static str,
    /// Since when.
    since: DateTime<Utc>,
    /// Grows with each change of hands; null when this server does not lead, or can have no other beside it.
    #[schema(required)]
    token: Option<u64>,
    /// Why the database did not say, when it was asked last.
    #[schema(required)]
    error: Option<String>,
}

impl From<LeadershipStatus> for LeaseCheck {
    fn from(standing: LeadershipStatus) -> Self {
        let LeadershipStatus { role, since, error } = standing;
        let (role, token) = match role {
            Role::Leading(token) => ("leading", token),
            Role::Following => ("following", None),
            Role::Unknown => ("unknown", None),
        };
        Self { role, since, token, error }
    }
}

/// The files of the error journal.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalCheck {
    /// `ok` or `down`.
    status: &'static str,
    /// Entries that wait to be written.
    pending: usize,
    /// Entries since the start that will not be in a file, since too many waited.
    dropped: u64,
    /// When a file was written last.
    #[schema(required)]
    last_flush: Option<DateTime<Utc>>,
    /// Why the store cannot be used.
    #[schema(required)]
    error: Option<String>,
}

impl From<JournalStatus> for JournalCheck {
    fn from(journal: JournalStatus) -> Self {
        let JournalStatus { pending, dropped, last_flush, error } = journal;
        Self { status: if error.is_none() { "ok" } else { "down" }, pending, dropped, last_flush, error }
    }
}

/// The learner.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnerCheck {
    /// `ok`, `down`, or `waiting`: its windows are being made again, or it is another server's turn.
    status: &'static str,
    /// Experiences in the stream that were not learned from yet; null when it is not known.
    #[schema(required)]
    lag: Option<u64>,
    /// Agents that are remembered.
    agents: usize,
    /// When experiences were learned from last, or there were none.
    #[schema(required)]
    last_success: Option<DateTime<Utc>>,
    /// Why it cannot learn.
    #[schema(required)]
    error: Option<String>,
}

impl LearnerCheck {
    /// Whether it cannot learn.
    pub(super) const fn is_down(&self) -> bool {
        self.error.is_some()
    }
}

impl From<&LearnerStatus> for LearnerCheck {
    fn from(learner: &LearnerStatus) -> Self {
        let LearnerStatus { learning, lag, agents, last_success, error, .. } = learner.clone();
        let status = match &error {
            Some(_) => "down",
            None if learning => "ok",
            None => "waiting",
        };
        Self { status, lag, agents, last_success, error }
    }
}

/// The map.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapCheck {
    /// `catching_up` (folding what was there at the start), `current`, or `stale` (the log is away).
    following: &'static str,
    /// Why it is stale.
    error: Option<String>,
    /// The position folded last.
    #[schema(value_type = String)]
    cursor: Cursor,
    /// Events in the log that are not folded yet; null when the log does not say.
    lag: Option<u64>,
    /// Number of entities.
    entities: usize,
}

/// The WebSocket side.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamCheck {
    /// Clients connected now.
    clients: usize,
}

/// Liveness
///
/// Asks nothing of any dependency.
#[utoipa::path(
    get, path = "/living-map/health", tag = "service", operation_id = "health",
    responses((status = 200, body = Health))
)]
pub async fn health() -> Response {
    let health = Health { status: "ok", service: SERVICE, version: env!("CARGO_PKG_VERSION"), time: Utc::now() };
    uncached(Json(health).into_response())
}

/// Readiness
///
/// Each dependency's state. An upstream, the log or the database being away is `degraded` and still 200, since the map
/// goes on answering from its last state; only a map that is not complete yet is 503.
#[utoipa::path(
    get, path = "/living-map/ready", tag = "service", operation_id = "ready",
    responses(
        (status = 200, description = "`ready` or `degraded`", body = Ready),
        (status = 503, description = "`not_ready`", body = Ready),
    )
)]
pub async fn ready(State(state): State<AppState>, request: Request) -> Response {
    let limit = state.config.probe_timeout;
    let standing = async {
        let Some(AlertServices { rules, outbox }) = &state.alerts else { return Ok(None) };
        let destinations = Arc::clone(&rules.borrow().destinations);
        if destinations.is_empty() {
            return Ok(None);
        }
        let standing = outbox.standing().await?;
        let check = |destination| WebhookCheck::of(destination, &standing);
        Ok::<_, HistoryError>(Some(destinations.iter().map(check).collect::<Vec<_>>()))
    };
    let (log_state, history_state, bounds, webhooks) = tokio::join!(
        probe(limit, state.log.ready()),
        probe(limit, state.history.ping()),
        probe(limit, state.log.bounds()),
        probe(limit, standing)
    );
    let webhooks = webhooks.ok().flatten();
    let cursor = state.live.cursor();
    let (following, error) = match state.live.follow_status() {
        FollowStatus::CatchingUp => ("catching_up", None),
        FollowStatus::Current => ("current", None),
        FollowStatus::Stale(reason) => ("stale", Some(reason)),
    };
    let sources = state.upstreams.health(Utc::now());
    let writer = state.writer.as_ref().map(|status| WriterCheck::from(&*status.borrow()));
    let writes = writer.as_ref().is_none_or(|writer| writer.error.is_none());
    let journal = JournalCheck::from(state.journal.status());
    let lease = LeaseCheck::from(state.leadership.status());
    let keys = state.access.as_ref().and_then(Access::keys).map(KeysCheck::from);
    let learner = state.learner.as_ref().map(|status| LearnerCheck::from(&*status.borrow()));
    let learns = learner.as_ref().is_none_or(|learner| learner.error.is_none());
    let alerts = state.alerts.as_ref().map(|alerts| AlertsCheck::from(&*alerts.rules.borrow()));
    let current = alerts.as_ref().is_none_or(|alerts| alerts.error.is_none())
        && webhooks.iter().flatten().all(|webhook| webhook.error.is_none())
        && lease.role != "unknown"
        && learns
        && keys.as_ref().is_none_or(|keys| keys.error.is_none())
        && journal.error.is_none()
        && following == "current"
        && log_state.is_ok()
        && history_state.is_ok()
        && writes;
    let served_fresh = !sources.iter().any(|source| matches!(source.status, SourceStatus::Stale | SourceStatus::Down));
    let status = if !state.live.is_complete() {
        Readiness::NotReady
    } else if current && served_fresh {
        Readiness::Ready
    } else {
        Readiness::Degraded
    };
    let lag = bounds.ok().filter(|bounds| bounds.epoch == cursor.epoch).map(|b| b.last.saturating_sub(cursor.seq));
    let checks = Checks {
        log: dependency(state.log.kind(), log_state),
        history: dependency(state.history.kind(), history_state),
        writer,
        map: MapCheck { following, error, cursor, lag, entities: state.live.with(crate::map::State::len) },
        lease,
        sources,
        journal,
        learner,
        alerts,
        webhooks,
        stream: StreamCheck { clients: state.streams.clients() },
        keys,
    };
    // what it rests on, and what they say, is nobody else's business
    let checks = (!Visitor::of(request.extensions()).is_anonymous()).then_some(checks);
    let code = if status == Readiness::NotReady { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    uncached((code, Json(Ready { status, checks })).into_response())
}

async fn probe<T, E: ToString>(limit: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {limit:?}")),
    }
}

fn dependency(kind: &'static str, state: Result<(), String>) -> Dependency {
    let error = state.err();
    Dependency { status: if error.is_none() { "ok" } else { "down" }, kind, error }
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
