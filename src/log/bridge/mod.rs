//! The bridge: records subjects of streams from which the log must not take messages (work queues, retention by interest), by
//! subscribing to them.
//!
//! The leader subscribes, and every replica appends what it has received. The subscription is that of a queue group, so that of
//! two replicas that both believe they lead one receives a message. A message published while there is no subscription, or beyond the
//! buffer, is not recorded: delivery is at most once.
//!
//! | metric | |
//! |---|---|
//! | `living_map_bridge_messages_total{outcome}` | messages received: `appended`, `duplicate`, `dropped`, `skipped` (the log records the subject itself) |
//! | `living_map_bridge_buffer_bytes` | gauge: bytes of messages that wait to be appended |

mod buffer;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use futures::stream::{SelectAll, select_all};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use self::buffer::{MessageBuffer, Pushed};
use self::plan::Plan;
use super::{JetStreamLog, LogError};
use crate::bus::backoff;
use crate::config::defaults;
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::log::jetstream::BridgedMessage;
use crate::model::subject::{Pattern, recorded_pattern};
use crate::tasks::{Stage, Tasks};

pub use plan::Subscription;

/// Queue group of the subscriptions.
const QUEUE_GROUP: &str = "living-map-bridge";

/// Longest subject of a recorded message, in bytes. A longer one would not fit into a line of the NATS protocol.
const MAX_SUBJECT_BYTES: usize = 1_024;

/// Subjects of the bridge, and its buffer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct BridgeConfig {
    /// Subjects that one server records by subscribing to them, at most once; patterns separated by commas. For work queues and
    /// streams with retention by interest, from which the log must not take messages. Requires `NATS_URL`.
    #[arg(id = "BRIDGE_SUBJECTS", env, long = "bridge-subjects", value_delimiter = ',', value_parser = recorded_pattern)]
    pub subjects: Vec<Pattern>,
    /// Bytes of messages of `BRIDGE_SUBJECTS` that wait to be appended to the log.
    ///
    /// Beyond: the message is not recorded, counted as `bridge_buffer`.
    #[arg(id = "BRIDGE_BUFFER_BYTES", env, long = "bridge-buffer-bytes", default_value_t = 64 << 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 36))]
    pub buffer_bytes: usize,
    /// Messages appended at a time.
    #[arg(skip = 500_usize)]
    pub batch: usize,
    /// Delay before the first attempt after a failure; doubled after each failure.
    #[arg(skip = Duration::from_millis(100))]
    pub retry_min: Duration,
    /// Maximum delay between two attempts.
    #[arg(skip = Duration::from_secs(5))]
    pub retry_max: Duration,
    /// Time for appending what waits when the server stops.
    #[arg(skip = Duration::from_secs(5))]
    pub drain: Duration,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Services that the bridge uses.
#[derive(Clone, Copy)]
pub struct BridgeHandles<'a> {
    /// The log.
    pub log: &'a JetStreamLog,
    /// Role of this replica.
    pub leadership: &'a Leadership,
    /// Records messages that are not recorded in the log.
    pub journal: &'a Journal,
}

/// Status of the bridge of this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeStatus {
    /// Recorded subjects.
    pub subjects: Vec<Pattern>,
    /// Subscriptions; none while another replica has them.
    pub subscriptions: Vec<Subscription>,
    /// Bytes of messages that wait to be appended.
    pub buffered_bytes: usize,
    /// Messages since the start that were not recorded.
    pub dropped: u64,
    /// Time of the last append.
    pub last_success: Option<DateTime<Utc>>,
    /// Error that keeps messages from being received or appended.
    pub error: Option<String>,
}

/// Records subjects by subscribing to them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bridge {
    config: Arc<BridgeConfig>,
    log: JetStreamLog,
    journal: Journal,
    buffer: Arc<MessageBuffer>,
    state: watch::Sender<State>,
}

/// Errors and progress of the two tasks.
#[derive(Debug, Default)]
struct State {
    subscriptions: Vec<Subscription>,
    last_success: Option<DateTime<Utc>>,
    receive_error: Option<String>,
    append_error: Option<String>,
}

/// Messages of all subscriptions, each with the index of its subscription.
type Received = SelectAll<futures::stream::BoxStream<'static, (usize, Message)>>;

impl Bridge {
    /// Starts the bridge's tasks; `None` without subjects.
    #[must_use]
    pub fn start(config: BridgeConfig, handles: BridgeHandles<'_>, tasks: &mut Tasks) -> Option<Self> {
        if config.subjects.is_empty() {
            return None;
        }
        let BridgeHandles { log, leadership, journal } = handles;
        let bridge = Self {
            buffer: Arc::new(MessageBuffer::new(config.buffer_bytes)),
            config: Arc::new(config),
            log: log.clone(),
            journal: journal.clone(),
            state: watch::Sender::default(),
        };
        let (receiving, appending) = (bridge.clone(), bridge.clone());
        leadership.spawn(tasks, "bridge", Stage::Working, move |stop| receiving.clone().receive(stop));
        // stopped after the other one
        tasks.spawn("bridge appends", Stage::Working, |stop| appending.append(stop));
        Some(bridge)
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> BridgeStatus {
        let state = self.state.borrow();
        BridgeStatus {
            subjects: self.config.subjects.clone(),
            subscriptions: state.subscriptions.clone(),
            buffered_bytes: self.buffer.bytes(),
            dropped: self.buffer.dropped(),
            last_success: state.last_success,
            error: state.receive_error.clone().or_else(|| state.append_error.clone()),
        }
    }

    /// Receives messages into the buffer until `stop`. When streams have changed, it subscribes as they are now.
    async fn receive(self, stop: CancellationToken) {
        let mut checks = self.log.stream_checks();
        let mut subscribed: Option<(Plan, Vec<Subscription>, Received)> = None;
        let mut attempt = 0;
        loop {
            let Some(next) = stop.run_until_cancelled(self.subscribe(subscribed.as_ref().map(|(plan, ..)| plan))).await
            else {
                break;
            };
            match next {
                Ok(None) => {}
                Ok(Some(next)) => {
                    self.state.send_modify(|state| state.subscriptions.clone_from(&next.1));
                    if let Some((plan, subscriptions, mut received)) = subscribed.replace(next) {
                        self.accept_available(&plan, &subscriptions, &mut received);
                    }
                }
                Err(error) => {
                    if attempt == 0 {
                        tracing::warn!(error, "the bridge cannot subscribe; retrying");
                    }
                    self.state.send_modify(|state| state.receive_error = Some(error));
                }
            }
            let Some((plan, subscriptions, received)) = &mut subscribed else {
                let delay = backoff::delay(attempt, self.config.retry_min, self.config.retry_max);
                attempt = attempt.saturating_add(1);
                if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
                    break;
                }
                continue;
            };
            attempt = 0;
            let ended = loop {
                tokio::select! {
                    () = stop.cancelled() => break false,
                    Ok(()) = checks.changed() => break false,
                    next = received.next() => match next {
                        Some((index, message)) => self.accept(plan, subscriptions.get(index), message),
                        // the client was replaced
                        None => break true,
                    },
                }
            };
            if ended {
                subscribed = None;
            }
        }
        if let Some((plan, subscriptions, mut received)) = subscribed {
            self.accept_available(&plan, &subscriptions, &mut received);
        }
        self.state.send_modify(|state| (state.subscriptions, state.receive_error) = (Vec::new(), None));
    }

    /// Subscribes; `None` if the subscriptions would be those of `current`.
    async fn subscribe(&self, current: Option<&Plan>) -> Result<Option<(Plan, Vec<Subscription>, Received)>, String> {
        let connection = self.log.connection();
        let plan = Plan::make(connection, &self.config.subjects).await.map_err(|error| error.to_string())?;
        self.state.send_modify(|state| state.receive_error = None);
        if current == Some(&plan) {
            return Ok(None);
        }
        let subscriptions = plan.subscriptions();
        let mut received = Vec::with_capacity(subscriptions.len());
        let client = connection.client();
        for (index, subscription) in subscriptions.iter().enumerate() {
            let subjects = subscription.subjects.as_str().to_owned();
            let subscriber = client.queue_subscribe(subjects, QUEUE_GROUP.to_owned()).await;
            received.push(subscriber.map_err(|error| error.to_string())?.map(move |message| (index, message)).boxed());
        }
        tracing::info!(?subscriptions, "the bridge records subjects, at most once");
        Ok(Some((plan, subscriptions, select_all(received))))
    }

    /// Accepts what has arrived.
    fn accept_available(&self, plan: &Plan, subscriptions: &[Subscription], received: &mut Received) {
        while let Some(Some((index, message))) = received.next().now_or_never() {
            self.accept(plan, subscriptions.get(index), message);
        }
    }

    fn accept(&self, plan: &Plan, subscription: Option<&Subscription>, message: Message) {
        let Some(message) = subscription.and_then(|subscription| plan.accept(subscription, message)) else { return };
        let subject = message.subject().to_owned();
        if subject.len() > MAX_SUBJECT_BYTES {
            self.buffer.count_dropped(1);
            self.not_recorded(&subject[..subject.floor_char_boundary(100)], &"its subject is too long");
        } else if self.buffer.push(message) == Pushed::Full {
            self.not_recorded(&subject, &"BRIDGE_BUFFER_BYTES are waiting already");
        }
    }

    fn not_recorded(&self, subject: &str, error: &dyn std::fmt::Display) {
        tracing::warn!(subject, %error, "a message of the bridge is not recorded");
        self.journal.record("write", "log", subject, error);
    }

    /// Appends received messages until `stop`; then those that wait, if that is possible in time.
    async fn append(self, stop: CancellationToken) {
        loop {
            let Some(batch) = stop.run_until_cancelled(self.buffer.next(self.config.batch)).await else { break };
            if !self.append_batch(batch, &stop, None).await {
                return;
            }
        }
        let deadline = Instant::now() + self.config.drain;
        loop {
            let batch = self.buffer.take(self.config.batch);
            if batch.is_empty() || !self.append_batch(batch, &stop, Some(deadline)).await {
                return;
            }
        }
    }

    /// Appends a batch, repeatedly while the log is unavailable; after `stop` for as long as the server may take to stop.
    /// Returns false if messages were dropped for lack of time.
    async fn append_batch(
        &self,
        batch: Vec<BridgedMessage>,
        stop: &CancellationToken,
        mut deadline: Option<Instant>,
    ) -> bool {
        let mut rest = batch.clone();
        let mut attempt = 0;
        let complete = loop {
            let appending = self.append_once(rest);
            rest = match deadline {
                Some(deadline) => match timeout_at(deadline, appending).await {
                    Ok(rest) => rest,
                    Err(_) => break false,
                },
                None => appending.await,
            };
            if rest.is_empty() {
                break true;
            }
            let delay = tokio::time::sleep(backoff::delay(attempt, self.config.retry_min, self.config.retry_max));
            attempt = attempt.saturating_add(1);
            if deadline.is_none() && stop.run_until_cancelled(delay).await.is_none() {
                deadline = Some(Instant::now() + self.config.drain);
            }
        };
        self.buffer.release(&batch);
        if !complete {
            let lost = batch.len() + self.buffer.take(usize::MAX).len();
            self.buffer.count_dropped(lost as u64);
            tracing::warn!(
                lost,
                "messages of the bridge may not be recorded: the log did not accept them before the stop"
            );
        }
        complete
    }

    /// Appends messages once; returns those to append again.
    async fn append_once(&self, batch: Vec<BridgedMessage>) -> Vec<BridgedMessage> {
        let results = self.log.append_bridged(&batch).await;
        let mut again = Vec::new();
        let mut problem = None;
        for (message, result) in batch.into_iter().zip(results) {
            match result {
                Ok(None) => count("skipped"),
                Ok(Some(appended)) => count(if appended.duplicate { "duplicate" } else { "appended" }),
                Err(LogError::Unavailable(error) | LogError::Denied(error)) => {
                    problem = Some(error);
                    again.push(message);
                }
                Err(error) => {
                    self.buffer.count_dropped(1);
                    self.not_recorded(message.subject(), &error);
                }
            }
        }
        self.state.send_modify(|state| {
            if let (Some(problem), None) = (&problem, &state.append_error) {
                tracing::warn!(problem, "the bridge cannot append to the log; retrying");
            }
            if problem.is_none() {
                state.last_success = Some(Utc::now());
            }
            state.append_error = problem;
        });
        again
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("living_map_bridge_messages_total", "outcome" => outcome).increment(1);
}
