//! The learner: within the server, or alone (`living-map learn`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use tokio::time::Instant;

use super::settings::{history_config, http_config, open_journal, retry_config};
use super::{OpenLog, export, lead, listen, open_log, record_metrics, stop_signal, upkeep};
use crate::bus::Connection;
use crate::config::Settings;
use crate::dead_letters::{DeadLetterQueue, FailedMessage};
use crate::history::{self, Database, History, HistoryError, Lessons};
use crate::http;
use crate::journal::Journal;
use crate::learner::config::{ChanceConfig, DriftConfig, SharedConfig, SiblingConfig};
use crate::learner::rejected::PROCESSOR;
use crate::learner::source::Source;
use crate::learner::{Learner, LearnerConfig, Reject, RuleConfig, StreamSource, TableSource};
use crate::log::{EventLog, ExperienceConfig, Experiences};
use crate::tasks::{Stage, Tasks};
use crate::telemetry::Export;
use crate::upstream_health::UpstreamHealth;

/// The lease of learners that run alone; servers learn by the one they have for all.
const LEASE: &str = "learner";

/// The memory of lessons, and its database where that is one of its own.
pub struct Learned {
    pub lessons: Arc<dyn Lessons>,
    own: Option<Arc<dyn History>>,
}

impl Learned {
    /// Closes the connections to a database of its own.
    pub async fn close(&self) {
        if let Some(own) = &self.own {
            own.close().await;
        }
    }
}

/// Opens the memory of lessons: in the database of the record, unless it has one of its own.
pub async fn memory(settings: &Settings, record: &Database) -> anyhow::Result<Learned> {
    let url = settings.learner.learner_database_url.as_ref();
    let Some(url) = url.filter(|url| **url != settings.storage.database_url) else {
        return Ok(Learned { lessons: Arc::clone(&record.lessons), own: None });
    };
    let own = history::open(url, &history_config(settings))
        .await
        .context("the database of LEARNER_DATABASE_URL cannot be used")?;
    Ok(Learned { lessons: own.lessons, own: Some(own.history) })
}

/// How the stream of experiences is read.
pub fn experiences(settings: &Settings) -> ExperienceConfig {
    let own = &settings.learner;
    ExperienceConfig {
        stream: own.experience_stream_name.clone(),
        subject: own.experience_subject.as_str().to_owned(),
        durable: own.experience_durable.clone(),
        ack_wait: own.experience_ack_wait,
        max_deliver: own.experience_max_deliver,
        batch: own.experience_fetch_batch,
        fetch_timeout: own.experience_fetch_timeout,
        read_batch: 1_000,
        heartbeat: Duration::from_secs(5),
    }
}

/// Makes the source of experiences, each time the learner begins.
pub fn source(
    settings: &Settings,
    connection: Option<Connection>,
    log: &Arc<dyn EventLog>,
    history: &Arc<dyn History>,
    learned: &Learned,
) -> impl Fn() -> Box<dyn Source> + Send + 'static {
    let config = experiences(settings);
    let (log, history, lessons) = (Arc::clone(log), Arc::clone(history), Arc::clone(&learned.lessons));
    move || -> Box<dyn Source> {
        match &connection {
            Some(connection) => Box::new(StreamSource::new(Experiences::new(config.clone(), connection.clone()))),
            None => Box::new(TableSource::new(
                Arc::clone(&log),
                Arc::clone(&history),
                Arc::clone(&lessons),
                config.batch,
                config.fetch_timeout,
            )),
        }
    }
}

/// The learner as it is set.
pub fn learner(
    settings: &Settings,
    learned: &Learned,
    log: &Arc<dyn EventLog>,
    journal: &Journal,
    dead_letters: &DeadLetterQueue,
) -> Learner {
    let own = &settings.learner;
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let default = RuleConfig::default();
    let rules = RuleConfig {
        window_ms: millis(own.experience_window),
        sample_pct: own.experience_ok_sample_pct,
        latency_spike_ms: own.experience_latency_spike_ms.into(),
        error_threshold: own.experience_error_threshold,
        silent_threshold: own.experience_silent_threshold,
        latency_threshold: own.experience_latency_threshold,
        recovery_threshold: own.experience_recovery_threshold,
        dedup_ttl_ms: millis(own.experience_event_dedup_ttl),
        max_ids: own.experience_max_ids,
        max_agents: own.experience_max_agents,
        chance: ChanceConfig {
            min_cases: own.experience_chance_min_cases,
            lessons_a_week: own.experience_chance_lessons_per_week,
            ..default.chance
        },
        shared: SharedConfig { min_agents: own.experience_shared_min_agents, min_pct: own.experience_shared_min_pct },
        drift: DriftConfig {
            block_ms: millis(own.experience_drift_block),
            min_ratio: 1.0 + f64::from(own.experience_drift_min_pct) / 100.0,
            ..default.drift
        },
        sibling: SiblingConfig {
            min_cases: own.experience_sibling_min_cases,
            min_difference: own.experience_sibling_min_difference_pct / 100.0,
            ..default.sibling
        },
    };
    let config = LearnerConfig {
        rules,
        review_after: own.lesson_review,
        subject: own.lesson_publish_enabled.then(|| own.lesson_subject.as_str().to_owned()),
        ..LearnerConfig::default()
    };
    Learner::new(
        config,
        Arc::clone(&learned.lessons),
        Arc::clone(log),
        journal.clone(),
        reject(settings, journal, dead_letters),
    )
}

/// What is no experience is noted in the error journal, and kept to become a dead letter.
fn reject(settings: &Settings, journal: &Journal, dead_letters: &DeadLetterQueue) -> Reject {
    let (journal, dead_letters) = (journal.clone(), dead_letters.clone());
    // in a stream of its own it has a position there, and none in the log
    let own_stream = settings.storage.nats_url.is_some().then(|| settings.learner.experience_stream_name.clone());
    Arc::new(move |entry, error| {
        let mut failed = FailedMessage::of_entry(PROCESSOR, own_stream.as_deref().unwrap_or("table"), &entry, error);
        if own_stream.is_some() {
            failed.origin.cursor = None;
        }
        journal.record("read", "experience", &failed.subject, &failed.error);
        let dead_letters = dead_letters.clone();
        async move {
            match dead_letters.enqueue(failed).await {
                Ok(_) => Ok(()),
                Err(error @ HistoryError::Refused(_)) => {
                    tracing::error!(%error, "what is no experience cannot be kept as a dead letter either");
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            }
        }
        .boxed()
    })
}

/// Runs the learner alone until it is told to stop.
///
/// # Errors
/// What it needs cannot be used at all.
pub async fn learn(settings: Settings, traces: Option<Export>) -> anyhow::Result<()> {
    anyhow::ensure!(
        settings.storage.nats_url.is_some(),
        "NATS_URL is not set: without NATS the learner is a part of `living-map serve`"
    );
    settings.listen.check().map_err(anyhow::Error::msg)?;
    let (metrics, stop) = (record_metrics()?, stop_signal()?);
    let address = SocketAddr::new(settings.listen.bind, settings.learner.learner_port);
    let listener = listen(address).with_context(|| format!("cannot listen on {address} (BIND, LEARNER_PORT)"))?;
    let address = listener.local_addr()?;
    let mut tasks = Tasks::default();
    let journal = open_journal(&settings)?;
    export(traces, &journal, &mut tasks);
    tasks.spawn("error journal", Stage::Recording, {
        let journal = journal.clone();
        |stop| journal.run(stop)
    });
    let database = history::open(&settings.storage.database_url, &history_config(&settings))
        .await
        .context("the database of DATABASE_URL cannot be used")?;
    let learned = memory(&settings, &database).await?;
    let leadership = lead(LEASE, &settings, Arc::clone(&database.leases), &UpstreamHealth::default(), &mut tasks);
    let dead_letters = DeadLetterQueue::new(Arc::clone(&database.dead_letters), retry_config(&settings));
    let OpenLog { log, connection, .. } = open_log(&settings, &database.history, &journal, &dead_letters).await?;
    let source = source(&settings, connection, &log, &database.history, &learned);
    let learner = learner(&settings, &learned, &log, &journal, &dead_letters);
    let status = learner.status();
    leadership.spawn(&mut tasks, "learner", Stage::Working, move |stop| learner.clone().run(source(), stop));
    tasks.spawn("metrics upkeep", Stage::Working, {
        let metrics = metrics.clone();
        |stop| upkeep(metrics, stop)
    });
    tracing::info!("learning; /health and /metrics on http://{address}");
    http::serve(listener, http::learner_router(status, metrics), &http_config(&settings), stop).await;
    let limit = settings.cluster.stop;
    let aborted = tasks.stop(Instant::now() + limit / 10 * 9, limit / 10).await;
    database.history.close().await;
    learned.close().await;
    anyhow::ensure!(aborted.is_empty(), "aborted (STOP_SECONDS): {}", aborted.join(", "));
    tracing::info!("stopped");
    Ok(())
}
