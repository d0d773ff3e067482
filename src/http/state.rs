//! What the handlers work with.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::config::HttpConfig;
use super::error::Problem;
use super::limits::Limits;
use crate::access::Access;
use crate::adapters::UpstreamHealth;
use crate::alerts::RulesStatus;
use crate::dead_letters::DeadLetterService;
use crate::history::{History, Lessons, Outbox, Snapshots};
use crate::journal::Journal;
use crate::learner::LearnerStatus;
use crate::lease::Leadership;
use crate::live::{LiveMap, TimeTravel};
use crate::log::{EventLog, WriterStatus};
use crate::stream::Streams;
use crate::sync::Refresher;

/// The parts that the handlers work with; cloning it copies one pointer.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts, each owned by the room it comes from.
pub struct Parts {
    /// Limits.
    pub config: HttpConfig,
    /// Knows tokens; none where nobody is asked for one.
    pub access: Option<Access>,
    /// Who has had how much.
    pub limits: Limits,
    /// The current map.
    pub live: LiveMap,
    /// Where published events go.
    pub log: Arc<dyn EventLog>,
    /// The record.
    pub history: Arc<dyn History>,
    /// What failed.
    pub journal: Journal,
    /// What could not be processed.
    pub dead_letters: DeadLetterService,
    /// The alert rules; none where there is no file of them.
    pub alerts: Option<AlertParts>,
    /// Saved snapshots.
    pub snapshots: Arc<dyn Snapshots>,
    /// The map as it was.
    pub past: TimeTravel,
    /// What was learned.
    pub lessons: Arc<dyn Lessons>,
    /// How the learner is doing; none where this server does not learn.
    pub learner: Option<watch::Receiver<LearnerStatus>>,
    /// How the upstreams are doing.
    pub sources: UpstreamHealth,
    /// Polls the upstreams ahead of time.
    pub refresher: Refresher,
    /// Whether this server does what one does for all.
    pub leadership: Leadership,
    /// How the history writer is doing; none where the record is the log itself.
    pub writer: Option<watch::Receiver<WriterStatus>>,
    /// The WebSocket side.
    pub streams: Streams,
    /// Renders the metrics of the whole process.
    pub metrics: PrometheusHandle,
}

/// The alert rules, and who is told of the alerts.
#[derive(Clone)]
pub struct AlertParts {
    /// The file.
    pub rules: watch::Receiver<RulesStatus>,
    /// What webhooks are to be told.
    pub outbox: Arc<dyn Outbox>,
}

impl AppState {
    /// The map, once it is complete.
    ///
    /// # Errors
    /// 503 before: a map of the past, or none, must not be taken for the present.
    pub fn map(&self) -> Result<&LiveMap, Problem> {
        if self.live.is_complete() {
            return Ok(&self.live);
        }
        let detail = "the map is not complete yet: the log is still being read for the first time";
        Err(Problem::unavailable(detail, self.config.retry_after))
    }
}

impl From<Parts> for AppState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("config", &self.config).finish_non_exhaustive()
    }
}
