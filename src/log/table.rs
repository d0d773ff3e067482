//! The log of one process: the history table itself. An append is a row with the next position; a reader reads rows.
//!
//! One task writes: it commits what has come together meanwhile in one transaction, so that many small
//! appends cost one `fsync`. Positions are given out without a gap, only to new events, and only readers' eyes decide when
//! they exist: nobody sees an entry before it is durable.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::Instrument;

use self::batch::Append;
use self::reader::Reader;
use self::tail::Tail;
use self::writer::Writer;
use super::{Appended, Bounds, EventLog, LogError, append_span, join_trace};
use crate::dead_letters::DeadLetterQueue;
use crate::history::{History, HistoryError};
use crate::model::subject::{MAP_SUBJECTS, NETWORK_SUBJECTS, Pattern};
use crate::model::{Epoch, LogEntry, NewEvent};

mod batch;
mod processor;
mod reader;
mod tail;
mod writer;

pub use processor::LogProcessor;

/// The name of who tries again to append what the database refused.
pub const PROCESSOR: &str = "log";

/// Settings of the table log.
#[derive(Debug, Clone)]
pub struct TableLogConfig {
    /// Subjects that are recorded beyond the map's and the network's own.
    pub extra_subjects: Vec<Pattern>,
    /// The largest event, in bytes of its JSON. The default is what NATS takes.
    pub max_event_bytes: usize,
    /// Appends are committed together until they have this many events; one append is never divided.
    pub batch_events: usize,
    /// Or this many bytes.
    pub batch_bytes: usize,
    /// Bytes of events that may wait to be written; further appends wait for room.
    pub queue_bytes: usize,
    /// Appends that may wait to be written.
    pub queue_appends: usize,
    /// Recent entries kept in memory, so that readers at the end need not ask the database.
    pub tail_events: usize,
    /// And their bytes.
    pub tail_bytes: usize,
    /// Entries that a reader asks the database for at a time.
    pub page_events: u32,
    /// From one attempt to reach an absent database to the next.
    pub retry_interval: Duration,
}

impl Default for TableLogConfig {
    fn default() -> Self {
        Self {
            extra_subjects: Vec::new(),
            max_event_bytes: 1 << 20,
            batch_events: 1_000,
            batch_bytes: 8 << 20,
            queue_bytes: 32 << 20,
            queue_appends: 1_024,
            tail_events: 4_096,
            tail_bytes: 16 << 20,
            page_events: 1_000,
            retry_interval: Duration::from_secs(1),
        }
    }
}

/// The table log. Its writer ends when this is dropped, after what was appended is written.
pub struct TableLog {
    shared: Arc<Shared>,
    recorded: Vec<Pattern>,
    appends: mpsc::Sender<Append>,
    /// One permit for each KiB that may wait.
    room: Arc<Semaphore>,
}

/// What the writer and the readers share.
struct Shared {
    history: Arc<dyn History>,
    config: TableLogConfig,
    /// Accepts events that the database rejects; without it only their publisher gets the error.
    dead_letters: Option<DeadLetterQueue>,
    epoch: Epoch,
    /// The newest durable position.
    last: watch::Sender<u64>,
    tail: Mutex<Tail>,
    /// Why nothing can be appended just now.
    trouble: Mutex<Option<String>>,
}

impl TableLog {
    /// Opens the log that is in `history` and starts its writer. In a database that was restored from a backup it is a new
    /// log with the old one's entries: the restored one would give the positions that it has lost to other events.
    ///
    /// Metrics: `living_map_log_appends_total` by `result` (`appended`, `duplicate`, `refused`, `unavailable`),
    /// `living_map_log_batch_events`, `living_map_log_commit_seconds`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the database is away, and when another process has the log open: it has one writer.
    pub async fn open(
        config: TableLogConfig,
        history: Arc<dyn History>,
        dead_letters: Option<DeadLetterQueue>,
    ) -> Result<Self, LogError> {
        let own = MAP_SUBJECTS.iter().chain(NETWORK_SUBJECTS).filter_map(|subject| subject.parse().ok());
        let recorded = own.chain(config.extra_subjects.iter().cloned()).collect();
        let (appends, queue) = mpsc::channel(config.queue_appends.max(1));
        let room = Arc::new(Semaphore::new(kibibytes(config.queue_bytes) as usize));
        lock_alone(&*history).await?;
        if let Some(reason) = history.table_log_copied().await.map_err(unavailable)? {
            let epoch = history.renew_table_log().await.map_err(unavailable)?;
            tracing::error!(reason, %epoch, "the database is another copy than the one written last; its log counts as a new one");
        }
        let shared = Arc::new(Shared {
            epoch: history.table_epoch().await.map_err(unavailable)?,
            last: watch::Sender::new(0),
            tail: Mutex::new(Tail::new(config.tail_events, config.tail_bytes)),
            trouble: Mutex::default(),
            history,
            config,
            dead_letters,
        });
        let mut writer = Writer::new(Arc::clone(&shared));
        writer.recover().await?;
        tokio::spawn(writer.run(queue));
        Ok(Self { shared, recorded, appends, room })
    }

    fn check(&self, new: &NewEvent) -> Result<usize, LogError> {
        let subject = &new.event.event_type;
        if !self.recorded.iter().any(|pattern| pattern.matches(subject)) {
            return Err(LogError::NotRecorded(subject.clone()));
        }
        let (size, limit) = (size(new), self.shared.config.max_event_bytes);
        if size > limit { Err(LogError::TooLarge { size, limit }) } else { Ok(size) }
    }

    /// Hands events to the writer; its answers, one for each.
    async fn submit(&self, events: Vec<NewEvent>, sizes: Vec<usize>) -> Vec<Result<Appended, LogError>> {
        let count = events.len();
        let (answer, answered) = oneshot::channel();
        let submitted = async {
            // a single append larger than all the room waits until it has the room for itself
            let room = kibibytes(sizes.iter().sum()).min(kibibytes(self.shared.config.queue_bytes));
            let room = Arc::clone(&self.room).acquire_many_owned(room).await.ok()?;
            self.appends.send(Append { events, sizes, answer, room }).await.ok()?;
            answered.await.ok()
        };
        submitted.await.unwrap_or_else(|| vec![Err(LogError::Unavailable("the log is shut down".into())); count])
    }

    async fn append_all(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        let mut results = Vec::with_capacity(events.len());
        let (mut accepted, mut sizes) = (Vec::with_capacity(events.len()), Vec::with_capacity(events.len()));
        for event in events {
            results.push(self.check(&event).map(|size| {
                sizes.push(size);
                accepted.push(event);
            }));
        }
        let answers = if accepted.is_empty() { Vec::new() } else { self.submit(accepted, sizes).await };
        let mut answers = answers.into_iter();
        let missing = || Err(LogError::Unavailable("the log gave no answer".into()));
        results.into_iter().map(|checked| checked.and_then(|()| answers.next().unwrap_or_else(missing))).collect()
    }
}

#[async_trait]
impl EventLog for TableLog {
    async fn append(&self, mut events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        let span = append_span(events.len());
        let append = async {
            join_trace(&mut events);
            self.append_all(events).await
        };
        append.instrument(span).await
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        let Shared { history, epoch, .. } = &*self.shared;
        let last = *self.shared.last.borrow();
        let first = history.held(*epoch).await.map_err(unavailable)?.map_or(last + 1, |held| held.first);
        let oldest = history.read_log(*epoch, first.saturating_sub(1), 1).await.map_err(unavailable)?;
        Ok(Bounds { epoch: *epoch, first, last, first_at: oldest.first().map(|entry| entry.logged_at) })
    }

    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        // a position that was never given out is of another life of this database, say from before a backup was restored
        if epoch != self.shared.epoch || after > *self.shared.last.borrow() {
            return Err(LogError::EpochChanged(self.shared.epoch));
        }
        Ok(Reader::new(Arc::clone(&self.shared), after).stream())
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.shared.history.ping().await.map_err(unavailable)?;
        let trouble = lock(&self.shared.trouble).clone();
        trouble.map_or(Ok(()), |reason| Err(LogError::Unavailable(reason)))
    }

    fn kind(&self) -> &'static str {
        "table"
    }
}

/// Gives the table log in `history` a new identity: clients that come with cursors from before are given the map anew.
///
/// # Errors
/// See [`TableLog::open`].
pub async fn renew(history: &dyn History) -> Result<Epoch, LogError> {
    lock_alone(history).await?;
    history.renew_table_log().await.map_err(unavailable)
}

async fn lock_alone(history: &dyn History) -> Result<(), LogError> {
    if history.lock_table_log().await.map_err(unavailable)? {
        return Ok(());
    }
    let reason = "another process has the table log of this database open, and it can have only one writer";
    Err(LogError::Unavailable(reason.into()))
}

/// Nothing that is locked here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where map_err wants a function")]
fn unavailable(error: HistoryError) -> LogError {
    LogError::Unavailable(error.to_string())
}

/// At least 1, so that every append takes some room.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4)
}

/// Bytes of an event as a message of the network would have them, or nearly so.
fn size(new: &NewEvent) -> usize {
    let event = &new.event;
    let texts = [&event.source_service, &event.entity_id, &event.trace_id, &event.idempotency_key];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    let raw = new.raw.as_ref().map_or(0, bytes::Bytes::len);
    event.event_type.len() + texts + raw + json_bytes(&event.payload) + event.envelope.as_ref().map_or(0, json_bytes)
}

fn json_bytes(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // neither counting nor JSON values fail; if they did, the event would be refused as too large
    serde_json::to_writer(&mut count, value).map_or(usize::MAX >> 1, |()| count.0)
}
