//! The history writer, with a history that can be unavailable or reject rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use living_map::bus::{NatsConfig, connect};
use living_map::history::{
    Aggregate, AggregateQuery, History, HistoryError, HistoryPage, HistoryQuery, InsertCounts, LogRange, Purge, Purged,
    TableLogStore,
};
use living_map::journal::Journal;
use living_map::log::{EventLog, HistoryWriter, JetStreamConfig, JetStreamLog, WriterConfig, WriterStatus};
use living_map::model::{Cursor, Epoch, LogEntry, NewEvent};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::log_suite::{append, event, of};
use crate::log_unreadable;
use crate::support::nats::NatsServer;
use crate::support::wait::until;

/// A history in memory.
#[derive(Default)]
struct MemoryHistory {
    rows: Mutex<BTreeMap<Uuid, LogEntry>>,
    unavailable: AtomicBool,
    /// Number of calls of `write`, including failed ones.
    writes: AtomicUsize,
    largest: AtomicUsize,
    duplicates: AtomicUsize,
}

impl MemoryHistory {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<Uuid, LogEntry>> {
        self.rows.lock().unwrap()
    }

    async fn holds(&self, count: usize) {
        until(&format!("{count} rows"), || async { (self.rows().len() >= count).then_some(()) }).await;
        assert_eq!(self.rows().len(), count);
    }
}

#[async_trait]
impl TableLogStore for MemoryHistory {
    async fn table_epoch(&self) -> Result<Epoch, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn lock_table_log(&self) -> Result<bool, HistoryError> {
        Ok(true)
    }

    async fn table_log_copy(&self) -> Result<Option<String>, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn change_table_epoch(&self) -> Result<Epoch, HistoryError> {
        unimplemented!("not used by the writer")
    }
}

#[async_trait]
impl History for MemoryHistory {
    async fn write(&self, entries: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(HistoryError::Unavailable(sqlx::Error::PoolTimedOut));
        }
        if entries.iter().any(|entry| entry.event.payload["poison"] == true) {
            return Err(HistoryError::Rejected(sqlx::Error::Protocol("a row is poisoned".to_owned())));
        }
        self.largest.fetch_max(entries.len(), Ordering::SeqCst);
        let mut rows = self.rows();
        let before = rows.len();
        for entry in entries {
            rows.entry(entry.event.id).or_insert_with(|| entry.clone());
        }
        let inserted = rows.len() - before;
        self.duplicates.fetch_add(entries.len() - inserted, Ordering::SeqCst);
        Ok(InsertCounts { inserted: inserted as u64, duplicates: (entries.len() - inserted) as u64, paired: 0 })
    }

    async fn write_after_absence(&self, entries: &[LogEntry]) -> Result<InsertCounts, HistoryError> {
        self.write(entries).await
    }

    async fn newest_adopted(&self, _: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, HistoryError> {
        Ok(None)
    }

    async fn positions(&self, _: &[Uuid]) -> Result<HashMap<Uuid, Option<Cursor>>, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn query(&self, _: &HistoryQuery) -> Result<HistoryPage, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn read_log(&self, _: Epoch, _: u64, _: u32) -> Result<Vec<LogEntry>, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn log_range(&self, _: Epoch) -> Result<Option<LogRange>, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn aggregate(&self, _: &AggregateQuery) -> Result<Aggregate, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn delete_before(&self, _: DateTime<Utc>, _: u32) -> Result<u64, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn purge(&self, _: &Purge<'_>) -> Result<Purged, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn epochs(&self) -> Result<Vec<Epoch>, HistoryError> {
        unimplemented!("not used by the writer")
    }

    async fn ping(&self) -> Result<(), HistoryError> {
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn close(&self) {}
}

async fn log_of(server: &NatsServer) -> JetStreamLog {
    let config = NatsConfig { url: server.url(), reconnect_max: Duration::from_millis(200), ..NatsConfig::default() };
    JetStreamLog::new(JetStreamConfig::default(), connect(&config).await.unwrap())
}

fn config() -> WriterConfig {
    WriterConfig {
        batch: 100,
        ack_wait: Duration::from_secs(2),
        refused_delay: Duration::from_secs(1),
        retry_min: Duration::from_millis(50),
        retry_max: Duration::from_millis(100),
        lag_interval: Duration::from_millis(50),
        ..WriterConfig::default()
    }
}

struct Running {
    status: watch::Receiver<WriterStatus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(log: &JetStreamLog, history: &Arc<MemoryHistory>, config: WriterConfig) -> Self {
        let writer = HistoryWriter::new(config, log, Arc::clone(history) as Arc<dyn History>, Journal::default(), None);
        let (status, stop) = (writer.status(), CancellationToken::new());
        Self { status, task: tokio::spawn(writer.run(stop.clone())), stop }
    }

    async fn status(&mut self, what: &str, wanted: impl Fn(&WriterStatus) -> bool) -> WriterStatus {
        until(what, || async { Some(self.status.borrow().clone()).filter(|status| wanted(status)) }).await
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn unacknowledged(server: &NatsServer) -> usize {
    let stream = jetstream::new(server.client().await).get_stream("LIVING_MAP").await.unwrap();
    let consumer: PullConsumer = stream.get_consumer("living-map-history").await.unwrap();
    consumer.cached_info().num_ack_pending + usize::try_from(consumer.cached_info().num_pending).unwrap()
}

fn poison() -> NewEvent {
    of(json!({"event_type": "city.event.x", "event_id": Uuid::new_v4(), "payload": {"poison": true}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_written_once_in_batches() {
    let server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    append(&log, (0..1000).map(event).collect()).await;
    let mut writer = Running::start(&log, &history, config());
    history.holds(1000).await;
    append(&log, (0..500).map(event).collect()).await;
    history.holds(1500).await;
    let status = writer.status("no lag", |status| status.lag == Some(0)).await;
    assert!(status.last_success.is_some() && status.database_error.is_none() && status.log_error.is_none());
    let positions: HashSet<u64> = history.rows().values().map(|entry| entry.cursor.seq).collect();
    assert_eq!(positions, (1..=1500).collect());
    assert!(history.largest.load(Ordering::SeqCst) <= 100);
    assert!(history.writes.load(Ordering::SeqCst) < 200, "rows are written in batches");
    writer.stop().await;
    assert_eq!(unacknowledged(&server).await, 0);
    assert_eq!(history.duplicates.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_database_is_unavailable() {
    let server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    history.unavailable.store(true, Ordering::SeqCst);
    let mut writer = Running::start(&log, &history, config());
    append(&log, (0..500).map(event).collect()).await;
    let status = writer.status("the error", |status| status.database_error.is_some()).await;
    assert!(status.database_error.unwrap().contains("not available") && status.last_success.is_none());
    writer.status("the lag", |status| status.lag == Some(500)).await;
    assert_eq!(unacknowledged(&server).await, 500);
    // long enough for the server to deliver the first messages again
    let writes = history.writes.load(Ordering::SeqCst);
    until("some more attempts", || async { (history.writes.load(Ordering::SeqCst) > writes + 30).then_some(()) }).await;
    history.unavailable.store(false, Ordering::SeqCst);
    history.holds(500).await;
    writer.status("the recovery", |status| status.lag == Some(0) && status.database_error.is_none()).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_is_isolated_and_retried_later() {
    let server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    let mut events: Vec<NewEvent> = (0..300).map(event).collect();
    for at in [0, 77, 150, 151, 299] {
        events[at] = poison();
    }
    append(&log, events).await;
    let mut writer = Running::start(&log, &history, config());
    history.holds(295).await;
    writer.status("only the rejected rows to be left", |status| status.lag == Some(5)).await;
    let writes = history.writes.load(Ordering::SeqCst);
    until("another attempt", || async { (history.writes.load(Ordering::SeqCst) > writes).then_some(()) }).await;
    append(&log, vec![event(300)]).await;
    history.holds(296).await;
    writer.stop().await;
    assert_eq!(unacknowledged(&server).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_the_messages_of_a_failed_one() {
    let server = NatsServer::start().await;
    let history = Arc::new(MemoryHistory::default());
    let logs = [log_of(&server).await, log_of(&server).await];
    let one = Running::start(&logs[0], &history, config());
    let two = Running::start(&logs[1], &history, config());
    append(&logs[0], (0..2000).map(event).collect()).await;
    // fails without closing its consumer, with deliveries under way
    one.task.abort();
    append(&logs[1], (0..2000).map(event).collect()).await;
    history.holds(4000).await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_writer_finishes_its_batch_and_the_next_continues() {
    let server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    for round in 1..=5 {
        let writer = Running::start(&log, &history, config());
        append(&log, (0..500).map(event).collect()).await;
        until("some rows", || async { (history.rows().len() > (round - 1) * 500).then_some(()) }).await;
        writer.stop().await;
    }
    let writer = Running::start(&log, &history, config());
    history.holds(2500).await;
    writer.stop().await;
    assert_eq!(unacknowledged(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_stops_at_once_while_the_database_is_unavailable() {
    let server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    history.unavailable.store(true, Ordering::SeqCst);
    append(&log, (0..500).map(event).collect()).await;
    let mut writer = Running::start(
        &log,
        &history,
        WriterConfig { retry_min: Duration::from_mins(1), retry_max: Duration::from_mins(1), ..config() },
    );
    writer.status("the error", |status| status.database_error.is_some()).await;
    tokio::time::timeout(Duration::from_secs(10), writer.stop()).await.expect("it does not wait for the database");
    assert_eq!(unacknowledged(&server).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_survives_a_server_kill_and_a_deleted_consumer() {
    let mut server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    let writer = Running::start(&log, &history, config());
    append(&log, (0..500).map(event).collect()).await;
    history.holds(500).await;
    server.kill();
    server.restart().await;
    until("the log to be available", || async { log.ready().await.ok() }).await;
    append(&log, (0..500).map(event).collect()).await;
    history.holds(1000).await;
    let stream = jetstream::new(server.client().await).get_stream("LIVING_MAP").await.unwrap();
    stream.delete_consumer("living-map-history").await.unwrap();
    append(&log, (0..500).map(event).collect()).await;
    history.holds(1500).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_entries_are_written_after_the_server_lost_entries() {
    let mut server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    append(&log, (0..100).map(event).collect()).await;
    server.stop().await;
    let saved = server.save_store();
    server.restart().await;
    let writer = Running::start(&log, &history, config());
    until("the log to be available", || async { log.ready().await.ok() }).await;
    append(&log, (0..400).map(event).collect()).await;
    history.holds(500).await;
    writer.stop().await;
    // the stream ends at 100 again, and its consumer has been at 500
    server.stop().await;
    let consumers = server.save_store();
    server.restore_store(&saved);
    server.restore_consumers(&consumers);
    server.restart().await;
    until("the log to be available", || async { log.ready().await.ok() }).await;
    let writer = Running::start(&log, &history, config());
    append(&log, (0..50).map(event).collect()).await;
    history.holds(550).await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_consumer_gets_changed_settings() {
    let server = NatsServer::start().await;
    let (log, history) = (log_of(&server).await, Arc::new(MemoryHistory::default()));
    for ack_wait in [2, 3] {
        append(&log, vec![event(1)]).await;
        let mut writer =
            Running::start(&log, &history, WriterConfig { ack_wait: Duration::from_secs(ack_wait), ..config() });
        writer.status("a row", |status| status.last_success.is_some()).await;
        writer.stop().await;
        let stream = jetstream::new(server.client().await).get_stream("LIVING_MAP").await.unwrap();
        let consumer: PullConsumer = stream.get_consumer("living-map-history").await.unwrap();
        assert_eq!(consumer.cached_info().config.ack_wait, Duration::from_secs(ack_wait));
    }
    history.holds(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_messages_and_the_ones_after_them_are_written() {
    let server = NatsServer::start().await;
    let history = Arc::new(MemoryHistory::default());
    let logs = [log_of(&server).await, log_of(&server).await];
    append(&logs[0], (0..100).map(event).collect()).await;
    let unreadable = log_unreadable::UNREADABLE.len();
    for nth in 0..unreadable {
        log_unreadable::publish(&server, nth).await;
    }
    append(&logs[0], (0..100).map(event).collect()).await;
    let mut one = Running::start(&logs[0], &history, config());
    let two = Running::start(&logs[1], &history, config());
    history.holds(200 + unreadable).await;
    one.status("no lag", |status| status.lag == Some(0)).await;
    let copies = history.rows().values().filter(|entry| entry.event.payload["unreadable"].is_u64()).count();
    assert_eq!(copies, unreadable);
    one.stop().await;
    two.stop().await;
    assert_eq!(unacknowledged(&server).await, 0);
}
