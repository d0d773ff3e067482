//! Wiring only: builds the parts, starts the tasks, and stops them in order.

mod access;
mod learning;
mod log;
mod settings;
mod streams;
mod traces;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::adapters::Upstreams;
use crate::alerts::AlertEvaluator;
use crate::bus::{self, Connection, NatsConfig};
use crate::config::{DemoSettings, Settings};
use crate::dead_letters::{ALERT_ID, DeadLetterAlert, DeadLetterQueue, DeadLetterService, Processor};
use crate::demo::{self, Demo, DemoConfig};
use crate::history::retention;
use crate::history::{self, History, Leases};
use crate::http::{self, AlertServices, AppState, Services};
use crate::journal::Journal;
use crate::learner::ExperienceProcessor;
use crate::lease::{LeaderElection, Leadership, LeaseConfig};
use crate::live::{self, LiveConfig, LiveMap, Replay, TimeTravel, TimeTravelConfig};
use crate::log::table::{TableLog, TableLogConfig};
use crate::log::{
    EventLog, HistoryProcessor, HistoryWriter, JetStreamConfig, JetStreamLog, LogProcessor, WriterConfig,
    dead_letter_publisher,
};
use crate::model::Epoch;
use crate::stream::{Hub, HubConfig, SnapshotJson, SnapshotSource, StreamSources, Streams};
use crate::sync::{ControlEventHandler, Poller};
use crate::tasks::{Stage, Tasks};
use crate::telemetry::Export;
use crate::upstream_health::UpstreamHealth;
use crate::webhooks::WebhookDispatcher;

use self::settings::{
    JOURNAL_FOLDER, adapters_config, archive, demo_config, dispatcher_config, endpoints, history_config, http_config,
    office_config, open_journal, replay_config, retention_config, retry_config, rule_file, rules_limits, saving_config,
    stream_config, sync_config,
};

pub use learning::learn;
pub use log::new_epoch;
pub use settings::check_rules;
pub use streams::streams;
pub use traces::telemetry;
pub use webhooks::test_webhook;

/// Connections that may wait to be accepted: all clients of a server that was restarted come at once.
const BACKLOG: u32 = 4096;

/// The lease of what one server does for all.
const LEADER: &str = "leader";

/// How often the metrics drop what they keep for rendering.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Runs the server until it is told to stop.
pub async fn serve(settings: Settings, traces: Option<Export>) -> anyhow::Result<()> {
    run(settings, None, traces).await
}

/// Runs the server on a simulated network until it is told to stop.
pub async fn demo(demo: DemoSettings, mut settings: Settings, traces: Option<Export>) -> anyhow::Result<()> {
    let config = demo_config(&demo)?;
    let folder = tempfile::Builder::new().prefix("living-map-demo-").tempdir().context("no temporary folder")?;
    let file = demo.keep.unwrap_or_else(|| folder.path().join("living-map.db"));
    settings.storage.database_url = format!("sqlite://{}", file.display());
    settings.storage.nats_url = None;
    settings.learner.learner_database_url = None;
    if settings.alerts.alert_rules.is_none() {
        let rules = folder.path().join("alerts.toml");
        std::fs::write(&rules, demo::ALERT_RULES).context("the demo's alert rules cannot be written")?;
        settings.alerts.alert_rules = Some(rules);
    }
    let journal = &mut settings.journal.journal_url;
    journal.get_or_insert_with(|| folder.path().join(JOURNAL_FOLDER).display().to_string());
    run(settings, Some(config), traces).await
}

async fn run(settings: Settings, demo: Option<DemoConfig>, traces: Option<Export>) -> anyhow::Result<()> {
    settings.listen.check().map_err(anyhow::Error::msg)?;
    settings.storage.check(settings.saving.snapshot_save_minutes).map_err(anyhow::Error::msg)?;
    let metrics = record_metrics()?;
    let listener = listen(SocketAddr::new(settings.listen.bind, settings.listen.port))
        .with_context(|| format!("cannot listen on {}:{} (BIND, PORT)", settings.listen.bind, settings.listen.port))?;
    let address = listener.local_addr()?;
    let stop = stop_signal()?;
    let mut tasks = Tasks::default();
    if let Some(address) = settings.listen.metrics_bind {
        let listener = listen(address).with_context(|| format!("cannot listen on {address} (METRICS_BIND)"))?;
        tracing::info!("/metrics on http://{}", listener.local_addr()?);
        let (router, config) = (http::metrics_router(metrics.clone()), http_config(&settings));
        // to the end, so that a stop is seen too
        tasks.spawn("metrics listener", Stage::Recording, |stop| async move {
            http::serve(listener, router, &config, stop).await;
        });
    }
    let journal = open_journal(&settings)?;
    export(traces, &journal, &mut tasks);
    tasks.spawn("error journal", Stage::Recording, {
        let journal = journal.clone();
        |stop| journal.run(stop)
    });

    let access = access::access(&settings, &journal)?;
    if let Some(access) = access.clone() {
        tasks.spawn("keys", Stage::Working, |stop| access.keep_keys(stop));
    }

    let database = history::open(&settings.storage.database_url, &history_config(&settings))
        .await
        .context("the database of DATABASE_URL cannot be used")?;
    let learned = learning::memory(&settings, &database).await?;
    let (history, saved, outbox) = (database.history, database.snapshots, database.outbox);
    let dead_letters = DeadLetterQueue::new(database.dead_letters, retry_config(&settings));
    let upstream_health = UpstreamHealth::default();
    let leadership = lead(LEADER, &settings, database.leases, &upstream_health, &mut tasks);
    let OpenLog { log, connection, writer } = open_log(&settings, &history, &journal, &dead_letters).await?;
    let writer = writer.map(|writer| {
        let status = writer.status();
        tasks.spawn("history writer", Stage::Writing, |stop| writer.run(stop));
        status
    });
    let learner = settings.learner.learner_enabled.then(|| {
        let source = learning::source(&settings, connection, &log, &history, &learned);
        let learner = learning::learner(&settings, &learned, &log, &journal, &dead_letters);
        let status = learner.status();
        leadership.spawn(&mut tasks, "learner", Stage::Working, move |stop| learner.clone().run(source(), stop));
        status
    });

    let live_config = LiveConfig {
        snapshot_interval: Duration::from_millis(settings.streaming.snapshot_interval_ms),
        max_entities: settings.limits.max_entities,
        ..LiveConfig::default()
    };
    let live = LiveMap::new(live_config, upstream_health.clone(), journal.clone());
    let hub = Arc::new(Hub::new(
        HubConfig {
            max_frames: settings.streaming.stream_ring_events as usize,
            max_bytes: settings.streaming.stream_ring_bytes,
        },
        Epoch(0),
    ));
    tasks.spawn("fold", Stage::Folding, {
        let (live, log, hub, saved) = (live.clone(), Arc::clone(&log), Arc::clone(&hub), Arc::clone(&saved));
        move |stop| live::follow_from_saved(live, log, hub, saved, live_config, stop)
    });
    leadership.spawn(&mut tasks, "retention", Stage::Working, {
        let (live, history, journal) = (live.clone(), Arc::clone(&history), journal.clone());
        let config = retention_config(&settings);
        move |stop: CancellationToken| {
            let (live, history, config, journal) =
                (live.clone(), Arc::clone(&history), config.clone(), journal.clone());
            async move {
                // a map that is being folded still needs the beginning of what there is
                if stop.run_until_cancelled(live.caught_up()).await.is_some() {
                    retention::run(history, config, journal, stop).await;
                }
            }
        }
    });
    leadership.spawn(&mut tasks, "saving", Stage::Saving, {
        let (live, saved, config) = (live.clone(), Arc::clone(&saved), saving_config(&settings));
        move |stop| live::save(live.clone(), Arc::clone(&saved), config, stop)
    });
    let past = TimeTravel::new(
        TimeTravelConfig {
            concurrency: settings.saving.time_travel_concurrency,
            max_entities: settings.limits.max_entities,
            ..TimeTravelConfig::default()
        },
        live.clone(),
        Arc::clone(&log),
        Arc::clone(&history),
        Arc::clone(&saved),
    );

    let simulated = match demo {
        Some(config) => Some(Demo::start(&config, Arc::clone(&log)).await.context("the simulated network")?),
        None => None,
    };
    let endpoints = match &simulated {
        Some(simulated) => simulated.endpoints().clone(),
        None => endpoints(&settings)?,
    };
    let upstreams = Upstreams::new(&adapters_config(&settings, endpoints), &journal)?;
    let poller = Poller::new(
        sync_config(&settings),
        upstreams.clone(),
        upstream_health.clone(),
        live.clone(),
        Arc::clone(&log),
        journal.clone(),
    );
    let refresher = poller.refresher();
    // each server polls when it is asked for a fresh snapshot, one asks in each interval
    tasks.spawn("poller", Stage::Working, |stop| poller.clone().run(stop));
    tasks.spawn("regular polls", Stage::Working, {
        let leadership = leadership.clone();
        |stop| async move { leadership.unless_following(stop, |stop| poller.clone().poll_regularly(stop)).await }
    });
    let control =
        ControlEventHandler::new(live.clone(), upstreams, refresher.clone(), upstream_health.clone(), journal.clone());
    // one server acts for all, and its word on the sources is heard by the others
    tasks.spawn("control events", Stage::Working, {
        let leadership = leadership.clone();
        |stop| async move { leadership.unless_following(stop, |stop| control.clone().run(stop)).await }
    });
    let mut processors: Vec<Arc<dyn Processor>> = vec![
        Arc::new(HistoryProcessor::new(Arc::clone(&history))),
        Arc::new(LogProcessor::new(Arc::clone(&log))),
        Arc::new(ExperienceProcessor),
    ];
    let alerts = match &settings.alerts.alert_rules {
        None => None,
        Some(path) => {
            let file = rule_file(path, rules_limits(&settings.alerts)).context("ALERT_RULES cannot be used")?;
            let evaluator = AlertEvaluator::new(
                settings.alerts.alert_interval,
                file.status(),
                Arc::clone(&log),
                live.clone(),
                upstream_health.clone(),
                journal.clone(),
                dead_letters.clone(),
            );
            let status = file.status();
            tasks.spawn("alert rules' file", Stage::Working, {
                let (interval, journal) = (settings.alerts.alert_rules_reload, journal.clone());
                move |stop| file.watch(interval, journal, stop)
            });
            leadership.spawn(&mut tasks, "alert rules", Stage::Working, move |stop| evaluator.clone().run(stop));
            let dispatcher = WebhookDispatcher::new(
                dispatcher_config(&settings.alerts),
                status.clone(),
                Arc::clone(&outbox),
                dead_letters.clone(),
                Arc::clone(&log),
                live.clone(),
                journal.clone(),
            )
            .context("webhooks cannot be sent")?;
            processors.push(Arc::new(dispatcher.processor()));
            leadership.spawn(&mut tasks, "webhooks", Stage::Working, move |stop| dispatcher.clone().run(stop));
            Some(AlertServices { rules: status, outbox })
        }
    };
    let office = DeadLetterService::new(
        office_config(&settings),
        dead_letters,
        processors,
        dead_letter_publisher(Arc::clone(&log)),
        dead_letter_alert(&live, alerts.as_ref()),
        journal.clone(),
    );
    leadership.spawn(&mut tasks, "dead letters", Stage::Working, {
        let office = office.clone();
        move |stop| office.clone().run(stop)
    });
    leadership.spawn(&mut tasks, "dead letters' archive", Stage::Working, {
        let (office, archive) = (office.clone(), archive(&settings)?);
        move |stop| office.clone().archive(archive.clone(), stop)
    });
    tasks.spawn("metrics upkeep", Stage::Working, {
        let metrics = metrics.clone();
        |stop| upkeep(metrics, stop)
    });

    let streams_stop = CancellationToken::new();
    let replay = Replay::new(replay_config(&settings), live.clone(), past.clone());
    let sources = StreamSources { snapshot: snapshots(&live), replay: replay.source() };
    let streams = Streams::start(stream_config(&settings), &hub, &sources, streams_stop.clone());
    let http_config = http_config(&settings);
    let state = AppState::from(Services {
        config: http_config.clone(),
        access,
        limits: access::limits(&settings),
        live,
        log,
        history: Arc::clone(&history),
        journal,
        dead_letters: office,
        alerts,
        snapshots: saved,
        time_travel: past,
        upstreams: upstream_health,
        refresher,
        leadership,
        writer,
        lessons: Arc::clone(&learned.lessons),
        learner,
        streams: streams.clone(),
        metrics,
    });
    let router = http::router(state)?;
    announce(&address.to_string(), simulated.is_some());
    // the streams first: a client is told to come back while the server still answers
    let told = async {
        stop.cancelled().await;
        tracing::info!("stopping");
        streams_stop.cancel();
        Instant::now()
    };
    let ((), told) = tokio::join!(http::serve(listener, router, &http_config, stop.clone()), told);
    let limit = settings.cluster.stop;
    let reserve = limit / 10;
    let deadline = told + reserve * 9;
    let clients = async {
        streams.closed().await;
        if let Some(simulated) = simulated {
            simulated.stop().await;
        }
    };
    let clients_left = timeout_at(deadline, clients).await.is_ok();
    let mut aborted = tasks.stop(deadline, reserve).await;
    aborted.extend((!clients_left).then_some("clients"));
    // what is under way in the database has been waited for
    let _ = timeout_at(deadline + reserve, async { tokio::join!(history.close(), learned.close()) }).await;
    anyhow::ensure!(
        aborted.is_empty(),
        "aborted after {} seconds (STOP_SECONDS): {}",
        limit.as_secs(),
        aborted.join(", ")
    );
    tracing::info!("stopped");
    Ok(())
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // a restart must not wait for the connections of the run before
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The log, with what else it takes.
struct OpenLog {
    log: Arc<dyn EventLog>,
    /// To the NATS server; none with the table log.
    connection: Option<Connection>,
    /// What brings it into the record, where the record is not the log itself.
    writer: Option<HistoryWriter>,
}

async fn open_log(
    settings: &Settings,
    history: &Arc<dyn History>,
    journal: &Journal,
    dead_letters: &DeadLetterQueue,
) -> anyhow::Result<OpenLog> {
    let Some(url) = &settings.storage.nats_url else {
        let extra_subjects = settings.extra_subjects();
        let config = TableLogConfig { extra_subjects, ..TableLogConfig::default() };
        let log = TableLog::open(config, Arc::clone(history), Some(dead_letters.clone()))
            .await
            .context("the log of DATABASE_URL cannot be used")?;
        return Ok(OpenLog { log: Arc::new(log), connection: None, writer: None });
    };
    let connection = bus::connect(&NatsConfig { url: url.clone(), ..NatsConfig::default() })
        .await
        .context("NATS_URL cannot be used")?;
    let (stream, network) = streams::declared(settings);
    let config =
        JetStreamConfig { stream, network, manage: settings.storage.nats_manage_streams, ..JetStreamConfig::default() };
    let log = JetStreamLog::new(config, connection.clone());
    let writer = HistoryWriter::new(
        WriterConfig::default(),
        &log,
        Arc::clone(history),
        journal.clone(),
        Some(dead_letters.clone()),
    );
    Ok(OpenLog { log: Arc::new(log), connection: Some(connection), writer: Some(writer) })
}

/// Whether this server does what one does for all. Beside a table log there is no other one.
fn lead(
    name: &'static str,
    settings: &Settings,
    leases: Arc<dyn Leases>,
    upstream_health: &UpstreamHealth,
    tasks: &mut Tasks,
) -> Leadership {
    if settings.storage.nats_url.is_none() {
        return Leadership::permanent();
    }
    let config = LeaseConfig { name, lasting: settings.cluster.lease };
    LeaderElection::new(config, leases, upstream_health.clone()).start(tasks)
}

fn snapshots(live: &LiveMap) -> SnapshotSource {
    let live = live.clone();
    Arc::new(move |layers| {
        let live = live.clone();
        Box::pin(async move {
            let snapshot = live.snapshot(&layers.to_vec()).await;
            SnapshotJson { cursor: snapshot.cursor, json: snapshot.identity() }
        })
    })
}

/// The alert about too many dead letters, by what the map shows and the alert rules count.
fn dead_letter_alert(live: &LiveMap, alerts: Option<&AlertServices>) -> DeadLetterAlert {
    let (live, rules) = (live.clone(), alerts.map(|alerts| alerts.rules.clone()));
    DeadLetterAlert::new(
        move || live.is_complete().then(|| live.with(|map| map.alerts().any(|alert| alert.id == ALERT_ID))),
        move || rules.as_ref().is_some_and(|rules| rules.borrow().rules.count_dead_letters()),
    )
}

/// The line that people and scripts wait for.
fn announce(address: &str, simulated: bool) {
    tracing::info!("listening on http://{address}");
    if simulated {
        eprintln!("\n  Living Map shows a simulated network: open http://{address}\n  Ctrl-C stops it.\n");
    }
}

/// Before the journal, which hears of what could not be exported at the end.
fn export(traces: Option<Export>, journal: &Journal, tasks: &mut Tasks) {
    if let Some(traces) = traces {
        let journal = journal.clone();
        tasks.spawn("traces", Stage::Recording, |stop| traces.run(journal, stop));
    }
}

fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), http::DURATION_BUCKETS)?
        .install_recorder()
        .context("metrics cannot be recorded")
}

async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let rounds = async {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            metrics.run_upkeep();
        }
    };
    stop.run_until_cancelled(rounds).await;
}

/// Cancelled by Ctrl-C or by the supervisor's SIGTERM.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}
