//! The log as a `JetStream` stream.
//!
//! The server gives every message its position; readers follow with consumers of their own. Several processes may append
//! and read; they agree on positions and on the epoch.
//!
//! The epoch is made of the stream's name, its time of creation and its generation. The generation is a number in the
//! stream's description (`living-map generation 2`; absent: 0), raised by whoever finds that the stream has lost entries
//! that had been read. That can happen when a server loses power before it has written to disk; `sync_interval: always`
//! in its configuration, or three replicas, prevent it.
//!
//! | metric | |
//! |---|---|
//! | `living_map_log_appends_total{result}` | events appended: `appended`, `duplicate`, `refused`, `unavailable` |
//! | `living_map_log_append_seconds` | histogram: one call, whatever its size |
//! | `living_map_log_reader_reopened_total{reason}` | times a reader asked for a new consumer |
//! | `living_map_log_unreadable_total` | messages that the client cannot read, moved to the end |

mod message;
mod reader;
mod stream;
mod unreadable;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self as streams, BoxStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument;
use uuid::Uuid;

use super::{Appended, Bounds, EventLog, LogError, append_span, join_trace};
use crate::bus::{Connection, Declaration};
use crate::model::{Cursor, Epoch, LogEntry, NewEvent, Traceparent, envelope, subject};
use crate::telemetry;

pub(super) use message::entry_of;
pub(super) use stream::LogStream;
pub(super) use unreadable::Stalled;

/// What a `Nats-Msg-Id` header adds to a message, in bytes: the header's frame, its name and a UUID.
const HEADER_BYTES: usize = "NATS/1.0\r\nNats-Msg-Id: \r\n\r\n".len() + 36;

/// How the log is kept and followed.
#[derive(Debug, Clone)]
pub struct JetStreamConfig {
    /// The stream, made when it is missing.
    pub stream: Declaration,
    /// The network's other streams, looked after together with it; it takes the messages of those that are marked so.
    pub network: Vec<Declaration>,
    /// Whether streams may be made and extended; otherwise they are compared only, and a missing log is not available.
    pub manage: bool,
    /// How long an append may take in all, waiting for a connection included. An event whose append was not confirmed in
    /// time may be in the log all the same; sent again, it is known as a duplicate.
    pub append_timeout: Duration,
    /// How long a stream that was there must be gone before it is made again.
    pub recreate_after: Duration,
    /// How many appended events may wait for the server's word at a time, for each call.
    pub append_in_flight: usize,
    /// How many messages a reader asks for at a time. Up to one and a half times as many are held for it unparsed.
    pub read_batch: usize,
    /// How many batches a reader holds parsed, for a caller that is slower than the log.
    pub read_buffer: usize,
    /// How often an idle server says that it is there. A reader that misses it twice asks again.
    pub heartbeat: Duration,
    /// How long the server keeps a reader's place when nobody asks for more. Readers that went away cost it nothing after
    /// this time.
    pub reader_expires: Duration,
    /// The longest wait between two attempts to read again.
    pub retry_max: Duration,
}

impl Default for JetStreamConfig {
    fn default() -> Self {
        Self {
            stream: Declaration::living_map(&[], 1),
            network: Vec::new(),
            manage: true,
            append_timeout: Duration::from_secs(5),
            recreate_after: Duration::from_secs(2),
            append_in_flight: 1000,
            read_batch: 500,
            read_buffer: 8,
            heartbeat: Duration::from_secs(5),
            reader_expires: Duration::from_secs(30),
            retry_max: Duration::from_secs(5),
        }
    }
}

/// The log as a `JetStream` stream. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JetStreamLog {
    stream: Arc<LogStream>,
    config: Arc<JetStreamConfig>,
}

impl JetStreamLog {
    /// The log over `connection`. The server is asked when the log is used, not now.
    #[must_use]
    pub fn new(config: JetStreamConfig, connection: Connection) -> Self {
        let stream = LogStream::new(connection, &config);
        Self { stream: Arc::new(stream), config: Arc::new(config) }
    }

    pub(super) fn stream(&self) -> &Arc<LogStream> {
        &self.stream
    }

    /// Gives the log a new identity, for when its store was put back to an older state and nothing that is left can tell.
    /// Servers that run meanwhile notice at their next connect.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub async fn renew(&self) -> Result<Epoch, LogError> {
        let seen = self.stream.look().await?;
        self.stream.new_generation(&seen).await
    }

    async fn publish(&self, new: &NewEvent, known: &stream::Known) -> Result<Sent, LogError> {
        let event = &new.event;
        if !known.records(&event.event_type) || subject::validate(&event.event_type).is_err() {
            return Err(LogError::NotRecorded(event.event_type.clone()));
        }
        let body = envelope::write(event).to_string();
        let mut headers = message::dead_letter_headers(event);
        if let Some(trace) = telemetry::current().or_else(|| event.traceparent()) {
            headers.push((Traceparent::NAME, trace.to_string()));
        }
        let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
        let size = body.len() + HEADER_BYTES + header_bytes;
        if size > known.max_message {
            return Err(LogError::TooLarge { size, limit: known.max_message });
        }
        let mut message = PublishMessage::build().message_id(event.id.to_string()).payload(body.into());
        for (name, value) in &headers {
            message = message.header(*name, value.as_str());
        }
        let sent = self.stream.connection().jetstream().send_publish(event.event_type.clone(), message).await;
        let ack = sent.map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(Sent { id: event.id, subject: event.event_type.clone(), ack })
    }

    async fn settle(&self, sent: Sent, known: &stream::Known, deadline: Instant) -> Result<Appended, LogError> {
        let ack = match timeout_at(deadline, sent.ack.into_future()).await {
            Ok(Ok(ack)) => ack,
            Ok(Err(error)) if error.kind() == PublishErrorKind::StreamNotFound => {
                // it was there when its subjects were read: look again, so that it is made again
                self.stream.forget();
                return Err(LogError::Unavailable("the stream is not there".to_owned()));
            }
            Ok(Err(error)) => return Err(LogError::Unavailable(error.to_string())),
            Err(_) => return Err(LogError::Unavailable("the server did not answer in time".to_owned())),
        };
        let cursor = if ack.stream == self.config.stream.name {
            Some(Cursor { epoch: known.epoch, seq: ack.sequence })
        } else if known.sources(&ack.stream, &sent.subject) {
            // it is safe there, and on its way: its position in the log is not known yet
            None
        } else {
            return Err(LogError::NotRecorded(sent.subject));
        };
        Ok(Appended { id: sent.id, cursor, duplicate: ack.duplicate })
    }
}

/// An event on its way to the server.
struct Sent {
    id: Uuid,
    subject: String,
    ack: PublishAckFuture,
}

#[async_trait]
impl EventLog for JetStreamLog {
    async fn append(&self, mut events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        let span = append_span(events.len());
        let append = async {
            join_trace(&mut events);
            self.append_all(&events).await
        };
        append.instrument(span).await
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        Ok(self.stream.look().await?.bounds)
    }

    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        let (sender, receiver) = mpsc::channel(self.config.read_buffer.max(1));
        let reader = reader::Reader::open(Arc::clone(&self.stream), Arc::clone(&self.config), epoch, after).await?;
        tokio::spawn(reader.run(sender));
        let entries = ReceiverStream::new(receiver).flat_map(|batch| match batch {
            Ok(entries) => streams::iter(entries.into_iter().map(Ok)).left_stream(),
            Err(error) => streams::once(std::future::ready(Err(error))).right_stream(),
        });
        Ok(entries.boxed())
    }

    async fn ready(&self) -> Result<(), LogError> {
        if !self.stream.connection().link().borrow().connected {
            return Err(LogError::Unavailable("no connection to NATS".to_owned()));
        }
        self.stream.look().await?;
        self.stream.unreadable().stuck().map_or(Ok(()), |problem| Err(LogError::Unavailable(problem)))
    }

    fn kind(&self) -> &'static str {
        "jetstream"
    }
}

impl JetStreamLog {
    async fn append_all(&self, events: &[NewEvent]) -> Vec<Result<Appended, LogError>> {
        let deadline = Instant::now() + self.config.append_timeout;
        let started = Instant::now();
        let known = match self.stream.known().await {
            Ok(known) => known,
            Err(error) => {
                let problem = error.to_string();
                return events.iter().map(|_| Err(LogError::Unavailable(problem.clone()))).collect();
            }
        };
        let mut results = Vec::with_capacity(events.len());
        let mut pending = VecDeque::new();
        for event in events {
            if pending.len() >= self.config.append_in_flight
                && let Some(first) = pending.pop_front()
            {
                results.push(self.settle_one(first, &known, deadline).await);
            }
            // a connection that takes no more bytes must not hold the caller for ever
            let sent = timeout_at(deadline, self.publish(event, &known)).await;
            pending
                .push_back(sent.unwrap_or_else(|_| Err(LogError::Unavailable("the connection is stuck".to_owned()))));
        }
        for one in pending {
            results.push(self.settle_one(one, &known, deadline).await);
        }
        count(&results);
        metrics::histogram!("living_map_log_append_seconds").record(started.elapsed().as_secs_f64());
        results
    }

    async fn settle_one(
        &self,
        sent: Result<Sent, LogError>,
        known: &stream::Known,
        deadline: Instant,
    ) -> Result<Appended, LogError> {
        self.settle(sent?, known, deadline).await
    }
}

fn count(results: &[Result<Appended, LogError>]) {
    let count = |result: &'static str, matching: &dyn Fn(&Result<Appended, LogError>) -> bool| {
        let number = results.iter().filter(|result| matching(result)).count() as u64;
        if number > 0 {
            metrics::counter!("living_map_log_appends_total", "result" => result).increment(number);
        }
    };
    count("appended", &|result| matches!(result, Ok(appended) if !appended.duplicate));
    count("duplicate", &|result| matches!(result, Ok(appended) if appended.duplicate));
    count("refused", &|result| matches!(result, Err(LogError::NotRecorded(_) | LogError::TooLarge { .. })));
    count("unavailable", &|result| matches!(result, Err(LogError::Unavailable(_))));
}
