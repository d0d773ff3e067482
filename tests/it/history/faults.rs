//! `PostgreSQL` crashes, hangs, and recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use living_map::history::{History, HistoryConfig, HistoryError, HistoryQuery};
use living_map::model::LogEntry;

use sqlx::{Connection, Executor, PgConnection};

use super::{EPOCH, all_pages, entry, open};
use crate::support::postgres::{Postgres, database};
use crate::support::tcp_proxy::TcpProxy;
use crate::support::wait::until;

fn config() -> HistoryConfig {
    HistoryConfig {
        acquire_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
        test_idle_after: Duration::ZERO,
        test_timeout: Duration::from_millis(200),
        ..HistoryConfig::default()
    }
}

/// Writes batches one after the other, each until it is acknowledged; the number of acknowledged batches.
async fn write_batches(
    history: Arc<dyn History>,
    first: u64,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> u64 {
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<LogEntry> = (next..next + 50).map(entry).collect();
        loop {
            match history.write(&batch).await {
                Ok(written) => break assert_eq!(written.inserted + written.duplicates, 50),
                Err(HistoryError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
        acknowledged.fetch_add(50, Ordering::Relaxed);
        next += 50;
    }
    next - first
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_under_load_loses_and_repeats_nothing_acknowledged() {
    let mut server = Postgres::start().await;
    let history = open(&server.url(), &config()).await;
    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let first = writer * 10_000_000 + 1;
            tokio::spawn(write_batches(Arc::clone(&history), first, Arc::clone(&acknowledged), Arc::clone(&stop)))
        })
        .collect();
    for _ in 0..3 {
        let before = acknowledged.load(Ordering::Relaxed);
        until("writes to go on", || async { (acknowledged.load(Ordering::Relaxed) >= before + 500).then_some(()) })
            .await;
        server.kill();
        server.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    for (writer, first) in writers.into_iter().zip([1, 10_000_001]) {
        let written = writer.await.unwrap();
        let mut after = first - 1;
        while after < first - 1 + written {
            let entries = history.read_log(EPOCH, after, 1_000).await.unwrap();
            for entry in entries.iter().take(usize::try_from(first - 1 + written - after).unwrap()) {
                after += 1;
                assert_eq!(entry.cursor.seq, after, "an acknowledged event is lost");
            }
        }
    }
    let events = all_pages(&*history, &HistoryQuery::default(), 1_000).await;
    assert_eq!(events.len() as u64, acknowledged.load(Ordering::Relaxed), "an event is there twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_soon_during_an_outage_and_recover() {
    let mut server = Postgres::start().await;
    let history = open(&server.url(), &config()).await;
    history.write(&[entry(1)]).await.unwrap();
    let second = [entry(2)];
    server.stop().await;
    let started = Instant::now();
    let away = [
        history.write(&second).await.map(drop),
        history.query(&HistoryQuery::default()).await.map(drop),
        history.ping().await,
    ];
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    for result in away {
        assert!(matches!(result, Err(HistoryError::Unavailable(_))), "{result:?}");
    }
    server.restart().await;
    until("it to answer again", || async { history.write(&second).await.ok() }).await;
    assert_eq!(all_pages(&*history, &HistoryQuery::default(), 10).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_network_calls_fail_soon_and_connections_are_closed() {
    let server = Postgres::start().await;
    let proxy = TcpProxy::to(&server).await;
    let url = proxy.url();
    let config =
        HistoryConfig { reader_connections: 2, writer_connections: 1, test_idle_after: Duration::MAX, ..config() };
    let history = open(&url, &config).await;
    history.write(&[entry(1)]).await.unwrap();
    history.query(&HistoryQuery { limit: 1, ..HistoryQuery::default() }).await.unwrap();
    // always the same event: one sent before the cut may arrive after it
    let second = [entry(2)];
    proxy.block(true);
    let started = Instant::now();
    for _ in 0..3 {
        let results = [history.query(&HistoryQuery::default()).await.map(drop), history.write(&second).await.map(drop)];
        for result in results {
            assert!(matches!(result, Err(HistoryError::Unavailable(_))), "{result:?}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    proxy.block(false);
    until("it to answer again", || async { history.write(&second).await.ok() }).await;
    assert_eq!(all_pages(&*history, &HistoryQuery::default(), 10).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_is_cancelled() {
    let url = database().await;
    let history = open(&url, &config()).await;
    history.write(&[entry(1)]).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("LOCK TABLE living_map_history").await.unwrap();
    let results = [history.query(&HistoryQuery::default()).await.map(drop), history.write(&[entry(2)]).await.map(drop)];
    for result in results {
        let Err(HistoryError::TooSlow(sqlx::Error::Database(error))) = result else { panic!("{result:?}") };
        assert_eq!(error.code().as_deref(), Some("57014"));
    }
    transaction.rollback().await.unwrap();
    assert_eq!(all_pages(&*history, &HistoryQuery::default(), 10).await.len(), 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_stored_is_rejected() {
    let history = open(&database().await, &config()).await;
    let mut nul = entry(1);
    nul.event.event_type = "a\0b".into();
    let mut endless = entry(2);
    // not compressible, and an index row holds at most 2,704 bytes
    endless.event.entity_id = Some((0..300).map(|_| uuid::Uuid::new_v4().to_string()).collect());
    for bad in [nul, endless] {
        let result = history.write(&[entry(3), bad]).await;
        assert!(matches!(result, Err(HistoryError::Rejected(_))), "{result:?}");
    }
    assert_eq!(history.log_range(EPOCH).await.unwrap(), None, "nothing of the batch is there");
}
