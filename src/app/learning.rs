//! `living-map learn`: the learner as a separate process.

use std::sync::Arc;

use anyhow::ensure;
use tokio::time::Instant;

use super::configs::{lease_config, log_config};
use super::process::{Process, start_journal, start_metrics_upkeep};
use super::settings::Settings;
use super::shutdown::Shutdown;
use super::{files, instruments};
use crate::dead_letters::DeadLetterQueue;
use crate::history::Storage;
use crate::http;
use crate::learner::{Learning, LearningHandles};
use crate::lease::Leadership;
use crate::log::{LogHandles, OpenLog};
use crate::tasks::Tasks;
use crate::telemetry::Export;
use crate::upstream_health::UpstreamHealth;

/// The lease of learner processes. A server that learns does so by its own lease.
const LEASE: &str = "learner";

/// Runs the learner until a stop signal.
///
/// # Errors
/// A setting is invalid, or a service that it needs cannot be used.
pub async fn learn(settings: Settings, traces: Option<Export>) -> anyhow::Result<()> {
    let mut settings = settings.resolved();
    ensure!(
        settings.streams.nats_url.is_some(),
        "NATS_URL is not set: without NATS the learner is a part of `living-map serve`"
    );
    settings.listen.check(settings.access.auth).map_err(anyhow::Error::msg)?;
    files::cap_connections(&mut settings, files::raise_limit());
    let mut tasks = Tasks::default();
    let process = Process::start(&settings, settings.learner_process.port, "LEARNER_PORT")?;
    instruments::register_learner();
    let journal = start_journal(&settings, traces, &mut tasks)?;
    let storage = Storage::open(settings.storage.clone()).await?;
    let dead_letters = DeadLetterQueue::new(settings.retry.clone(), Arc::clone(&storage.dead_letters));
    let lease = lease_config(&settings, LEASE);
    let leadership = Leadership::start(lease, &storage.leases, &UpstreamHealth::default(), &mut tasks);
    let handles = LogHandles { storage: &storage, dead_letters: &dead_letters, journal: &journal };
    let log = OpenLog::start(log_config(&settings, None)?, handles, &mut tasks).await?;
    let handles = LearningHandles {
        storage: &storage,
        log: &log,
        dead_letters: &dead_letters,
        journal: &journal,
        leadership: &leadership,
    };
    let learning = Learning::start(settings.learning.clone(), handles, &mut tasks);
    start_metrics_upkeep(process.metrics.clone(), &mut tasks);
    tracing::info!("learning; /health and /metrics on http://{}", process.address);
    let config = &settings.serving.http;
    let router = http::learner_router(config, learning.status, process.metrics);
    http::serve(&process.accept_thread, process.listener, router, config, process.stop).await;
    Shutdown::new(settings.shutdown.timeout, Instant::now()).run(std::future::ready(()), tasks, &storage).await
}
