//! The stream of experiences: a durable pull consumer with explicit acknowledgements, and reading delivered messages again.
//!
//! It is not part of the event log: only the learner uses its positions, and acknowledged messages are not delivered again.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::LogError;
use super::jetstream::{entry_of, is_not_found, pull_bytes};
use crate::bus::Connection;
use crate::bus::connection::permissions::PermissionGuard;
use crate::config::defaults;
use crate::config::value::seconds;
use crate::model::subject::recorded_pattern;
use crate::model::{Epoch, LogEntry};

/// Timeout for connecting when the consumer is opened.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The stream of experiences, its consumer, and the pace of reading.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Learner")]
pub struct ExperienceConfig {
    /// Stream of experiences.
    #[arg(id = "EXPERIENCE_STREAM_NAME", env, long = "experience-stream-name", default_value = "EXPERIENCE")]
    pub stream: String,
    /// Subjects of experiences in that stream.
    #[arg(id = "EXPERIENCE_SUBJECT", env, long = "experience-subject", default_value = "agent.experience.v1.>",
        value_parser = recorded_pattern.map(|pattern| pattern.as_str().to_owned()))]
    pub subject: String,
    /// Durable consumer of that stream.
    #[arg(id = "EXPERIENCE_DURABLE", env, long = "experience-durable", default_value = "experience-learner-v1")]
    pub durable: String,
    /// Seconds after which an unacknowledged experience is delivered again.
    #[arg(id = "EXPERIENCE_ACK_WAIT_SECONDS", env, long = "experience-ack-wait-seconds", default_value = "30",
        value_parser = seconds)]
    pub ack_wait: Duration,
    /// Deliveries of one experience, at most.
    #[arg(id = "EXPERIENCE_MAX_DELIVER", env, long = "experience-max-deliver", default_value_t = 20,
        value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub max_deliver: i64,
    /// Experiences fetched at a time.
    #[arg(id = "EXPERIENCE_FETCH_BATCH", env, long = "experience-fetch-batch", default_value_t = 64,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub batch: usize,
    /// Longest wait of a fetch, in seconds.
    #[arg(id = "EXPERIENCE_FETCH_TIMEOUT_SECONDS", env, long = "experience-fetch-timeout-seconds", default_value = "2",
        value_parser = seconds)]
    pub fetch_timeout: Duration,
    /// Bytes of the messages requested at a time.
    #[arg(skip = 8_usize << 20)]
    pub batch_bytes: usize,
    /// Messages requested at a time when past experiences are read.
    #[arg(skip = 1_000_usize)]
    pub read_batch: usize,
    /// Interval of the idle server's heartbeats while past experiences are read.
    #[arg(skip = Duration::from_secs(5))]
    pub heartbeat: Duration,
}

impl Default for ExperienceConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Position of the durable consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerPosition {
    /// Time of creation of the stream, which tells streams of the same name apart.
    pub created: DateTime<Utc>,
    /// All messages up to this sequence are acknowledged.
    pub acked: u64,
    /// All messages up to this sequence were delivered.
    pub delivered: u64,
}

/// A delivered message.
pub struct Delivery {
    /// The message as an entry, with epoch 0.
    pub entry: LogEntry,
    /// Body of the message.
    pub body: bytes::Bytes,
    /// Number of deliveries, from 1.
    pub attempts: i64,
    /// Messages after this one in the stream.
    pub pending: u64,
    acker: Acker,
}

impl Delivery {
    /// Acknowledges the message, once its effect is durable.
    ///
    /// # Errors
    /// Disconnected; the message will be delivered again.
    pub async fn ack(&self) -> Result<(), LogError> {
        self.acker.ack().await.map_err(|error| unavailable(&error))
    }

    /// Restarts the timeout of the acknowledgement, while the message is being processed.
    ///
    /// # Errors
    /// Disconnected.
    pub async fn in_progress(&self) -> Result<(), LogError> {
        self.acker.ack_with(AckKind::Progress).await.map_err(|error| unavailable(&error))
    }
}

/// Stream of experiences.
#[derive(Debug, Clone)]
pub struct ExperienceStream {
    config: ExperienceConfig,
    connection: Connection,
}

/// The opened durable consumer.
#[derive(Debug)]
pub struct ExperienceConsumer {
    consumer: Consumer<pull::Config>,
    connection: Connection,
    /// Position when it was opened.
    pub position: ConsumerPosition,
    /// Bytes of the messages fetched at a time.
    batch_bytes: usize,
}

impl ExperienceStream {
    /// The stream over `connection`.
    #[must_use]
    pub const fn new(config: ExperienceConfig, connection: Connection) -> Self {
        Self { config, connection }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &ExperienceConfig {
        &self.config
    }

    /// Finds or creates the durable consumer.
    ///
    /// # Errors
    /// Disconnected, or the stream is missing.
    pub async fn open_consumer(&self) -> Result<ExperienceConsumer, LogError> {
        if !self.connection.connected(CONNECT_TIMEOUT).await {
            return Err(LogError::Unavailable(self.connection.disconnected_text()));
        }
        let config = &self.config;
        let jetstream = self.connection.jetstream();
        let stream = self.permitted("STREAM.INFO", jetstream.get_stream(&config.stream)).await?;
        let created = stream.cached_info().created;
        let declared = pull::Config {
            durable_name: Some(config.durable.clone()),
            filter_subject: config.subject.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: config.ack_wait,
            max_deliver: config.max_deliver,
            ..pull::Config::default()
        };
        let made = jetstream.create_consumer_on_stream(declared, &config.stream);
        let consumer = self.permitted("CONSUMER.CREATE", made).await?;
        let info = consumer.cached_info();
        let position = ConsumerPosition {
            created,
            acked: info.ack_floor.stream_sequence,
            delivered: info.delivered.stream_sequence,
        };
        let batch_bytes = pull_bytes(&self.connection, config.batch_bytes);
        Ok(ExperienceConsumer { consumer, connection: self.connection.clone(), position, batch_bytes })
    }

    /// Deletes the durable consumer, so that the whole stream is delivered again. Lessons learned before are recognised by
    /// their keys.
    ///
    /// # Errors
    /// Disconnected.
    pub async fn delete_consumer(&self) -> Result<(), LogError> {
        let jetstream = self.connection.jetstream();
        let deleted = jetstream.delete_consumer_from_stream(&self.config.durable, &self.config.stream);
        let operation = format!("CONSUMER.DELETE.{}.{}", self.config.stream, self.config.durable);
        match self.connection.permitted(&[&operation], deleted).await.map_err(|error| unavailable(&error))? {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error.kind()) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Runs a request about the stream, or about a consumer of it.
    async fn permitted<T, E: std::fmt::Display>(
        &self,
        operation: &str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, LogError> {
        let subject = format!("{operation}.{}", self.config.stream);
        let done = self.connection.permitted(&[&subject, &format!("{subject}.>")], request).await;
        done.map_err(|error| unavailable(&error))?.map_err(|error| unavailable(&error))
    }

    /// Messages delivered up to `position`, in the stream's order, starting `memory` before the last acknowledged one.
    ///
    /// # Errors
    /// The stream cannot be read now.
    pub async fn read_delivered(
        &self,
        position: &ConsumerPosition,
        memory: TimeDelta,
    ) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        let jetstream = self.connection.jetstream();
        let stream = self.permitted("STREAM.INFO", jetstream.get_stream(&self.config.stream)).await?;
        // the last acknowledged message may have been deleted by retention: then all messages come after it
        let acked = self.permitted("STREAM.MSG.GET", async {
            Ok::<_, LogError>(stream.get_raw_message(position.acked.max(1)).await)
        });
        let since = match acked.await? {
            Ok(message) => message.time.checked_sub_signed(memory),
            Err(_) => None,
        };
        let deliver_policy = match since {
            Some(start_time) => DeliverPolicy::ByStartTime { start_time },
            None => DeliverPolicy::All,
        };
        let declared = pull::Config {
            filter_subject: self.config.subject.clone(),
            deliver_policy,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            max_deliver: 1,
            inactive_threshold: Duration::from_secs(30),
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let made = jetstream.create_consumer_on_stream(declared, &self.config.stream);
        let consumer = self.permitted("CONSUMER.CREATE", made).await?;
        if consumer.cached_info().num_pending == 0 {
            return Ok(futures::stream::empty().boxed());
        }
        let permissions = self.connection.permission_guard();
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.config.read_batch)
            .max_bytes_per_batch(pull_bytes(&self.connection, self.config.batch_bytes))
            .heartbeat(self.config.heartbeat)
            .messages()
            .await
            .map_err(|error| unavailable(&error))?;
        let delivered = DeliveredEntries {
            messages,
            permissions,
            requests: self.connection.api_subjects(&[&format!("CONSUMER.MSG.NEXT.{}.>", self.config.stream)]),
            delivered: 0,
            until: position.delivered,
            ended: false,
        };
        let entries = futures::stream::unfold(delivered, |mut delivered| async {
            let entry = delivered.next().await?;
            Some((entry, delivered))
        });
        Ok(entries.boxed())
    }
}

/// Delivered messages read again.
struct DeliveredEntries {
    messages: pull::Stream,
    permissions: PermissionGuard,
    /// Subjects on which messages are requested.
    requests: Vec<String>,
    /// Messages received.
    delivered: u64,
    /// Last sequence to return.
    until: u64,
    ended: bool,
}

impl DeliveredEntries {
    /// The next entry; `None` after the last one, without waiting for new messages.
    async fn next(&mut self) -> Option<Result<LogEntry, LogError>> {
        if self.ended {
            return None;
        }
        let entry = match self.permissions.run(&self.requests, self.messages.next()).await {
            Ok(Some(Ok(message))) => self.read(&message),
            Ok(Some(Err(error))) => Err(unavailable(&error)),
            Err(error) => Err(unavailable(&error)),
            Ok(None) => Err(LogError::Unavailable("the consumer was deleted".to_owned())),
        };
        self.ended |= entry.is_err();
        match entry {
            Ok(entry) if entry.cursor.seq > self.until => None,
            entry => Some(entry),
        }
    }

    fn read(&mut self, message: &Message) -> Result<LogEntry, LogError> {
        let info = message.info().map_err(|error| LogError::Unavailable(error.to_string()))?;
        self.delivered += 1;
        // learning depends on every message in order
        if info.consumer_sequence != self.delivered {
            return Err(LogError::Unavailable("a delivery was lost".to_owned()));
        }
        self.ended = info.pending == 0 || info.stream_sequence >= self.until;
        Ok(entry_of(message, &info, Epoch(0)))
    }
}

impl ExperienceConsumer {
    /// The available messages, or else the first one that arrives before the timeout.
    ///
    /// # Errors
    /// Disconnected, or the consumer was deleted.
    pub async fn fetch(&self, config: &ExperienceConfig) -> Result<Vec<Delivery>, LogError> {
        // without acknowledgements each message would be learned again and again, and be lost in the end
        if let Some(error) = self.connection.acks_denied(&config.stream, &config.durable) {
            return Err(unavailable(&error));
        }
        let next = format!("CONSUMER.MSG.NEXT.{}.{}", config.stream, config.durable);
        let fetched = self.connection.permitted(&[&next], self.fetch_permitted(config)).await;
        fetched.map_err(|error| unavailable(&error))?
    }

    async fn fetch_permitted(&self, config: &ExperienceConfig) -> Result<Vec<Delivery>, LogError> {
        let fetch = self.consumer.fetch().max_messages(config.batch).max_bytes(self.batch_bytes);
        let ready = fetch.messages().await.map_err(|error| unavailable(&error))?;
        // an error without messages may be about one that is larger than the bytes requested
        let deliveries = collect(ready, CONNECT_TIMEOUT).await.unwrap_or_default();
        if !deliveries.is_empty() {
            return Ok(deliveries);
        }
        // request one only, of any size: messages sent to an abandoned request would be lost until redelivery
        let next = self.consumer.batch().max_messages(1).expires(config.fetch_timeout).messages().await;
        collect(next.map_err(|error| unavailable(&error))?, config.fetch_timeout + CONNECT_TIMEOUT).await
    }
}

/// All messages of a request.
async fn collect(mut messages: pull::Batch, timeout: Duration) -> Result<Vec<Delivery>, LogError> {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut deliveries = Vec::new();
    loop {
        // the server ends a request by itself, unless it is unavailable
        match tokio::time::timeout_at(deadline, messages.next()).await {
            Ok(Some(Ok(message))) => deliveries.extend(delivery(message)),
            Ok(None) => return Ok(deliveries),
            // received messages are valid
            Ok(Some(Err(_))) | Err(_) if !deliveries.is_empty() => return Ok(deliveries),
            Ok(Some(Err(error))) => return Err(LogError::Unavailable(error.to_string())),
            Err(_) => return Err(LogError::Unavailable("the NATS server did not answer in time".to_owned())),
        }
    }
}

/// `None` for a message without a position, which is not one of the stream.
fn delivery(message: Message) -> Option<Delivery> {
    let (entry, attempts, pending) = {
        let info = message.info().ok()?;
        (entry_of(&message, &info, Epoch(0)), info.delivered, info.pending)
    };
    let (message, acker) = message.split();
    Some(Delivery { entry, body: message.payload, attempts, pending, acker })
}

fn unavailable(error: &dyn std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}
