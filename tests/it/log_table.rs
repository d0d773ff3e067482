//! The table log: the shared suite with both databases, and tests of the table.

mod disturbed;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use living_map::history::{History, HistoryConfig, Purge, Purged};
use living_map::log::{EventLog, LogError, TableLog, TableLogConfig};
use living_map::model::NewEvent;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::history::{Private, open, pooled, postgres, sqlite};
use crate::log_suite::{Fixture, append, assert_gapless, epoch, event, log_suite, of, read, read_error};
use crate::support::postgres::Postgres;
use crate::support::wait::{PATIENCE, until};

/// A log of one process: while it is open, opening it again returns the same log.
struct OneProcess {
    private: Private,
    log: Mutex<Weak<TableLog>>,
}

impl OneProcess {
    fn new(private: Private) -> Self {
        Self { private, log: Mutex::default() }
    }
}

#[async_trait]
impl Fixture for OneProcess {
    async fn open(&self) -> Arc<dyn EventLog> {
        let mut log = self.log.lock().await;
        if let Some(log) = log.upgrade() {
            return log;
        }
        let opened = table_log(&self.private.history, small()).await;
        *log = Arc::downgrade(&opened);
        opened
    }
}

mod on_sqlite {
    async fn start() -> super::OneProcess {
        super::OneProcess::new(super::sqlite(&super::HistoryConfig::default()).await)
    }
    super::log_suite!(start);
}

mod on_postgres {
    async fn start() -> super::OneProcess {
        super::OneProcess::new(super::postgres(&super::HistoryConfig::default()).await)
    }
    super::log_suite!(start);
}

mod through_pooler {
    async fn start() -> super::OneProcess {
        super::OneProcess::new(super::pooled(&super::HistoryConfig::default()).await)
    }
    super::log_suite!(start);
}

/// Small limits, so that readers switch between memory and database.
fn small() -> TableLogConfig {
    TableLogConfig { batch_events: 50, queue_appends: 16, tail_events: 20, page_events: 7, ..TableLogConfig::default() }
}

async fn table_log(history: &Arc<dyn History>, config: TableLogConfig) -> Arc<TableLog> {
    Arc::new(TableLog::open(config, Arc::clone(history), None).await.unwrap_or_else(|error| panic!("{error}")))
}

#[tokio::test]
async fn events_that_cannot_be_recorded_are_rejected_individually() {
    let private = postgres(&HistoryConfig::default()).await;
    let config = TableLogConfig {
        extra_subjects: vec!["parser.document.>".parse().unwrap()],
        max_event_bytes: 100_000,
        ..TableLogConfig::default()
    };
    let log = table_log(&private.history, config).await;
    let with_payload = |subject: &str, payload| of(json!({"event_type": subject, "payload": payload}));
    let unknown = with_payload("stranger.event", json!({}));
    let large = with_payload("city.event.x", json!("x".repeat(100_000)));
    let mut large_raw = with_payload("city.event.x", json!({}));
    large_raw.raw = Some(Bytes::from(vec![0; 100_000]));
    // larger than an index entry of PostgreSQL may be: only the database detects it
    let endless: String = (0..300).map(|_| Uuid::new_v4().to_string()).collect();
    let mut indexed = with_payload("agent.event.created", json!({}));
    indexed.event.entity_id = Some(endless);
    let endless = indexed;
    let extra = with_payload("parser.document.parsed", json!({"number": 2}));
    let results = log.append(vec![event(0), unknown, large, large_raw, event(1), endless, extra]).await;
    let [Ok(_), Err(unknown), Err(large), Err(large_raw), Ok(_), Err(endless), Ok(last)] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!(*unknown, LogError::NotRecorded("stranger.event".into()));
    assert!(matches!(large, LogError::TooLarge { limit: 100_000, size: 100_001.. }), "{large}");
    assert!(matches!(large_raw, LogError::TooLarge { .. }), "{large_raw}");
    assert!(matches!(endless, LogError::Refused(_)), "{endless}");
    assert_eq!(last.cursor.map(|cursor| cursor.seq), Some(3));
    assert_gapless(&read(&*log, 0, 3).await, 1);
    assert!(log.ready().await.is_ok());
}

#[tokio::test]
async fn a_second_writer_of_the_same_database_is_rejected() {
    let config = HistoryConfig::default();
    for private in [sqlite(&config).await, postgres(&config).await, pooled(&config).await] {
        let log = table_log(&private.history, small()).await;
        append(&*log, vec![event(1)]).await;
        let other = open(&private.url, &HistoryConfig { pooler: private.pooler, ..config.clone() }).await;
        let Err(error) = TableLog::open(small(), Arc::clone(&other), None).await else {
            panic!("there are two writers")
        };
        assert!(error.to_string().contains("another process"), "{error}");
        drop(log);
        private.history.close().await;
        let log =
            until("the log to be unlocked", || async { TableLog::open(small(), Arc::clone(&other), None).await.ok() })
                .await;
        assert_eq!(append(&log, vec![event(2)]).await[0].cursor.unwrap().seq, 2);
    }
}

#[tokio::test]
async fn entries_deleted_before_they_are_read_are_reported() {
    for private in [sqlite(&HistoryConfig::default()).await, postgres(&HistoryConfig::default()).await] {
        let log = table_log(&private.history, small()).await;
        append(&*log, (1..=60).map(event).collect()).await;
        let own = epoch(&*log).await;
        let mut slow = log.read(own, 0).await.unwrap();
        assert_eq!(slow.next().await.unwrap().unwrap().cursor.seq, 1);
        private.history.delete_before(Utc::now() + TimeDelta::hours(1), 30).await.unwrap();
        let bounds = log.bounds().await.unwrap();
        assert_eq!((bounds.first, bounds.last), (31, 60));
        assert_eq!(read_error(&*log, own, 5).await, LogError::Truncated { oldest: 31 });
        assert_gapless(&read(&*log, 30, 30).await, 31);
        assert_gapless(&read(&*log, 0, 30).await, 31);
        // the entries it had read ahead, then the error
        let rest: Vec<_> = slow.collect().await;
        assert_eq!(rest.last(), Some(&Err(LogError::Truncated { oldest: 31 })));
        assert!(rest.len() <= 7);
    }
}

#[tokio::test]
async fn a_log_begins_after_events_deleted_by_class() {
    for private in [sqlite(&HistoryConfig::default()).await, postgres(&HistoryConfig::default()).await] {
        let log = table_log(&private.history, small()).await;
        append(&*log, (1..=60).map(event).collect()).await;
        let own = epoch(&*log).await;
        let mut slow = log.read(own, 0).await.unwrap();
        assert_eq!(slow.next().await.unwrap().unwrap().cursor.seq, 1);
        // every second event up to 31 is deleted, and the first stays
        let turn = std::sync::atomic::AtomicUsize::new(0);
        let goes = move |_: &str| turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 == 1;
        let before = Utc::now() + TimeDelta::hours(1);
        let purge = Purge { epoch: own, after: 0, before, limit: 30, expired: &goes };
        assert_eq!(private.history.purge(&purge).await.unwrap(), Purged { last: Some(30), deleted: 15 });
        let bounds = log.bounds().await.unwrap();
        assert_eq!((bounds.first, bounds.last), (31, 60));
        assert_eq!(read_error(&*log, own, 5).await, LogError::Truncated { oldest: 31 });
        assert_eq!(read_error(&*log, own, 28).await, LogError::Truncated { oldest: 31 });
        assert_gapless(&read(&*log, 30, 30).await, 31);
        assert_gapless(&read(&*log, 0, 30).await, 31);
        let rest: Vec<_> = slow.collect().await;
        assert_eq!(rest.last(), Some(&Err(LogError::Truncated { oldest: 31 })));
        let read_ahead: Vec<_> = rest.into_iter().filter_map(Result::ok).collect();
        assert_gapless(&read_ahead, 2);
        // the newest event stays, whatever its class
        let purge = Purge { after: 0, limit: 100, expired: &|_| true, ..purge };
        while private.history.purge(&purge).await.unwrap().last.is_some() {}
        let bounds = log.bounds().await.unwrap();
        assert_eq!((bounds.first, bounds.last), (60, 60));
    }
}

#[tokio::test]
async fn positions_continue_after_all_other_events_were_deleted() {
    let fixture = OneProcess::new(sqlite(&HistoryConfig::default()).await);
    let log = fixture.open().await;
    append(&*log, (1..=5).map(event).collect()).await;
    while fixture.private.history.delete_before(Utc::now() + TimeDelta::hours(1), 100).await.unwrap() > 0 {}
    drop(log);
    let log = fixture.open().await;
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.last), (5, 5));
    assert_eq!(append(&*log, vec![event(6)]).await[0].cursor.unwrap().seq, 6);
}

#[tokio::test]
async fn a_position_after_the_end_is_of_another_log() {
    let private = sqlite(&HistoryConfig::default()).await;
    let log = table_log(&private.history, small()).await;
    append(&*log, vec![event(1)]).await;
    let own = epoch(&*log).await;
    assert_eq!(read_error(&*log, own, 2).await, LogError::EpochChanged(own));
}

#[tokio::test]
async fn an_event_older_than_the_log_is_a_duplicate_without_position() {
    let private = postgres(&HistoryConfig::default()).await;
    let adopted = event(1);
    let mut foreign = crate::history::entry(77);
    foreign.event = adopted.event.clone();
    private.history.write(&[foreign]).await.unwrap();
    let log = table_log(&private.history, small()).await;
    let appended = append(&*log, vec![adopted, event(2)]).await;
    assert_eq!((appended[0].duplicate, appended[0].cursor), (true, None));
    assert_eq!(appended[1].cursor.unwrap().seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_postgres_under_load_loses_nothing() {
    let mut server = Postgres::start().await;
    let config = HistoryConfig { acquire_timeout: std::time::Duration::from_secs(1), ..HistoryConfig::default() };
    let history = open(&server.url(), &config).await;
    let log = table_log(&history, small()).await;
    let own = epoch(&*log).await;
    let mut live = log.read(own, 0).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let appenders: Vec<_> = (0..4)
        .map(|_| {
            let (log, stopped) = (Arc::clone(&log), stopped.clone());
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while !*stopped.borrow() {
                    let new = event(sent.len());
                    sent.push(new.event.id);
                    append_until_accepted(&log, new).await;
                }
                sent
            })
        })
        .collect();
    let mut seen = Vec::new();
    for _ in 0..3 {
        for _ in 0..100 {
            let next = tokio::time::timeout(PATIENCE, live.next()).await.expect("no entry in time");
            seen.push(next.unwrap().unwrap());
        }
        server.kill();
        server.restart().await;
    }
    stop.send_replace(true);
    let mut sent: Vec<Uuid> = Vec::new();
    for appender in appenders {
        sent.extend(appender.await.unwrap());
    }
    while seen.len() < sent.len() {
        let next = tokio::time::timeout(PATIENCE, live.next()).await.expect("an acknowledged entry is missing");
        seen.push(next.unwrap().unwrap());
    }
    assert_gapless(&seen, 1);
    let mut recorded: Vec<Uuid> = seen.iter().map(|entry| entry.event.id).collect();
    recorded.sort();
    sent.sort();
    assert_eq!(recorded, sent, "each event once");
    // the pool may return a connection closed by the kill once more
    let again = until("the log to be read again", || async { log.read(own, 0).await.ok() }).await;
    let again: Vec<_> = again.take(seen.len()).map(|entry| entry.expect("an entry")).collect().await;
    assert_eq!(again, seen);
    assert_eq!(log.bounds().await.unwrap().last, seen.len() as u64);
}

async fn append_until_accepted(log: &TableLog, event: NewEvent) {
    loop {
        match log.append(vec![event.clone()]).await.swap_remove(0) {
            Ok(_) => return,
            Err(LogError::Unavailable(_)) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
}
