//! The stream of experiences: a durable pull consumer with explicit acknowledgement, and the stream's past to read again.
//!
//! It is no log: nobody needs its positions but the learner, and what is acknowledged is not delivered again.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::LogError;
use super::jetstream::entry_of;
use super::writer::is_not_found;
use crate::bus::Connection;
use crate::model::{Epoch, LogEntry};

/// Longest wait for connecting when the stream is opened.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the stream is read.
#[derive(Debug, Clone)]
pub struct ExperienceConfig {
    /// The stream.
    pub stream: String,
    /// The subjects in it.
    pub subject: String,
    /// The durable consumer.
    pub durable: String,
    /// How long the server waits for an acknowledgement before it delivers again.
    pub ack_wait: Duration,
    /// How often it delivers at most.
    pub max_deliver: i64,
    /// Messages fetched at a time.
    pub batch: usize,
    /// How long a fetch waits.
    pub fetch_timeout: Duration,
    /// Messages asked for at a time when the past is read.
    pub read_batch: usize,
    /// How often an idle server says that it is there while the past is read.
    pub heartbeat: Duration,
}

/// Where the durable consumer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// When the stream was made: another one is another stream.
    pub created: DateTime<Utc>,
    /// Everything up to here is acknowledged.
    pub acked: u64,
    /// Everything up to here was delivered to somebody.
    pub delivered: u64,
}

/// A delivered message.
pub struct Delivery {
    /// What it says; the epoch is none.
    pub entry: LogEntry,
    /// Its bytes.
    pub body: bytes::Bytes,
    /// How often it was delivered, from 1.
    pub attempts: i64,
    /// Messages behind it in the stream.
    pub pending: u64,
    acker: Acker,
}

impl Delivery {
    /// Its effect is durable: it is not delivered again.
    ///
    /// # Errors
    /// There is no connection; it will be delivered again.
    pub async fn ack(&self) -> Result<(), LogError> {
        self.acker.ack().await.map_err(|error| unavailable(&error))
    }

    /// Somebody is at work on it: it is not delivered again for now.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn in_progress(&self) -> Result<(), LogError> {
        self.acker.ack_with(AckKind::Progress).await.map_err(|error| unavailable(&error))
    }
}

/// The stream of experiences.
#[derive(Debug, Clone)]
pub struct Experiences {
    config: ExperienceConfig,
    connection: Connection,
}

/// The durable consumer, opened.
#[derive(Debug)]
pub struct Open {
    consumer: Consumer<pull::Config>,
    /// Where it is.
    pub place: Place,
}

impl Experiences {
    /// The stream over `connection`.
    #[must_use]
    pub const fn new(config: ExperienceConfig, connection: Connection) -> Self {
        Self { config, connection }
    }

    /// How it is read.
    #[must_use]
    pub const fn config(&self) -> &ExperienceConfig {
        &self.config
    }

    /// Finds or makes the durable consumer.
    ///
    /// # Errors
    /// There is no connection, or no such stream.
    pub async fn open(&self) -> Result<Open, LogError> {
        if !self.connection.connected(PATIENCE).await {
            return Err(LogError::Unavailable("no connection to NATS".to_owned()));
        }
        let config = &self.config;
        let jetstream = self.connection.jetstream();
        let stream = jetstream.get_stream(&config.stream).await.map_err(|error| unavailable(&error))?;
        let created = stream.cached_info().created;
        let declared = pull::Config {
            durable_name: Some(config.durable.clone()),
            filter_subject: config.subject.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: config.ack_wait,
            max_deliver: config.max_deliver,
            ..pull::Config::default()
        };
        let made = jetstream.create_consumer_on_stream(declared, &config.stream).await;
        let consumer = made.map_err(|error| unavailable(&error))?;
        let info = consumer.cached_info();
        let place = Place { created, acked: info.ack_floor.stream_sequence, delivered: info.delivered.stream_sequence };
        Ok(Open { consumer, place })
    }

    /// Gives up the durable consumer: the next one to open it begins with the stream. Lessons that are known already are
    /// known by their keys.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn begin_anew(&self) -> Result<(), LogError> {
        let jetstream = self.connection.jetstream();
        match jetstream.delete_consumer_from_stream(&self.config.durable, &self.config.stream).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error.kind()) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// What was delivered up to `place`, in the stream's order, from `memory` before its first message that is not
    /// acknowledged.
    ///
    /// # Errors
    /// The stream cannot be read now.
    pub async fn past(
        &self,
        place: &Place,
        memory: TimeDelta,
    ) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        let jetstream = self.connection.jetstream();
        let stream = jetstream.get_stream(&self.config.stream).await.map_err(|error| unavailable(&error))?;
        // what was acknowledged last may be gone, being old: then all there is comes after it
        let since = match stream.get_raw_message(place.acked.max(1)).await {
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
        let made = jetstream.create_consumer_on_stream(declared, &self.config.stream).await;
        let consumer = made.map_err(|error| unavailable(&error))?;
        if consumer.cached_info().num_pending == 0 {
            return Ok(futures::stream::empty().boxed());
        }
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.config.read_batch)
            .heartbeat(self.config.heartbeat)
            .messages()
            .await
            .map_err(|error| unavailable(&error))?;
        let past = Past { messages, delivered: 0, until: place.delivered, ended: false };
        let entries = futures::stream::unfold(past, |mut past| async {
            let entry = past.next().await?;
            Some((entry, past))
        });
        Ok(entries.boxed())
    }
}

/// The stream's past, up to its end.
struct Past {
    messages: pull::Stream,
    /// Messages that came.
    delivered: u64,
    /// The last position that is wanted.
    until: u64,
    ended: bool,
}

impl Past {
    /// The next entry. Behind the last one nothing is waited for.
    async fn next(&mut self) -> Option<Result<LogEntry, LogError>> {
        if self.ended {
            return None;
        }
        let entry = match self.messages.next().await {
            Some(Ok(message)) => self.read(&message),
            Some(Err(error)) => Err(unavailable(&error)),
            None => Err(LogError::Unavailable("the consumer is gone".to_owned())),
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
        // a message that is missing in between makes all that follows worthless
        if info.consumer_sequence != self.delivered {
            return Err(LogError::Unavailable("a delivery was lost".to_owned()));
        }
        self.ended = info.pending == 0 || info.stream_sequence >= self.until;
        Ok(entry_of(message, &info, Epoch(0)))
    }
}

impl Open {
    /// The next messages: those that are there, or the first ones that come in time.
    ///
    /// # Errors
    /// There is no connection, or the consumer is gone.
    pub async fn fetch(&self, config: &ExperienceConfig) -> Result<Vec<Delivery>, LogError> {
        let ready = self.consumer.fetch().max_messages(config.batch).messages().await;
        let deliveries = collect(ready.map_err(|error| unavailable(&error))?, PATIENCE).await?;
        if !deliveries.is_empty() {
            return Ok(deliveries);
        }
        // one only: a request that is given up would be sent messages that nobody takes
        let next = self.consumer.batch().max_messages(1).expires(config.fetch_timeout).messages().await;
        collect(next.map_err(|error| unavailable(&error))?, config.fetch_timeout + PATIENCE).await
    }
}

/// A request's messages, to its end.
async fn collect(mut messages: pull::Batch, patience: Duration) -> Result<Vec<Delivery>, LogError> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut deliveries = Vec::new();
    loop {
        // the server ends a request by itself; one that is away does not
        match tokio::time::timeout_at(deadline, messages.next()).await {
            Ok(Some(Ok(message))) => deliveries.extend(delivery(message)),
            Ok(None) => return Ok(deliveries),
            // what came is still good
            Ok(Some(Err(_))) | Err(_) if !deliveries.is_empty() => return Ok(deliveries),
            Ok(Some(Err(error))) => return Err(LogError::Unavailable(error.to_string())),
            Err(_) => return Err(LogError::Unavailable("the server did not answer in time".to_owned())),
        }
    }
}

/// What has no position is no message of the stream.
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
