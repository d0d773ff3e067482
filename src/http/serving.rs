//! Building the HTTP server from the services of the process.

use std::sync::Arc;

use axum::Router;
use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::answer::ResponseBudget;
use super::{
    AcceptThread, AlertServices, AppState, HttpConfig, HttpPools, InvalidOrigin, Limits, LimitsConfig, Services,
};
use crate::access::Access;
use crate::alerts::Alerting;
use crate::dead_letters::DeadLetterService;
use crate::history::Storage;
use crate::journal::Journal;
use crate::learner::LearnerStatus;
use crate::lease::Leadership;
use crate::live::Ingest;
use crate::log::{Bridge, OpenLog};
use crate::stream::Streams;
use crate::sync::UpstreamSync;

/// Settings of the HTTP server.
#[derive(Debug, Clone, Args)]
pub struct ServingConfig {
    /// Limits and timeouts.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Rate limits.
    #[command(flatten)]
    pub limits: LimitsConfig,
}

/// Services that the handlers use.
pub struct ServingHandles<'a> {
    /// The databases.
    pub storage: &'a Storage,
    /// The event log.
    pub log: &'a OpenLog,
    /// The current map and time travel.
    pub ingest: &'a Ingest,
    /// Health of the upstreams, and polls on request.
    pub upstreams: &'a UpstreamSync,
    /// The alert rules.
    pub alerting: &'a Alerting,
    /// The dead-letter service.
    pub dead_letters: DeadLetterService,
    /// The streaming clients.
    pub streams: Streams,
    /// State of this process.
    pub process: ProcessHandles,
}

/// State of this process that the handlers report and check.
pub struct ProcessHandles {
    /// Token verification; none if the server requires no tokens.
    pub access: Option<Access>,
    /// Role of this replica.
    pub leadership: Leadership,
    /// Status of the learner; none if this server does not learn.
    pub learner: Option<watch::Receiver<LearnerStatus>>,
    /// Records subjects by subscribing to them; none without such subjects.
    pub bridge: Option<Bridge>,
    /// The error journal.
    pub journal: Journal,
    /// Renders the metrics of the process.
    pub metrics: PrometheusHandle,
}

/// The HTTP server, ready to accept connections.
pub struct Serving {
    router: Router,
    config: HttpConfig,
}

impl Serving {
    /// Builds the routes with their state.
    ///
    /// # Errors
    /// A configured origin is invalid.
    pub fn new(config: ServingConfig, handles: ServingHandles<'_>) -> Result<Self, InvalidOrigin> {
        let ServingHandles { storage, log, ingest, upstreams, alerting, dead_letters, streams, process } = handles;
        let ServingConfig { http: config, limits } = config;
        let alerts = alerting.rules.clone();
        let state = AppState::from(Services {
            config: config.clone(),
            access: process.access,
            limits: Limits::new(limits),
            pools: HttpPools::new(
                &config,
                vec![ingest.time_travel.pool().clone(), ingest.replay.pool().clone(), streams.pool().clone()],
            ),
            responses: ResponseBudget::new(config.max_response_bytes, config.queue),
            live: ingest.live.clone(),
            log: Arc::clone(&log.log),
            history: Arc::clone(&storage.history),
            journal: process.journal,
            dead_letters,
            alerts: alerts.map(|rules| AlertServices { rules, outbox: Arc::clone(&storage.outbox) }),
            snapshots: Arc::clone(&storage.snapshots),
            time_travel: ingest.time_travel.clone(),
            replay: ingest.replay.clone(),
            lessons: Arc::clone(&storage.lessons),
            learner: process.learner,
            upstreams: upstreams.health.clone(),
            refresher: upstreams.refresher.clone(),
            leadership: process.leadership,
            writer: log.writer.clone(),
            adoption: ingest.adoption.clone(),
            bridge: process.bridge,
            streams,
            metrics: process.metrics,
        });
        Ok(Self { router: super::router(state)?, config })
    }

    /// Serves until `stop`, see [`super::serve`].
    pub async fn run(self, thread: &AcceptThread, listener: TcpListener, stop: CancellationToken) {
        super::serve(thread, listener, self.router, &self.config, stop).await;
    }

    /// The routes.
    pub fn router(&self) -> &Router {
        &self.router
    }
}
