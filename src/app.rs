//! Composition root: builds the parts of each command, starts their tasks, and stops them in order.

mod access;
mod alerts;
mod check;
mod configs;
mod files;
mod instruments;
mod learning;
mod log;
mod process;
mod settings;
mod shutdown;
mod streams;
mod traces;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alerts::{Alerting, AlertingHandles};
use crate::bus::ExtraSubjects;
use crate::dead_letters::{DeadLetterHandles, DeadLetterQueue, DeadLetterService};
use crate::demo::{self, Demo, DemoConfig};
use crate::history::Storage;
use crate::http::{ProcessHandles, Serving, ServingHandles};
use crate::learner::{ExperienceProcessor, Learning, LearningHandles};
use crate::lease::Leadership;
use crate::live::{Ingest, IngestHandles};
use crate::log::{Bridge, BridgeHandles, LogHandles, OpenLog, WriterConfig, dead_letter_publisher};
use crate::stream::Streams;
use crate::sync::{UpstreamSync, UpstreamSyncHandles};
use crate::tasks::Tasks;
use crate::telemetry::Export;
use crate::upstream_health::UpstreamHealth;
use crate::webhooks::{WebhookHandles, Webhooks};

use self::configs::{lease_config, log_config};
use self::process::{Process, serve_probes, start_journal, start_metrics_upkeep};
use self::settings::{JOURNAL_FOLDER, archive};
use self::shutdown::Shutdown;

pub use alerts::{check_rules, test_webhook};
pub use check::check;
pub use learning::learn;
pub use log::new_epoch;
pub use settings::{AlertSettings, DemoSettings, LogFormat, Settings, limits_reference, settings_reference};
pub use streams::streams;
pub use traces::telemetry;

/// The lease of the servers, for all their single-instance tasks.
const LEASE: &str = "leader";

/// Runs the server until a stop signal.
///
/// # Errors
/// A setting is invalid, a service that it needs cannot be used, or a task had to be aborted at the stop.
pub async fn serve(settings: Settings, traces: Option<Export>) -> anyhow::Result<()> {
    Box::pin(run(settings, None, traces)).await
}

/// Runs the server on a simulated network until a stop signal.
///
/// # Errors
/// See [`serve`].
pub async fn demo(demo: DemoSettings, mut settings: Settings, traces: Option<Export>) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("living-map-demo-").tempdir().context("no temporary folder")?;
    let file = demo.keep.unwrap_or_else(|| folder.path().join("living-map.db"));
    settings.storage.url = format!("sqlite://{}", file.display());
    settings.streams.nats_url = None;
    settings.bridge.subjects.clear();
    settings.streams.extra_subjects.push(ExtraSubjects::Network);
    settings.storage.learner_url = None;
    if settings.alerts.rules.file.is_none() {
        let rules = folder.path().join("alerts.toml");
        std::fs::write(&rules, demo::ALERT_RULES).context("the demo's alert rules cannot be written")?;
        settings.alerts.rules.file = Some(rules);
    }
    let journal = &mut settings.journal.url;
    journal.get_or_insert_with(|| folder.path().join(JOURNAL_FOLDER).display().to_string());
    Box::pin(run(settings, Some(demo.network), traces)).await
}

/// Builds the server from the lowest module to the highest, serves until a stop signal, and stops it.
async fn run(settings: Settings, demo: Option<DemoConfig>, traces: Option<Export>) -> anyhow::Result<()> {
    let mut settings = settings.resolved();
    let problems = settings.problems();
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    files::cap_connections(&mut settings, files::raise_limit());
    let mut tasks = Tasks::default();
    let process = Process::start(&settings, settings.listen.port, "PORT")?;
    instruments::register_server(settings.streams.nats_url.is_some(), settings.learner_process.enabled);
    let readiness = serve_probes(&settings, &process, &mut tasks)?;
    let Process { metrics, listener, address, accept_thread, stop } = process;
    let journal = &start_journal(&settings, traces, &mut tasks)?;
    let access = access::start(&settings.access, journal, &mut tasks)?;

    let storage = &Storage::open(settings.storage.clone()).await?;
    let queue = &DeadLetterQueue::new(settings.retry.clone(), Arc::clone(&storage.dead_letters));
    let upstream_health = &UpstreamHealth::default();
    let lease = lease_config(&settings, LEASE);
    let leadership = &Leadership::start(lease, &storage.leases, upstream_health, &mut tasks);
    let handles = LogHandles { storage, dead_letters: queue, journal };
    let log = &OpenLog::start(log_config(&settings, Some(WriterConfig::default()))?, handles, &mut tasks).await?;
    let bridge = log.jetstream.as_ref().and_then(|log| {
        let handles = BridgeHandles { log, leadership, journal };
        Bridge::start(settings.bridge.clone(), handles, &mut tasks)
    });
    let learner = settings.learner_process.enabled.then(|| {
        let handles = LearningHandles { storage, log, dead_letters: queue, journal, leadership };
        Learning::start(settings.learning.clone(), handles, &mut tasks).status
    });
    let handles = IngestHandles { storage, log, upstream_health, journal, leadership };
    let ingest = &Ingest::start(settings.ingest.clone(), handles, &mut tasks);
    let live = &ingest.live;

    let simulated = match demo {
        Some(config) => Some(Demo::start(&config, Arc::clone(&log.log)).await.context("the simulated network")?),
        None => None,
    };
    let mut upstreams = settings.upstreams.clone();
    if let Some(simulated) = &simulated {
        upstreams.adapters.endpoints = simulated.endpoints().clone();
    }
    let handles = UpstreamSyncHandles { log, live, upstream_health, journal, leadership };
    let upstreams = &UpstreamSync::start(upstreams, handles, &mut tasks)?;
    let handles = AlertingHandles { log, live, upstream_health, dead_letters: queue, journal, leadership };
    let alerting = &Alerting::start(settings.alerts.rules.clone(), handles, &mut tasks)?;
    let handles = WebhookHandles { alerting, storage, dead_letters: queue, log, live, journal, leadership };
    let webhooks = Webhooks::start(settings.alerts.webhooks.clone(), handles, &mut tasks)?;
    let mut processors = log.processors(storage);
    processors.push(Arc::new(ExperienceProcessor));
    processors.extend(webhooks.processor);
    let (publisher, alert) = (dead_letter_publisher(Arc::clone(&log.log)), alerting.dead_letter_alert(live));
    let archive = archive(&settings)?;
    let handles = DeadLetterHandles { queue, processors, publisher, alert, archive, journal, leadership };
    let dead_letters = DeadLetterService::start(settings.dead_letters.clone(), handles, &mut tasks);
    start_metrics_upkeep(metrics.clone(), &mut tasks);

    let stop_streams = CancellationToken::new();
    let streams = Streams::start(settings.stream.clone(), &ingest.hub, &ingest.sources, stop_streams.clone());
    let (leadership, journal, clients) = (leadership.clone(), journal.clone(), streams.clone());
    let process = ProcessHandles { access, leadership, learner, bridge, journal, metrics };
    let handles = ServingHandles { storage, log, ingest, upstreams, alerting, dead_letters, streams, process };
    let serving = Serving::new(settings.serving.clone(), handles)?;
    readiness.begin(serving.router().clone());
    print_address(address, simulated.is_some());
    let serving = serving.run(&accept_thread, listener, stop.clone());
    let stopped_at = serve_until_stopped(serving, stop, stop_streams).await;
    let clients_closed = async {
        clients.closed().await;
        if let Some(simulated) = simulated {
            simulated.stop().await;
        }
    };
    Shutdown::new(settings.shutdown.timeout, stopped_at).run(clients_closed, tasks, storage).await
}

/// Serves until `stop`, and finishes the requests in progress; returns the time of the stop. `stop_streams` is cancelled
/// first, so that streaming clients are told to reconnect while the server still answers.
async fn serve_until_stopped(
    serving: impl Future<Output = ()>,
    stop: CancellationToken,
    stop_streams: CancellationToken,
) -> Instant {
    let stopping = async {
        stop.cancelled().await;
        tracing::info!("stopping");
        stop_streams.cancel();
        Instant::now()
    };
    let ((), stopped_at) = tokio::join!(serving, stopping);
    stopped_at
}

/// Logs the address, in the line that scripts wait for.
fn print_address(address: SocketAddr, simulated: bool) {
    tracing::info!("listening on http://{address}");
    if simulated {
        eprintln!("\n  Living Map shows a simulated network: open http://{address}\n  Ctrl-C stops it.\n");
    }
}
