//! The table log with a database whose writes fail before or after their commit, as when a connection is lost.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use living_map::history::{
    Aggregate, AggregateQuery, History, HistoryConfig, HistoryError, HistoryPage, HistoryQuery, InsertCounts, LogRange,
    Purge, Purged, TableLogStore,
};
use living_map::log::{EventLog, LogError, TableLog, TableLogConfig};
use living_map::model::{Cursor, Epoch, LogEntry, NewEvent};
use proptest::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::small;
use crate::history::sqlite;
use crate::log_suite::{append, assert_gapless, epoch, event, read};
use crate::support::wait::until;

/// Outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Succeeds,
    FailsBefore,
    FailsAfter,
    /// Committed by the database after the writer has read the end of the log again.
    FailsAndCommitsLate,
}

/// A history whose writes have the given outcomes; later writes succeed.
struct FaultyHistory {
    inner: Arc<dyn History>,
    outcomes: Mutex<Vec<Outcome>>,
    late: Mutex<Vec<LogEntry>>,
    writes: Mutex<Vec<usize>>,
    /// Writes wait for a permit.
    gate: Semaphore,
    arrived: Notify,
}

impl FaultyHistory {
    fn new(inner: &Arc<dyn History>, mut outcomes: Vec<Outcome>) -> Arc<Self> {
        outcomes.reverse();
        Arc::new(Self {
            inner: Arc::clone(inner),
            outcomes: Mutex::new(outcomes),
            late: Mutex::default(),
            writes: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: Notify::new(),
        })
    }
}

fn connection_lost() -> HistoryError {
    HistoryError::Unavailable(io::Error::from(io::ErrorKind::ConnectionReset).into())
}

#[async_trait]
impl TableLogStore for FaultyHistory {
    async fn table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.inner.table_epoch().await
    }
    async fn lock_table_log(&self) -> Result<bool, HistoryError> {
        self.inner.lock_table_log().await
    }
    async fn table_log_copy(&self) -> Result<Option<String>, HistoryError> {
        self.inner.table_log_copy().await
    }
    async fn change_table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.inner.change_table_epoch().await
    }
}

#[async_trait]
impl History for FaultyHistory {
    async fn write(&self, entries: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        self.arrived.notify_one();
        let _passed = self.gate.acquire().await.expect("the gate is never closed");
        self.writes.lock().unwrap().push(entries.len());
        let outcome = self.outcomes.lock().unwrap().pop().unwrap_or(Outcome::Succeeds);
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        self.inner.write(&late).await?;
        match outcome {
            Outcome::FailsBefore => return Err(connection_lost()),
            Outcome::FailsAndCommitsLate => {
                *self.late.lock().unwrap() = entries.to_vec();
                return Err(connection_lost());
            }
            Outcome::Succeeds | Outcome::FailsAfter => {}
        }
        let written = self.inner.write(entries).await?;
        if outcome == Outcome::FailsAfter { Err(connection_lost()) } else { Ok(written) }
    }
    async fn write_after_absence(&self, entries: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        self.write(entries).await
    }
    async fn newest_adopted(&self, before: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, HistoryError> {
        self.inner.newest_adopted(before).await
    }
    async fn positions(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError> {
        self.inner.positions(ids).await
    }
    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryError> {
        self.inner.query(query).await
    }
    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>, HistoryError> {
        self.inner.read_log(epoch, after, limit).await
    }
    async fn log_range(&self, epoch: Epoch) -> Result<Option<LogRange>, HistoryError> {
        self.inner.log_range(epoch).await
    }
    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate, HistoryError> {
        self.inner.aggregate(query).await
    }
    async fn purge(&self, purge: &Purge<'_>) -> Result<Purged, HistoryError> {
        self.inner.purge(purge).await
    }
    async fn epochs(&self) -> Result<Vec<Epoch>, HistoryError> {
        self.inner.epochs().await
    }
    async fn delete_before(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, HistoryError> {
        self.inner.delete_before(before, limit).await
    }
    async fn ping(&self) -> Result<(), HistoryError> {
        self.inner.ping().await
    }
    fn kind(&self) -> &'static str {
        "faulty"
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

async fn open(history: &Arc<FaultyHistory>) -> TableLog {
    let config = TableLogConfig { retry_interval: Duration::from_millis(5), ..small() };
    TableLog::open(config, Arc::clone(history) as Arc<dyn History>, None).await.unwrap()
}

/// Appends until every event is accepted, as a producer without an answer does.
async fn append_until_accepted(log: &TableLog, mut events: Vec<NewEvent>) {
    while !events.is_empty() {
        let results = log.append(events.clone()).await;
        let mut results = results.into_iter();
        events.retain(|_| match results.next().expect("a result for each") {
            Ok(_) => false,
            Err(LogError::Unavailable(_)) => true,
            Err(error) => panic!("{error}"),
        });
    }
}

#[test]
fn each_event_is_stored_once_whichever_writes_fail() {
    let runtime = Runtime::new().unwrap();
    let outcome = prop_oneof![2 => Just(Outcome::Succeeds), 1 => Just(Outcome::FailsBefore), 2 => Just(Outcome::FailsAfter), 2 => Just(Outcome::FailsAndCommitsLate)];
    let appends = prop::collection::vec(prop::collection::vec(0..40_usize, 1..6), 1..12);
    proptest!(ProptestConfig::with_cases(32), |(outcomes in prop::collection::vec(outcome, 0..20), appends in appends)| {
        runtime.block_on(async {
            let private = sqlite(&HistoryConfig::default()).await;
            let history = FaultyHistory::new(&private.history, outcomes);
            let log = open(&history).await;
            let own = epoch(&log).await;
            let live = log.read(own, 0).await.unwrap();
            // numbers may repeat: producers that send twice
            let all: Vec<NewEvent> = (0..40).map(event).collect();
            let mut sent: Vec<Uuid> = appends.iter().flatten().map(|number| all[*number].event.id).collect();
            sent.sort();
            sent.dedup();
            let appending = appends.iter().map(|numbers| {
                append_until_accepted(&log, numbers.iter().map(|number| all[*number].clone()).collect())
            });
            futures::future::join_all(appending).await;
            let seen: Vec<LogEntry> = live.take(sent.len()).map(Result::unwrap).collect().await;
            assert_gapless(&seen, 1);
            let mut recorded: Vec<Uuid> = seen.iter().map(|entry| entry.event.id).collect();
            recorded.sort();
            assert_eq!(recorded, sent);
            assert_eq!(private.history.read_log(own, 0, 100).await.unwrap(), seen);
            assert_eq!(read(&log, 0, sent.len()).await, seen);
        });
    });
}

#[tokio::test]
async fn entries_of_a_failed_write_become_visible_without_an_append() {
    let private = sqlite(&HistoryConfig::default()).await;
    let history = FaultyHistory::new(&private.history, vec![Outcome::FailsAfter]);
    let log = open(&history).await;
    let results = log.append(vec![event(1), event(2)]).await;
    assert!(matches!(results[..], [Err(LogError::Unavailable(_)), Err(LogError::Unavailable(_))]), "{results:?}");
    assert_gapless(&read(&log, 0, 2).await, 1);
    until("the log to be ready again", || async { log.ready().await.ok() }).await;
}

#[tokio::test]
async fn waiting_appends_are_committed_together() {
    let private = sqlite(&HistoryConfig::default()).await;
    let history = FaultyHistory::new(&private.history, Vec::new());
    let log = Arc::new(open(&history).await);
    let permits = history.gate.forget_permits(Semaphore::MAX_PERMITS);
    let appending: Vec<_> = (0..11)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { append(&*log, vec![event(number)]).await })
        })
        .collect();
    // one append waits at the gate; this test has one thread, so the others are queued when it opens
    history.arrived.notified().await;
    history.gate.add_permits(permits);
    for append in appending {
        append.await.unwrap();
    }
    assert!(history.writes.lock().unwrap().len() <= 3, "{:?}", history.writes.lock().unwrap());
    assert_gapless(&read(&*log, 0, 11).await, 1);
}

#[tokio::test]
async fn no_position_is_assigned_while_the_database_is_unavailable() {
    let private = sqlite(&HistoryConfig::default()).await;
    let history = FaultyHistory::new(&private.history, vec![Outcome::FailsBefore; 3]);
    let log = open(&history).await;
    for _ in 0..3 {
        assert!(matches!(log.append(vec![event(1)]).await[..], [Err(LogError::Unavailable(_))]));
    }
    assert_eq!(append(&log, vec![event(2)]).await[0].cursor.unwrap().seq, 1);
}
