//! The history writer: copies the log into the history, in batches that are acknowledged after their commit.
//!
//! All replicas share one durable consumer, so they share the work, and any of them may fail. Messages delivered to a failed
//! process are delivered again; writing an event twice has no effect, since the history identifies events by their id.
//!
//! | metric | |
//! |---|---|
//! | `living_map_history_rows_total` | rows written |
//! | `living_map_history_duplicates_total` | events that were in the history already |
//! | `living_map_history_paired_total` | events whose row another service had written while no server of ours ran |
//! | `living_map_history_refused_total` | times the database rejected a row |
//! | `living_map_history_batch_rows` | histogram: rows in a batch |
//! | `living_map_history_write_seconds` | histogram: duration of a committed write |
//! | `living_map_history_lag` | gauge: events in the log and not yet in the history; NaN when unknown |

mod collect;
mod processor;
mod reader;
mod store;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{Consumer, pull};
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use processor::HistoryProcessor;
pub use reader::{PROCESSOR as READER, UnreadableProcessor};

use self::collect::Collector;
use self::store::BatchWriter;
use super::jetstream::{LogStream, UnreadableMessages, is_not_found};
use super::{JetStreamLog, LogError};
use crate::dead_letters::DeadLetterQueue;
use crate::history::History;
use crate::journal::Journal;
use crate::model::Epoch;

/// Name of the processor that writes rejected events again.
pub const PROCESSOR: &str = "history";

/// Settings of the history writer.
#[derive(Debug, Clone)]
pub struct WriterConfig {
    /// Name of the durable consumer.
    pub durable: String,
    /// Maximum number of rows in a batch.
    pub batch: usize,
    /// Batches written concurrently.
    pub writers: usize,
    /// Maximum size of the messages in a batch, bytes; a single larger message makes a batch alone.
    pub batch_bytes: usize,
    /// Time that a batch waits for more rows after its first.
    pub linger: Duration,
    /// Messages requested at a time. Up to one and a half times as many are buffered.
    pub fetch: usize,
    /// Interval of idle heartbeats from the server.
    pub heartbeat: Duration,
    /// Time after which the server delivers an unacknowledged message again.
    pub ack_wait: Duration,
    /// Maximum number of unacknowledged messages of all replicas.
    pub max_ack_pending: i64,
    /// Time after which a rejected message that cannot be stored as a dead letter either is delivered again.
    pub refused_delay: Duration,
    /// Delay before the first attempt after a failure; doubled after each failure.
    pub retry_min: Duration,
    /// Maximum delay between two attempts.
    pub retry_max: Duration,
    /// Polling interval for the lag.
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

/// Status of the writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// Time of the last commit; `None` before the first.
    pub last_success: Option<DateTime<Utc>>,
    /// Events in the log that are not yet in the history; `None` when unknown.
    pub lag: Option<u64>,
    /// Error that keeps rows from being written.
    pub database_error: Option<String>,
    /// Error that keeps the log from being read.
    pub log_error: Option<String>,
    /// Missing permission to receive or acknowledge messages.
    pub permission_error: Option<String>,
}

/// Copies the log into the history.
pub struct HistoryWriter {
    stream: Arc<LogStream>,
    unreadable: Arc<UnreadableMessages>,
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
        Self {
            stream: Arc::clone(log.stream()),
            unreadable: Arc::clone(log.unreadable()),
            history,
            config: Arc::new(config),
            status,
            journal,
            dead_letters,
        }
    }

    /// The status, and its changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<WriterStatus> {
        self.status.subscribe()
    }

    /// Runs until `stop`; then finishes the current batch, unless the database is unavailable.
    pub async fn run(self, stop: CancellationToken) {
        // one batch is written while the next one is collected
        let (sender, receiver) = mpsc::channel(1);
        let collector =
            Collector::new(Arc::clone(&self.config), Arc::clone(&self.stream), self.unreadable, self.status.clone());
        let lag = watch_lag(Arc::clone(&self.stream), Arc::clone(&self.config), self.status.clone(), stop.clone());
        let collecting = tokio::spawn(collector.run(sender, stop.clone()));
        let watching = tokio::spawn(lag);
        let writers = self.config.writers.max(1);
        let writer = BatchWriter::new(
            self.config,
            self.history,
            self.status,
            self.journal,
            self.dead_letters,
            self.stream.name().into(),
            stop,
        );
        let receiver = Arc::new(Mutex::new(receiver));
        let writing = (0..writers).map(|_| tokio::spawn(writer.clone().run(Arc::clone(&receiver))));
        let tasks: Vec<_> = writing.collect();
        // the collector ends when the last receiver is dropped
        drop(receiver);
        for task in tasks.into_iter().chain([collecting, watching]) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the history writer failed");
            }
        }
        // send the last acknowledgements; if they are lost, the rows are delivered again as duplicates
        let _ = tokio::time::timeout(Duration::from_secs(5), self.stream.connection().client().flush()).await;
    }
}

/// Finds or creates the shared durable consumer; also returns the epoch of the log that it delivers.
///
/// The consumer belongs to one epoch, which is in its description. A consumer of another epoch, or one beyond the end of the
/// log, would skip new entries, so it is created again and delivers the whole log; most of it is in the history already.
async fn open_consumer(stream: &LogStream, config: &WriterConfig) -> Result<(Consumer<pull::Config>, Epoch), LogError> {
    let failed = |error: &dyn std::fmt::Display| LogError::Unavailable(error.to_string());
    let (connection, jetstream) = (stream.connection(), stream.connection().jetstream());
    let operation = |operation: &str| format!("CONSUMER.{operation}.{}.{}", stream.name(), config.durable);
    // read before the end of the log, so that it cannot be ahead of the end unless the log lost entries
    let existing = jetstream.get_consumer_from_stream::<pull::Config, _, _>(&config.durable, stream.name());
    let existing = connection.permitted(&[&operation("INFO")], existing).await.map_err(|error| failed(&error))?;
    let existing = match existing {
        Ok(consumer) => Some(consumer),
        Err(error) if is_not_found(&error.kind()) => None,
        Err(error) => return Err(failed(&error)),
    };
    let state = stream.fetch_state().await?;
    let mut epoch = state.bounds.epoch;
    if let Some(existing) = existing {
        let info = existing.cached_info();
        if info.delivered.stream_sequence > state.bounds.last {
            epoch = stream.new_generation(&state).await?;
        }
        if info.config.description.as_deref() != Some(&description(epoch)) {
            tracing::warn!(consumer = config.durable, %epoch, "the log has another epoch; writing its history from the start");
            let deleted = jetstream.delete_consumer_from_stream(&config.durable, stream.name());
            let deleted = connection.permitted(&[&operation("DELETE")], deleted).await;
            deleted.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        }
    }
    let declared = pull::Config {
        durable_name: Some(config.durable.clone()),
        description: Some(description(epoch)),
        ack_wait: config.ack_wait,
        max_ack_pending: config.max_ack_pending,
        ..pull::Config::default()
    };
    let made = jetstream.create_consumer_on_stream(declared, stream.name());
    let made = connection.permitted(&[&operation("CREATE")], made).await.map_err(|error| failed(&error))?;
    Ok((made.map_err(|error| failed(&error))?, epoch))
}

fn description(epoch: Epoch) -> String {
    format!("Living Map writes the history of log {epoch}")
}

/// Updates the lag and the missing permissions in the status.
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
        let next = format!("CONSUMER.MSG.NEXT.{}.{}", stream.name(), config.durable);
        let connection = stream.connection();
        let denied = connection.denied(&[&next]).or_else(|| connection.acks_denied(stream.name(), &config.durable));
        let denied = denied.map(|error| error.to_string());
        status.send_if_modified(|status| {
            let known = (std::mem::replace(&mut status.lag, lag), &status.permission_error);
            let changed = known != (lag, &denied);
            status.permission_error = denied;
            changed
        });
    }
}
