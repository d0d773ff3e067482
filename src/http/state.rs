//! State shared by all handlers.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::answer::ResponseBudget;
use super::config::HttpConfig;
use super::error::Problem;
use super::limits::Limits;
use super::pools::HttpPools;
use crate::access::Access;
use crate::access::shares::PoolUse;
use crate::alerts::RulesStatus;
use crate::dead_letters::DeadLetterService;
use crate::history::adopted::AdoptionStatus;
use crate::history::{History, Lessons, Outbox, Snapshots};
use crate::journal::Journal;
use crate::learner::LearnerStatus;
use crate::lease::Leadership;
use crate::live::{FollowStatus, LiveMap, Replay, TimeTravel};
use crate::log::{Bridge, EventLog, WriterStatus};
use crate::stream::Streams;
use crate::sync::Refresher;
use crate::upstream_health::UpstreamHealth;

/// State shared by all handlers. Cloning copies one pointer.
#[derive(Clone)]
pub struct AppState(Arc<Services>);

/// Configuration and services that the handlers use.
pub struct Services {
    /// Limits and timeouts.
    pub config: HttpConfig,
    /// Token verification; `None` if the server requires no tokens.
    pub access: Option<Access>,
    /// Rate limits by address and by token.
    pub limits: Limits,
    /// Pools that clients share.
    pub pools: HttpPools,
    /// Bytes of responses in flight.
    pub responses: ResponseBudget,
    /// The current map.
    pub live: LiveMap,
    /// Event log, to which published events are appended.
    pub log: Arc<dyn EventLog>,
    /// History of all events.
    pub history: Arc<dyn History>,
    /// Error journal.
    pub journal: Journal,
    /// Messages that failed all their retries.
    pub dead_letters: DeadLetterService,
    /// Alert rules; `None` without a rules file.
    pub alerts: Option<AlertServices>,
    /// Saved snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// The map at past positions.
    pub time_travel: TimeTravel,
    /// Recorded frames.
    pub replay: Replay,
    /// Lessons learned from agents' experiences.
    pub lessons: Arc<dyn Lessons>,
    /// Status of the learner; `None` if this server does not learn.
    pub learner: Option<watch::Receiver<LearnerStatus>>,
    /// Health of the upstreams.
    pub upstreams: UpstreamHealth,
    /// Polls the upstreams on request, for `fresh=true`.
    pub refresher: Refresher,
    /// Leader election: the role of this replica.
    pub leadership: Leadership,
    /// Status of the history writer; `None` if the log is the history table itself.
    pub writer: Option<watch::Receiver<WriterStatus>>,
    /// Status of completing rows of the replaced service; none where there cannot be any.
    pub adoption: Option<watch::Receiver<AdoptionStatus>>,
    /// Records subjects by subscribing to them; `None` without such subjects.
    pub bridge: Option<Bridge>,
    /// WebSocket and SSE clients.
    pub streams: Streams,
    /// Renders the metrics of the whole process.
    pub metrics: PrometheusHandle,
}

/// Alert rules and the deliveries to webhooks.
#[derive(Clone)]
pub struct AlertServices {
    /// Rules and destinations of the file, and its last error.
    pub rules: watch::Receiver<RulesStatus>,
    /// Webhook deliveries that are pending.
    pub outbox: Arc<dyn Outbox>,
}

impl AppState {
    /// The map, if it is complete.
    ///
    /// # Errors
    /// 503 until the log has been read once: an incomplete map must not be taken for the current one.
    pub fn map(&self) -> Result<&LiveMap, Problem> {
        if self.live.is_complete() {
            return Ok(&self.live);
        }
        let detail = match self.live.follow_status() {
            FollowStatus::AwaitingBase(_) => {
                "the event log has lost entries, and the map is not carried over to it yet"
            }
            _ => "the map is not complete yet: the server is still reading the event log for the first time",
        };
        Err(Problem::unavailable(detail, self.config.retry_after))
    }

    /// Use of all pools that clients share.
    pub fn pool_usage(&self) -> Vec<PoolUse> {
        let tickets = self.access.iter().flat_map(Access::pool_usage);
        self.pools.usage().chain([self.responses.usage()]).chain(tickets).collect()
    }

    /// Problem document for an error, with the configured `Retry-After` if it has one at all.
    pub fn problem(&self, error: impl Into<Problem>) -> Problem {
        error.into().retry_after(self.config.retry_after)
    }
}

impl From<Services> for AppState {
    fn from(services: Services) -> Self {
        Self(Arc::new(services))
    }
}

impl Deref for AppState {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.0
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("config", &self.config).finish_non_exhaustive()
    }
}
