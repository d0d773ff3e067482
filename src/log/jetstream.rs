//! The log as a `JetStream` stream.
//!
//! The NATS server gives every message its position, and each reader has its own consumer. Several processes may append and
//! read; they see the same positions and the same epoch.
//!
//! The epoch is derived from the stream's name, its time of creation and its generation. The generation is a number in the
//! stream's description (`living-map generation 2`; absent: 0), raised by a process that detects that the stream has lost
//! entries that had been read. That can happen when a NATS server loses power before it has written to disk;
//! `sync_interval: always` in its configuration, or three replicas, prevent it.
//!
//! | metric | |
//! |---|---|
//! | `living_map_log_appends_total{result}` | events appended: `appended`, `duplicate`, `refused`, `unavailable` |
//! | `living_map_log_append_seconds` | histogram: duration of one call, with any number of events |
//! | `living_map_log_reader_reopened_total{reason}` | times a reader created a new consumer |
//! | `living_map_log_unsourced_streams` | gauge: streams with subjects of the log that it must not source |
//! | `living_map_log_unreadable_total` | messages that the client library cannot read, moved to the end of the log |

mod bridged;
mod message;
mod reader;
mod report;
mod sources;
mod stream;
mod stream_watch;
mod unreadable;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self as streams, BoxStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use self::reader::JetStreamReader;
use self::sources::SourceStarts;
use super::{Appended, Bounds, EventLog, LogError, append_span, join_trace};
use crate::bus::connection::permissions::PermissionGuard;
use crate::bus::{Connection, NotSourced, StreamDeclaration};
use crate::history::History;
use crate::model::subject::{self, Pattern};
use crate::model::{Cursor, Epoch, LogEntry, NewEvent, Traceparent, envelope};
use crate::telemetry;

pub use bridged::{BridgedMessage, StreamPosition};

pub(super) use message::entry_of;
pub(super) use stream::LogStream;
pub(super) use unreadable::{StallDetector, UnreadableMessages};

/// Size of a `Nats-Msg-Id` header in a message, in bytes: the header block, its name and a UUID.
const HEADER_BYTES: usize = "NATS/1.0\r\nNats-Msg-Id: \r\n\r\n".len() + 36;

/// Bytes of messages that a consumer requests at a time. The server never delivers a message that is larger, so it is at
/// least twice the largest that it accepts now: a stream may have larger ones from before.
pub(super) fn pull_bytes(connection: &Connection, bytes: usize) -> usize {
    bytes.max(connection.client().max_payload().saturating_mul(2))
}

/// Returns true if the server has messages that it does not deliver to this consumer.
pub(super) async fn has_undelivered(consumer: &mut Consumer<pull::Config>, limit: Duration) -> bool {
    let info = tokio::time::timeout(limit, consumer.info()).await;
    info.is_ok_and(|info| info.is_ok_and(|info| info.num_pending > 0))
}

/// Settings of the log.
#[derive(Debug, Clone)]
pub struct JetStreamConfig {
    /// The stream of the log.
    pub stream: StreamDeclaration,
    /// The network's other streams, reconciled together with it; it sources messages from those with `in_log`.
    pub network: Vec<StreamDeclaration>,
    /// Allows creating and extending streams; otherwise they are only compared, and a log without a stream is
    /// unavailable.
    pub manage: bool,
    /// Timeout of an append, including waiting for a connection. An event whose append timed out may be in the log; sent
    /// again, it is recognised as a duplicate.
    pub append_timeout: Duration,
    /// Subjects of the bridge, of which the log says that they are recorded.
    pub bridged: Vec<Pattern>,
    /// Interval of comparing the streams with their declarations, besides after changes that NATS announces.
    pub check_interval: Duration,
    /// Time for which a deleted stream must be missing before it is created again.
    pub recreate_after: Duration,
    /// Maximum number of unacknowledged events of one append call.
    pub append_in_flight: usize,
    /// Messages that a reader requests at a time. Up to one and a half times as many are buffered unparsed.
    pub read_batch: usize,
    /// Bytes of the messages requested at a time, and approximate memory of a parsed batch; a single larger message makes a
    /// batch alone.
    pub read_batch_bytes: usize,
    /// Parsed batches buffered by a reader, for a caller that is slower than the log.
    pub read_buffer: usize,
    /// Interval of idle heartbeats from the server. A reader that misses two creates a new consumer.
    pub heartbeat: Duration,
    /// Time after which the server deletes the consumer of a reader that requests no messages.
    pub reader_expires: Duration,
    /// Maximum delay between two attempts to read again.
    pub retry_max: Duration,
}

impl Default for JetStreamConfig {
    fn default() -> Self {
        Self {
            stream: StreamDeclaration::living_map(&[], 1),
            network: Vec::new(),
            manage: true,
            append_timeout: Duration::from_secs(5),
            bridged: Vec::new(),
            check_interval: Duration::from_secs(30),
            recreate_after: Duration::from_secs(2),
            append_in_flight: 1000,
            read_batch: 500,
            read_batch_bytes: 8 << 20,
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
    unreadable: Arc<UnreadableMessages>,
    config: Arc<JetStreamConfig>,
}

impl JetStreamLog {
    /// A log over `connection`. The server is contacted at the first use, not now.
    #[must_use]
    pub fn new(config: JetStreamConfig, connection: Connection) -> Self {
        Self::open(config, connection, None)
    }

    /// Like [`JetStreamLog::new`]. A stream that is created continues in its sources behind the events in `history`.
    #[must_use]
    pub fn recorded_in(config: JetStreamConfig, connection: Connection, history: Arc<dyn History>) -> Self {
        let starts = SourceStarts::new(connection.clone(), history);
        Self::open(config, connection, Some(starts))
    }

    fn open(config: JetStreamConfig, connection: Connection, starts: Option<SourceStarts>) -> Self {
        let stream = Arc::new(LogStream::new(&config, connection, starts));
        let unreadable = Arc::new(UnreadableMessages::new(Arc::clone(&stream)));
        Self { stream, unreadable, config: Arc::new(config) }
    }

    pub(super) fn stream(&self) -> &Arc<LogStream> {
        &self.stream
    }

    pub(super) fn unreadable(&self) -> &Arc<UnreadableMessages> {
        &self.unreadable
    }

    /// Gives the log a new epoch, for when its store was restored to an older state and nothing left can detect that. Running
    /// servers notice at their next connect.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    pub async fn renew(&self) -> Result<Epoch, LogError> {
        let state = self.stream.fetch_state().await?;
        self.stream.new_generation(&state).await
    }

    /// Compares the streams with their declarations until `stop`, since others may create, change or delete streams.
    pub async fn watch_streams(self, stop: CancellationToken) {
        stream_watch::run(self.stream, self.config.check_interval, stop).await;
    }

    /// Number of times that [`Self::watch_streams`] has compared the streams, and its changes.
    #[must_use]
    pub fn stream_checks(&self) -> watch::Receiver<u64> {
        self.stream.checks()
    }

    /// The connection to NATS.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.stream.connection()
    }

    /// Appends messages of the bridge in order, like [`EventLog::append`]. They are read under their own subject. `None` for a
    /// message whose subject the log records by itself.
    pub async fn append_bridged(&self, messages: &[BridgedMessage]) -> Vec<Result<Option<Appended>, LogError>> {
        let deadline = Instant::now() + self.config.append_timeout;
        let permissions = self.stream.connection().permission_guard();
        let context = match self.stream.append_context().await {
            Ok(context) => context,
            Err(error) => return messages.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut pending = Vec::with_capacity(messages.len());
        for message in messages {
            if context.records(message.subject()) {
                pending.push(None);
                continue;
            }
            let sent = timeout_at(deadline, self.publish_bridged(message, &context)).await;
            pending.push(Some(sent.unwrap_or_else(|_| Err(blocked()))));
        }
        let mut results = Vec::with_capacity(messages.len());
        for sent in pending {
            results.push(match sent {
                Some(sent) => self.confirm(sent, &context, &permissions, deadline).await.map(Some),
                None => Ok(None),
            });
        }
        let appended: Vec<_> = results.iter().filter_map(|result| result.clone().transpose()).collect();
        count(&appended);
        results
    }

    async fn publish_bridged(
        &self,
        message: &BridgedMessage,
        context: &stream::AppendContext,
    ) -> Result<PendingAppend, LogError> {
        let subject = message.log_subject();
        if !context.records(&subject) {
            return Err(LogError::NotRecorded(subject));
        }
        let (size, limit) = (message.log_size(), context.max_message);
        if size > limit {
            return Err(LogError::TooLarge { size, limit });
        }
        let sent = self.stream.connection().jetstream().send_publish(subject.clone(), message.to_publish()).await;
        let ack = sent.map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(PendingAppend { id: message.id(), subject, ack })
    }

    async fn append_all(&self, events: &[NewEvent]) -> Vec<Result<Appended, LogError>> {
        let deadline = Instant::now() + self.config.append_timeout;
        let started = Instant::now();
        let permissions = self.stream.connection().permission_guard();
        let context = match self.stream.append_context().await {
            Ok(context) => context,
            Err(error) => return events.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut results = Vec::with_capacity(events.len());
        let mut pending = VecDeque::new();
        for event in events {
            if pending.len() >= self.config.append_in_flight
                && let Some(first) = pending.pop_front()
            {
                results.push(self.confirm(first, &context, &permissions, deadline).await);
            }
            // a connection whose buffer is full must not block the caller for ever
            let sent = timeout_at(deadline, self.publish(event, &context)).await;
            pending.push_back(sent.unwrap_or_else(|_| Err(blocked())));
        }
        for sent in pending {
            results.push(self.confirm(sent, &context, &permissions, deadline).await);
        }
        count(&results);
        metrics::histogram!("living_map_log_append_seconds").record(started.elapsed().as_secs_f64());
        results
    }

    async fn publish(&self, new: &NewEvent, context: &stream::AppendContext) -> Result<PendingAppend, LogError> {
        let event = &new.event;
        if !context.records(&event.event_type) || subject::validate(&event.event_type).is_err() {
            return Err(LogError::NotRecorded(event.event_type.clone()));
        }
        let body = envelope::write(event).to_string();
        let mut headers = message::dead_letter_headers(event);
        if let Some(trace) = telemetry::current().or_else(|| event.traceparent()) {
            headers.push((Traceparent::NAME, trace.to_string()));
        }
        let header_bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
        let size = body.len() + HEADER_BYTES + header_bytes;
        if size > context.max_message {
            return Err(LogError::TooLarge { size, limit: context.max_message });
        }
        let mut message = PublishMessage::build().message_id(event.id.to_string()).payload(body.into());
        for (name, value) in &headers {
            message = message.header(*name, value.as_str());
        }
        let sent = self.stream.connection().jetstream().send_publish(event.event_type.clone(), message).await;
        let ack = sent.map_err(|error| LogError::Unavailable(error.to_string()))?;
        Ok(PendingAppend { id: event.id, subject: event.event_type.clone(), ack })
    }

    /// Waits for the acknowledgement of an append.
    async fn confirm(
        &self,
        sent: Result<PendingAppend, LogError>,
        context: &stream::AppendContext,
        permissions: &PermissionGuard,
        deadline: Instant,
    ) -> Result<Appended, LogError> {
        let sent = sent?;
        let subjects = [sent.subject];
        let ack = match timeout_at(deadline, permissions.run(&subjects, sent.ack.into_future())).await {
            Ok(Ok(Ok(ack))) => ack,
            Ok(Err(error)) => return Err(LogError::Denied(error.to_string())),
            Ok(Ok(Err(error))) if error.kind() == PublishErrorKind::StreamNotFound => {
                // it existed when its subjects were read: fetch the state again, so that it is created again
                self.stream.invalidate();
                return Err(LogError::Unavailable("the stream is missing".to_owned()));
            }
            Ok(Ok(Err(error))) => return Err(LogError::Unavailable(error.to_string())),
            Err(_) => return Err(LogError::Unavailable("the NATS server did not answer in time".to_owned())),
        };
        let [subject] = subjects;
        let cursor = if ack.stream == self.config.stream.name {
            Some(Cursor { epoch: context.epoch, seq: ack.sequence })
        } else if context.sources(&ack.stream, &subject) {
            // it is stored there, and its position in the log is not known yet
            None
        } else {
            return Err(LogError::NotRecorded(subject));
        };
        Ok(Appended { id: sent.id, cursor, duplicate: ack.duplicate })
    }
}

fn blocked() -> LogError {
    LogError::Unavailable("the NATS connection is blocked".to_owned())
}

/// An event sent to the server, not yet acknowledged.
struct PendingAppend {
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
        Ok(self.stream.fetch_state().await?.bounds)
    }

    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        let (sender, receiver) = mpsc::channel(self.config.read_buffer.max(1));
        let (stream, unreadable) = (Arc::clone(&self.stream), Arc::clone(&self.unreadable));
        let reader = JetStreamReader::open(stream, unreadable, Arc::clone(&self.config), epoch, after).await?;
        tokio::spawn(reader.run(sender));
        let entries = ReceiverStream::new(receiver).flat_map(|batch| match batch {
            Ok(entries) => streams::iter(entries.into_iter().map(Ok)).left_stream(),
            Err(error) => streams::once(std::future::ready(Err(error))).right_stream(),
        });
        Ok(entries.boxed())
    }

    async fn lost_entries(&self, epoch: Epoch) -> Result<Epoch, LogError> {
        let state = self.stream.fetch_state().await?;
        // another process may have detected the same loss
        if state.bounds.epoch != epoch {
            return Ok(state.bounds.epoch);
        }
        self.stream.new_generation(&state).await
    }

    async fn ready(&self) -> Result<(), LogError> {
        if !self.stream.connection().state().borrow().connected {
            return Err(LogError::Unavailable(self.stream.connection().disconnected_text()));
        }
        self.stream.fetch_state().await?;
        // a reader without messages waits, since there may be none
        let reading = format!("CONSUMER.MSG.NEXT.{}.>", self.stream.name());
        if let Some(error) = self.stream.connection().denied(&[&reading]) {
            return Err(LogError::Unavailable(error.to_string()));
        }
        self.unreadable.stuck().map_or(Ok(()), |problem| Err(LogError::Unavailable(problem)))
    }

    fn warning(&self) -> Option<String> {
        self.stream.warning()
    }

    fn unsourced(&self) -> Vec<NotSourced> {
        self.stream.unsourced()
    }

    fn kind(&self) -> &'static str {
        "jetstream"
    }
}

/// Returns true if the consumer or its stream does not exist.
pub(super) fn is_not_found(error: &ConsumerErrorKind) -> bool {
    matches!(error, ConsumerErrorKind::JetStream(error)
        if matches!(error.error_code(), ErrorCode::CONSUMER_NOT_FOUND | ErrorCode::STREAM_NOT_FOUND))
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
    count("unavailable", &|result| matches!(result, Err(LogError::Unavailable(_) | LogError::Denied(_))));
}
