//! In-memory implementations of the log and the stores, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use tokio::sync::watch;
use uuid::Uuid;

use crate::history::bases::Bases;
use crate::history::dead_letters::{DeadLetter, DeadLetterQuery, DeadLetterStatus, DeadLetterStore, StoredDeadLetter};
use crate::history::lessons::{
    Announcement, ChangeOutcome, ChangeRequest, LessonMatch, LessonQuery, Lessons, Operation, OutcomeReport,
    UpsertCounts, VersionQuery,
};
use crate::history::snapshots::{
    NewBase, NewSnapshot, SavedSnapshot, SavedState, SnapshotPosition, Snapshots, StateVersions,
};
use crate::history::{
    Aggregate, AggregateQuery, History, HistoryError, HistoryPage, HistoryQuery, InsertCounts, LogRange, Page,
    PagePosition, Purge, Purged, TableLogStore,
};
use crate::log::{Appended, Bounds, EventLog, LogError};
use crate::model::{Cursor, Epoch, Lesson, LogEntry, NewEvent, NewLesson};

/// A subject whose append fails, and the error.
pub type Failure = (&'static str, fn() -> LogError);

/// An event log in memory, whose appends can fail.
#[derive(Default)]
pub struct FakeLog {
    /// Appended events.
    pub events: Arc<Mutex<Vec<NewEvent>>>,
    /// Position up to which readers receive events.
    pub readable: watch::Sender<u64>,
    /// Subjects whose append fails, and the error.
    pub failing: HashMap<&'static str, fn() -> LogError>,
}

impl FakeLog {
    pub fn failing(failures: &[Failure]) -> Self {
        Self { failing: failures.iter().copied().collect(), ..Self::default() }
    }

    pub fn subjects(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(|new| new.event.event_type.clone()).collect()
    }
}

pub const fn at(seq: u64) -> Cursor {
    Cursor { epoch: Epoch(7), seq }
}

#[async_trait]
impl EventLog for FakeLog {
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, LogError>> {
        let mut stored = self.events.lock().unwrap();
        events
            .into_iter()
            .map(|new| {
                if let Some(error) = self.failing.get(new.event.event_type.as_str()) {
                    return Err(error());
                }
                let id = new.event.id;
                let first = stored.iter().position(|other| other.event.id == id);
                let index = first.unwrap_or_else(|| {
                    stored.push(new);
                    stored.len() - 1
                });
                Ok(Appended { id, cursor: Some(at(index as u64 + 1)), duplicate: first.is_some() })
            })
            .collect()
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        let last = self.events.lock().unwrap().len() as u64;
        Ok(Bounds { epoch: Epoch(7), first: 1, last, first_at: None })
    }

    async fn read(&self, _: Epoch, after: u64) -> Result<BoxStream<'static, Result<LogEntry, LogError>>, LogError> {
        let (events, readable) = (Arc::clone(&self.events), self.readable.subscribe());
        Ok(Box::pin(futures::stream::unfold((after, readable), move |(after, mut readable)| {
            let events = Arc::clone(&events);
            async move {
                if readable.wait_for(|last| *last > after).await.is_err() {
                    std::future::pending::<()>().await;
                }
                let NewEvent { event, raw } = events.lock().unwrap()[usize::try_from(after).unwrap()].clone();
                let entry = LogEntry { cursor: at(after + 1), logged_at: event.timestamp, event, raw };
                Some((Ok(entry), (after + 1, readable)))
            }
        })))
    }

    async fn ready(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "table"
    }
}

/// Empty stores, whose operations can fail or hang.
#[derive(Default)]
pub struct FakeHistory {
    pub known: HashMap<Uuid, Option<Cursor>>,
    pub unavailable: bool,
    pub hangs: bool,
}

impl FakeHistory {
    fn result<T>(&self, value: T) -> Result<T, HistoryError> {
        if self.unavailable { Err(HistoryError::Unavailable(sqlx::Error::PoolTimedOut)) } else { Ok(value) }
    }
}

#[async_trait]
impl Snapshots for FakeHistory {
    async fn save(&self, _: &NewSnapshot) -> Result<bool, HistoryError> {
        self.result(true)
    }
    async fn list(&self, _: Option<PagePosition>, _: u32, _: u32) -> Result<Page<SavedSnapshot>, HistoryError> {
        self.result(Page { items: Vec::new(), has_more: false })
    }
    async fn get(&self, _: Uuid) -> Result<Option<Bytes>, HistoryError> {
        self.result(None)
    }
    async fn state_at(
        &self,
        _: Epoch,
        _: StateVersions,
        _: u64,
        _: Option<DateTime<Utc>>,
    ) -> Result<Option<SavedState>, HistoryError> {
        self.result(None)
    }
    async fn oldest_state(
        &self,
        _: Epoch,
        _: StateVersions,
        _: u64,
    ) -> Result<Option<(Cursor, DateTime<Utc>)>, HistoryError> {
        self.result(None)
    }
    async fn bases(&self, _: Epoch, _: StateVersions) -> Result<Option<Bases>, HistoryError> {
        self.result(None)
    }
    async fn save_base(&self, _: &NewBase) -> Result<bool, HistoryError> {
        self.result(true)
    }
    async fn carried_from(&self, _: Epoch, _: StateVersions) -> Result<Option<u64>, HistoryError> {
        self.result(None)
    }
    async fn positions(&self) -> Result<Vec<SnapshotPosition>, HistoryError> {
        self.result(Vec::new())
    }
    async fn delete(&self, _: &[Uuid]) -> Result<u64, HistoryError> {
        self.result(0)
    }
}

#[async_trait]
impl Lessons for FakeHistory {
    async fn upsert(&self, _: &[NewLesson], _: Option<(&str, Cursor)>) -> Result<UpsertCounts, HistoryError> {
        self.result(UpsertCounts::default())
    }
    async fn position(&self, _: &str) -> Result<Option<Cursor>, HistoryError> {
        self.result(None)
    }
    async fn change(&self, _: &str, _: &ChangeRequest) -> Result<ChangeOutcome, HistoryError> {
        self.result(ChangeOutcome::NotFound)
    }
    async fn record_outcome(&self, _: &OutcomeReport) -> Result<Option<Lesson>, HistoryError> {
        self.result(None)
    }
    async fn version(&self, _: &str) -> Result<Option<Lesson>, HistoryError> {
        self.result(None)
    }
    async fn latest(&self, _: &str) -> Result<Option<Lesson>, HistoryError> {
        self.result(None)
    }
    async fn versions(&self, _: &VersionQuery) -> Result<Page<Lesson>, HistoryError> {
        self.result(Page { items: Vec::new(), has_more: false })
    }
    async fn operations(&self, _: &str, _: u32) -> Result<Vec<Operation>, HistoryError> {
        self.result(Vec::new())
    }
    async fn list(&self, _: &LessonQuery) -> Result<Page<LessonMatch>, HistoryError> {
        self.result(Page { items: Vec::new(), has_more: false })
    }
    async fn unreviewed(&self, _: DateTime<Utc>, _: u32) -> Result<Vec<Lesson>, HistoryError> {
        self.result(Vec::new())
    }
    async fn was_rejected(&self, _: &Lesson, _: DateTime<Utc>) -> Result<bool, HistoryError> {
        self.result(false)
    }
    async fn unpublished(&self, _: u32) -> Result<Vec<(i64, Announcement)>, HistoryError> {
        self.result(Vec::new())
    }
    async fn mark_published(&self, _: &[i64]) -> Result<(), HistoryError> {
        self.result(())
    }
}

#[async_trait]
impl DeadLetterStore for FakeHistory {
    async fn insert(&self, _: &StoredDeadLetter) -> Result<bool, HistoryError> {
        self.result(true)
    }
    async fn get(&self, _: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError> {
        self.result(None)
    }
    async fn list(&self, _: &DeadLetterQuery) -> Result<Page<DeadLetter>, HistoryError> {
        self.result(Page { items: Vec::new(), has_more: false })
    }
    async fn due(&self, _: DateTime<Utc>, _: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        self.result(Vec::new())
    }
    async fn unpublished(&self, _: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        self.result(Vec::new())
    }
    async fn update(&self, _: &DeadLetter) -> Result<bool, HistoryError> {
        self.result(true)
    }
    async fn count(&self, _: DeadLetterStatus) -> Result<u64, HistoryError> {
        self.result(0)
    }
    async fn expired(&self, _: DateTime<Utc>, _: u32) -> Result<Vec<StoredDeadLetter>, HistoryError> {
        self.result(Vec::new())
    }
    async fn delete(&self, _: &[(Uuid, i64)]) -> Result<u64, HistoryError> {
        self.result(0)
    }
}

#[async_trait]
impl TableLogStore for FakeHistory {
    async fn table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.result(Epoch(7))
    }
    async fn lock_table_log(&self) -> Result<bool, HistoryError> {
        self.result(true)
    }
    async fn table_log_copy(&self) -> Result<Option<String>, HistoryError> {
        self.result(None)
    }
    async fn change_table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.result(Epoch(8))
    }
}

#[async_trait]
impl History for FakeHistory {
    async fn write(&self, _: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        self.result(InsertCounts::default())
    }
    async fn write_after_absence(&self, entries: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        self.write(entries).await
    }
    async fn newest_adopted(&self, _: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, HistoryError> {
        self.result(None)
    }
    async fn positions(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.result(ids.iter().filter_map(|id| Some((*id, *self.known.get(id)?))).collect())
    }
    async fn query(&self, _: &HistoryQuery) -> Result<HistoryPage, HistoryError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        self.result(HistoryPage::EMPTY)
    }
    async fn read_log(&self, _: Epoch, _: u64, _: u32) -> Result<Vec<LogEntry>, HistoryError> {
        self.result(Vec::new())
    }
    async fn log_range(&self, _: Epoch) -> Result<Option<LogRange>, HistoryError> {
        self.result(None)
    }
    async fn aggregate(&self, _: &AggregateQuery) -> Result<Aggregate, HistoryError> {
        self.result(Aggregate::default())
    }
    async fn delete_before(&self, _: DateTime<Utc>, _: u32) -> Result<u64, HistoryError> {
        self.result(0)
    }
    async fn purge(&self, _: &Purge<'_>) -> Result<Purged, HistoryError> {
        self.result(Purged::default())
    }
    async fn epochs(&self) -> Result<Vec<Epoch>, HistoryError> {
        self.result(Vec::new())
    }
    async fn ping(&self) -> Result<(), HistoryError> {
        self.result(())
    }
    fn kind(&self) -> &'static str {
        "sqlite"
    }
    async fn close(&self) {}
}
