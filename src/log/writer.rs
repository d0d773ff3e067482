//! The history writer: from the log into the durable record, in batches, acknowledged after they are committed.
//!
//! All processes share one durable consumer, so the work is shared and survives any of them. What was delivered to a
//! process that died is delivered again; the record knows events by their id, so that writing one twice changes nothing.
//!
//! | metric | |
//! |---|---|
//! | `living_map_history_rows_total` | rows written |
//! | `living_map_history_duplicates_total` | events that were there already |
//! | `living_map_history_refused_total` | times the database refused a row |
//! | `living_map_history_batch_rows` | histogram: rows in a batch |
//! | `living_map_history_write_seconds` | histogram: one committed write |
//! | `living_map_history_lag` | gauge: events in the log and not in the record; NaN when unknown |

mod collect;
mod processor;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use processor::HistoryProcessor;

use super::jetstream::LogStream;
use super::{JetStreamLog, LogError};
use crate::dead_letters::DeadLetterQueue;
use crate::history::History;
use crate::journal::Journal;
use crate::model::Epoch;

/// The name of who tries again to write what the database refused.
pub const PROCESSOR: &str = "history";

/// How the history is written.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// The name of the durable consumer.
    pub durable: String,
    /// Rows in one batch at most.
    pub batch: usize,
    /// Batches written at the same time: while one waits for its commit, the database works on another.
    pub writers: usize,
    /// Bytes of messages in one batch at most (one message more when it is larger by itself).
    pub batch_bytes: usize,
    /// How long a batch waits for more rows after its first.
    pub linger: Duration,
    /// Messages asked for at a time. Up to one and a half times as many wait for their batch.
    pub fetch: usize,
    /// How often an idle server says that it is there.
    pub heartbeat: Duration,
    /// How long the server waits for an acknowledgement before it delivers a message again.
    pub ack_wait: Duration,
    /// Messages delivered to all processes and not yet acknowledged, at most.
    pub max_ack_pending: i64,
    /// After how long a row comes again that the database refused and that is not to be kept as a dead letter either.
    pub refused_delay: Duration,
    /// The wait before the first attempt after a failure; doubled after each.
    pub retry_min: Duration,
    /// The longest wait between two attempts.
    pub retry_max: Duration,
    /// How often the lag is asked for.
    pub lag_interval: Duration,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            durable: "living-map-history".to_owned(),
            batch: 2000,
            writers: 2,
            batch_bytes: 8 << 20,
            linger: Duration::from_millis(50),
            fetch: 2000,
            heartbeat: Duration::from_secs(5),
            ack_wait: Duration::from_secs(10),
            max_ack_pending: 20_000,
            refused_delay: Duration::from_mins(10),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            lag_interval: Duration::from_secs(2),
        }
    }
}

/// How the writer is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// When a batch was committed last; none before the first.
    pub last_success: Option<DateTime<Utc>>,
    /// Events in the log that are not in the record yet; none when it is not known.
    pub lag: Option<u64>,
    /// Why the database does not take rows now.
    pub database_error: Option<String>,
    /// Why the log cannot be read now.
    pub log_error: Option<String>,
}

/// Writes the log into the history until it is told to stop.
pub struct HistoryWriter {
    stream: Arc<LogStream>,
    history: Arc<dyn History>,
    config: Arc<WriterConfig>,
    status: watch::Sender<WriterStatus>,
    journal: Journal,
    dead_letters: Option<DeadLetterQueue>,
}

impl HistoryWriter {
    /// A writer from `log` to `history`. Failures of the database are recorded in `journal`, and rows that it rejects are
    /// passed to `dead_letters`; without it they are retried.
    #[must_use]
    pub fn new(
        config: WriterConfig,
        log: &JetStreamLog,
        history: Arc<dyn History>,
        journal: Journal,
        dead_letters: Option<DeadLetterQueue>,
    ) -> Self {
        let (status, _) = watch::channel(WriterStatus::default());
        Self { stream: Arc::clone(log.stream()), history, config: Arc::new(config), status, journal, dead_letters }
    }

    /// How the writer is doing, and every change of that.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<WriterStatus> {
        self.status.subscribe()
    }

    /// Writes until `stop`; then finishes the batch at hand, unless the database is away, and returns.
    pub async fn run(self, stop: CancellationToken) {
        // one batch is written while the next one is collected
        let (sender, receiver) = mpsc::channel(1);
        let collector = collect::Collector {
            stream: Arc::clone(&self.stream),
            config: Arc::clone(&self.config),
            status: self.status.clone(),
        };
        let lag = watch_lag(Arc::clone(&self.stream), Arc::clone(&self.config), self.status.clone(), stop.clone());
        let collecting = tokio::spawn(collector.run(sender, stop.clone()));
        let watching = tokio::spawn(lag);
        let writers = self.config.writers.max(1);
        let store = store::Store {
            history: self.history,
            config: self.config,
            status: self.status,
            journal: self.journal,
            dead_letters: self.dead_letters,
            stream: self.stream.name().into(),
            stop,
        };
        let receiver = Arc::new(Mutex::new(receiver));
        let storing = (0..writers).map(|_| tokio::spawn(store.clone().run(Arc::clone(&receiver))));
        let tasks: Vec<_> = storing.collect();
        // when the last of them gives up, so does the collector
        drop(receiver);
        for task in tasks.into_iter().chain([collecting, watching]) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the history writer failed");
            }
        }
        // the last acknowledgements; when they do not arrive, the rows are delivered again and known
        let _ = tokio::time::timeout(Duration::from_secs(5), self.stream.connection().client().flush()).await;
    }
}

/// The shared durable consumer, found or made, and the log it delivers.
///
/// It belongs to one epoch, which its description names. One that has been further than the log goes, or that belongs to
/// what the log was before it lost entries, would hide what comes now: it is made again and delivers all there is, which
/// the record mostly knows.
async fn consumer(stream: &LogStream, config: &WriterConfig) -> Result<(Consumer<pull::Config>, Epoch), LogError> {
    let failed = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
    let jetstream = stream.connection().jetstream();
    // before the log's end is asked for: then this one cannot rightly be ahead of it
    let existing = jetstream.get_consumer_from_stream::<pull::Config, _, _>(&config.durable, stream.name()).await;
    let existing = match existing {
        Ok(consumer) => Some(consumer),
        Err(error) if is_not_found(&error.kind()) => None,
        Err(error) => return Err(failed(&error)),
    };
    let seen = stream.look().await?;
    let mut epoch = seen.bounds.epoch;
    if let Some(existing) = existing {
        let info = existing.cached_info();
        if info.delivered.stream_sequence > seen.bounds.last {
            epoch = stream.new_generation(&seen).await?;
        }
        if info.config.description.as_deref() != Some(&description(epoch)) {
            tracing::warn!(consumer = config.durable, %epoch, "the log is another one: its history is written from its start");
            let deleted = jetstream.delete_consumer_from_stream(&config.durable, stream.name()).await;
            deleted.map_err(|error| failed(&error))?;
        }
    }
    let declared = pull::Config {
        durable_name: Some(config.durable.clone()),
        description: Some(description(epoch)),
        ack_wait: config.ack_wait,
        max_ack_pending: config.max_ack_pending,
        ..pull::Config::default()
    };
    let made = jetstream.create_consumer_on_stream(declared, stream.name()).await;
    Ok((made.map_err(|error| failed(&error))?, epoch))
}

fn description(epoch: Epoch) -> String {
    format!("Living Map writes the history of log {epoch}")
}

/// Whether there is no such consumer, or not even its stream.
pub(super) fn is_not_found(error: &ConsumerErrorKind) -> bool {
    matches!(error, ConsumerErrorKind::JetStream(error)
        if matches!(error.error_code(), ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::STREAM_NOT_FOUND))
}

/// Keeps the lag in the status.
async fn watch_lag(
    stream: Arc<LogStream>,
    config: Arc<WriterConfig>,
    status: watch::Sender<WriterStatus>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(config.lag_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let lag = async {
            ticks.tick().await;
            let jetstream = stream.connection().jetstream();
            let consumer: Result<Consumer<pull::Config>, _> =
                jetstream.get_consumer_from_stream(&config.durable, stream.name()).await;
            let info = consumer.ok()?;
            let info = info.cached_info();
            Some(info.num_pending + info.num_ack_pending as u64)
        };
        let lag = tokio::select! {
            () = stop.cancelled() => return,
            lag = lag => lag,
        };
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the lag is far below 2^52")]
        metrics::gauge!("living_map_history_lag").set(lag.map_or(f64::NAN, |lag| lag as f64));
        status.send_if_modified(|status| std::mem::replace(&mut status.lag, lag) != lag);
    }
}
