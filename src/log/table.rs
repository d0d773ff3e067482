//! The log of one process: the history table. An append inserts a row with the next position; a reader reads rows.
//!
//! One task writes. It commits all appends that have arrived meanwhile in one transaction, so that many small appends cost
//! one `fsync`. Positions have no gaps and are assigned only to new events; readers see an entry once it is durable.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::Instrument;

use self::batch::AppendRequest;
use self::reader::TableReader;
use self::recent::RecentEntries;
use self::writer::TableWriter;
use super::{Appended, Bounds, EventLog, LogError, append_span, join_trace};
use crate::dead_letters::DeadLetterQueue;
use crate::history::{History, HistoryError};
use crate::model::subject::{MAP_SUBJECTS, NETWORK_SUBJECTS, Pattern};
use crate::model::{Epoch, LogEntry, NewEvent, json};

mod batch;
mod processor;
mod reader;
mod recent;
mod writer;

pub use processor::LogProcessor;

/// Name of the processor that appends rejected events again.
pub const PROCESSOR: &str = "log";

/// Settings of the table log.
#[derive(Debug, Clone)]
pub struct TableLogConfig {
    /// Recorded subjects besides the map's and the network's own.
    pub extra_subjects: Vec<Pattern>,
    /// Maximum size of an event, in bytes of its JSON. The default is that of NATS.
    pub max_event_bytes: usize,
    /// Events after which no more appends are added to a transaction; one append is never divided.
    pub batch_events: usize,
    /// Memory of the events, in bytes, after which no more appends are added to a transaction.
    pub batch_bytes: usize,
    /// Maximum memory of events waiting to be written, bytes; further appends wait.
    pub queue_bytes: usize,
    /// Maximum number of appends waiting to be written.
    pub queue_appends: usize,
    /// Recent entries kept in memory, so that readers at the end of the log do not query the database.
    pub tail_events: usize,
    /// Maximum memory of the recent entries, bytes.
    pub tail_bytes: usize,
    /// Entries that a reader queries at a time.
    pub page_events: u32,
    /// Delay between two attempts to reach an unavailable database.
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

/// The table log. Its writer task ends when this is dropped, after it has written pending appends.
pub struct TableLog {
    state: Arc<TableState>,
    recorded: Vec<Pattern>,
    appends: mpsc::Sender<AppendRequest>,
    /// One permit for each KiB that may wait to be written.
    room: Arc<Semaphore>,
}

/// State shared by the writer and the readers.
struct TableState {
    history: Arc<dyn History>,
    config: TableLogConfig,
    /// Accepts events that the database rejects; without it only their publisher gets the error.
    dead_letters: Option<DeadLetterQueue>,
    epoch: Epoch,
    /// The last durable position.
    last: watch::Sender<u64>,
    recent: Mutex<RecentEntries>,
    /// Error that keeps events from being appended.
    write_error: Mutex<Option<String>>,
}

impl TableLog {
    /// Opens the log in `history` and starts its writer. In a database restored from a backup, the log gets a new epoch, since
    /// it gives positions that were lost with the old database to other events.
    ///
    /// Metrics: `living_map_log_appends_total` by `result` (`appended`, `duplicate`, `refused`, `unavailable`),
    /// `living_map_log_batch_events`, `living_map_log_commit_seconds`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the database is unavailable, and when another process has the log open: it has one writer.
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
        if let Some(reason) = history.table_log_copy().await.map_err(unavailable)? {
            let epoch = history.change_table_epoch().await.map_err(unavailable)?;
            tracing::error!(reason, %epoch, "the database is not the copy that was written last; its log has a new epoch");
        }
        let state = Arc::new(TableState {
            epoch: history.table_epoch().await.map_err(unavailable)?,
            last: watch::Sender::new(0),
            recent: Mutex::new(RecentEntries::new(config.tail_events, config.tail_bytes)),
            write_error: Mutex::default(),
            history,
            config,
            dead_letters,
        });
        let mut writer = TableWriter::new(Arc::clone(&state));
        writer.recover().await?;
        tokio::spawn(writer.run(queue));
        Ok(Self { state, recorded, appends, room })
    }

    /// Memory that an event takes, if the log accepts it.
    fn check(&self, new: &NewEvent) -> Result<usize, LogError> {
        let subject = &new.event.event_type;
        if !self.recorded.iter().any(|pattern| pattern.matches(subject)) {
            return Err(LogError::NotRecorded(subject.clone()));
        }
        let (size, limit) = (size(new), self.state.config.max_event_bytes);
        if size > limit {
            return Err(LogError::TooLarge { size, limit });
        }
        let envelope = new.event.envelope.as_ref().map_or(0, json::members_bytes);
        Ok(size + json::memory_bytes(&new.event.payload) + envelope)
    }

    /// Passes events to the writer; returns one result for each.
    async fn submit(&self, events: Vec<NewEvent>, sizes: Vec<usize>) -> Vec<Result<Appended, LogError>> {
        let count = events.len();
        let (reply, results) = oneshot::channel();
        let submitted = async {
            // an append larger than the whole limit waits until no other append is pending
            let room = kibibytes(sizes.iter().sum()).min(kibibytes(self.state.config.queue_bytes));
            let room = Arc::clone(&self.room).acquire_many_owned(room).await.ok()?;
            self.appends.send(AppendRequest { events, sizes, reply, room }).await.ok()?;
            results.await.ok()
        };
        submitted.await.unwrap_or_else(|| vec![Err(LogError::Unavailable("the log is closed".into())); count])
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
        let TableState { history, epoch, .. } = &*self.state;
        let last = *self.state.last.borrow();
        let first = history.log_range(*epoch).await.map_err(unavailable)?.map_or(last + 1, |held| held.first);
        let oldest = history.read_log(*epoch, first.saturating_sub(1), 1).await.map_err(unavailable)?;
        Ok(Bounds { epoch: *epoch, first, last, first_at: oldest.first().map(|entry| entry.logged_at) })
    }

    async fn read(&self, epoch: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        // a position after the end is from another state of the database, for example from before a restore
        if epoch != self.state.epoch || after > *self.state.last.borrow() {
            return Err(LogError::EpochChanged(self.state.epoch));
        }
        Ok(TableReader::new(Arc::clone(&self.state), after).stream())
    }

    async fn ready(&self) -> Result<(), LogError> {
        self.state.history.ping().await.map_err(unavailable)?;
        let write_error = lock(&self.state.write_error).clone();
        write_error.map_or(Ok(()), |reason| Err(LogError::Unavailable(reason)))
    }

    fn kind(&self) -> &'static str {
        "table"
    }
}

/// Gives the table log in `history` a new epoch: clients with older cursors get a new snapshot.
///
/// # Errors
/// See [`TableLog::open`].
pub async fn renew(history: &dyn History) -> Result<Epoch, LogError> {
    lock_alone(history).await?;
    history.change_table_epoch().await.map_err(unavailable)
}

async fn lock_alone(history: &dyn History) -> Result<(), LogError> {
    if history.lock_table_log().await.map_err(unavailable)? {
        return Ok(());
    }
    let reason = "another process has the table log of this database open; the table log allows only one writer";
    Err(LogError::Unavailable(reason.into()))
}

/// Ignores poisoning: a panic leaves no locked value half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn unavailable(error: HistoryError) -> LogError {
    LogError::Unavailable(error.to_string())
}

/// Permits for `bytes`, at least 1.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4)
}

/// Approximate size of an event as a NATS message, bytes.
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
    // cannot fail; if it did, the event would be rejected as too large
    serde_json::to_writer(&mut count, value).map_or(usize::MAX >> 1, |()| count.0)
}
