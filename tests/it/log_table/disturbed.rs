//! The table log over a database whose writes fail before or after they are committed, as the connection's end decides.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use living_map::history::{
    Aggregate, AggregateQuery, Held, History, HistoryConfig, HistoryError, HistoryPage, HistoryQuery, Sweep, Swept,
    Written,
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

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    /// The server commits it when we have given it up and asked where the log ends.
    FailsAndComesLate,
}

/// A record whose writes have a fate each; those after the last work.
struct Disturbed {
    inner: Arc<dyn History>,
    fates: Mutex<Vec<Fate>>,
    late: Mutex<Vec<LogEntry>>,
    writes: Mutex<Vec<usize>>,
    /// Writes wait for a permit.
    gate: Semaphore,
    arrived: Notify,
}

impl Disturbed {
    fn over(inner: &Arc<dyn History>, mut fates: Vec<Fate>) -> Arc<Self> {
        fates.reverse();
        Arc::new(Self {
            inner: Arc::clone(inner),
            fates: Mutex::new(fates),
            late: Mutex::default(),
            writes: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: Notify::new(),
        })
    }
}

fn broken() -> HistoryError {
    HistoryError::Unavailable(io::Error::from(io::ErrorKind::ConnectionReset).into())
}

#[async_trait]
impl History for Disturbed {
    async fn write(&self, entries: &[LogEntry]) -> Result<Written, HistoryError> {
        self.arrived.notify_one();
        let _passed = self.gate.acquire().await.expect("the gate is never closed");
        self.writes.lock().unwrap().push(entries.len());
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Works);
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        self.inner.write(&late).await?;
        match fate {
            Fate::FailsBefore => return Err(broken()),
            Fate::FailsAndComesLate => {
                *self.late.lock().unwrap() = entries.to_vec();
                return Err(broken());
            }
            Fate::Works | Fate::FailsAfter => {}
        }
        let written = self.inner.write(entries).await?;
        if fate == Fate::FailsAfter { Err(broken()) } else { Ok(written) }
    }
    async fn known(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError> {
        self.inner.known(ids).await
    }
    async fn query(&self, query: &HistoryQuery) -> Result<HistoryPage, HistoryError> {
        self.inner.query(query).await
    }
    async fn read_log(&self, epoch: Epoch, after: u64, limit: u32) -> Result<Vec<LogEntry>, HistoryError> {
        self.inner.read_log(epoch, after, limit).await
    }
    async fn held(&self, epoch: Epoch) -> Result<Option<Held>, HistoryError> {
        self.inner.held(epoch).await
    }
    async fn table_epoch(&self) -> Result<Epoch, HistoryError> {
        self.inner.table_epoch().await
    }
    async fn lock_table_log(&self) -> Result<bool, HistoryError> {
        self.inner.lock_table_log().await
    }
    async fn table_log_copied(&self) -> Result<Option<String>, HistoryError> {
        self.inner.table_log_copied().await
    }
    async fn renew_table_log(&self) -> Result<Epoch, HistoryError> {
        self.inner.renew_table_log().await
    }
    async fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate, HistoryError> {
        self.inner.aggregate(query).await
    }
    async fn sweep(&self, sweep: &Sweep<'_>) -> Result<Swept, HistoryError> {
        self.inner.sweep(sweep).await
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
        "disturbed"
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

async fn open(history: &Arc<Disturbed>) -> TableLog {
    let config = TableLogConfig { retry_interval: Duration::from_millis(5), ..small() };
    TableLog::open(config, Arc::clone(history) as Arc<dyn History>, None).await.unwrap()
}

/// Appends until every event is taken, as a producer does that gets no answer.
async fn insist(log: &TableLog, mut events: Vec<NewEvent>) {
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
fn whatever_fails_each_event_is_there_once_and_in_one_order() {
    let runtime = Runtime::new().unwrap();
    let fate = prop_oneof![2 => Just(Fate::Works), 1 => Just(Fate::FailsBefore), 2 => Just(Fate::FailsAfter), 2 => Just(Fate::FailsAndComesLate)];
    let appends = prop::collection::vec(prop::collection::vec(0..40_usize, 1..6), 1..12);
    proptest!(ProptestConfig::with_cases(32), |(fates in prop::collection::vec(fate, 0..20), appends in appends)| {
        runtime.block_on(async {
            let private = sqlite(&HistoryConfig::default()).await;
            let history = Disturbed::over(&private.history, fates);
            let log = open(&history).await;
            let own = epoch(&log).await;
            let live = log.read(own, 0).await.unwrap();
            // numbers come more than once: producers that send twice
            let all: Vec<NewEvent> = (0..40).map(event).collect();
            let mut sent: Vec<Uuid> = appends.iter().flatten().map(|number| all[*number].event.id).collect();
            sent.sort();
            sent.dedup();
            let appending = appends.iter().map(|numbers| {
                insist(&log, numbers.iter().map(|number| all[*number].clone()).collect())
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
async fn what_a_failed_write_committed_is_shown_even_if_nobody_appends_again() {
    let private = sqlite(&HistoryConfig::default()).await;
    let history = Disturbed::over(&private.history, vec![Fate::FailsAfter]);
    let log = open(&history).await;
    let results = log.append(vec![event(1), event(2)]).await;
    assert!(matches!(results[..], [Err(LogError::Unavailable(_)), Err(LogError::Unavailable(_))]), "{results:?}");
    assert_gapless(&read(&log, 0, 2).await, 1);
    until("the log to be ready again", || async { log.ready().await.ok() }).await;
}

#[tokio::test]
async fn appends_that_wait_are_committed_together() {
    let private = sqlite(&HistoryConfig::default()).await;
    let history = Disturbed::over(&private.history, Vec::new());
    let log = Arc::new(open(&history).await);
    let permits = history.gate.forget_permits(Semaphore::MAX_PERMITS);
    let appending: Vec<_> = (0..11)
        .map(|number| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { append(&*log, vec![event(number)]).await })
        })
        .collect();
    // one is at the gate; this test has one thread, so the others are in the queue when it opens
    history.arrived.notified().await;
    history.gate.add_permits(permits);
    for append in appending {
        append.await.unwrap();
    }
    assert!(history.writes.lock().unwrap().len() <= 3, "{:?}", history.writes.lock().unwrap());
    assert_gapless(&read(&*log, 0, 11).await, 1);
}

#[tokio::test]
async fn while_the_database_is_away_the_log_says_so_and_gives_out_no_position() {
    let private = sqlite(&HistoryConfig::default()).await;
    let history = Disturbed::over(&private.history, vec![Fate::FailsBefore; 3]);
    let log = open(&history).await;
    for _ in 0..3 {
        assert!(matches!(log.append(vec![event(1)]).await[..], [Err(LogError::Unavailable(_))]));
    }
    assert_eq!(append(&log, vec![event(2)]).await[0].cursor.unwrap().seq, 1);
}
