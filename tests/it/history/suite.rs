//! Behaviour of both databases.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use living_map::history::{HistoryConfig, HistoryQuery, InsertCounts, LogRange, OpenError, PagePosition, Total};
use living_map::model::{Cursor, EntityType, Epoch, Event, LogEntry};
use serde_json::json;
use uuid::Uuid;

use super::{EPOCH, Private, all_pages, at, entry, event, number, open, pooled, postgres, sqlite};
use crate::support::postgres::database;

macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::postgres(&super::config()).await).await;
            })+
        }
        mod through_pooler {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::pooled(&super::config()).await).await;
            })+
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::sqlite(&super::config()).await).await;
            })+
        }
    };
}

on_both!(
    events_are_read_back_unchanged,
    a_batch_written_twice_is_stored_once,
    concurrent_writers_write_each_event_once,
    a_large_batch_is_written_whole,
    two_events_at_one_position_reject_the_whole_batch,
    stored_events_are_found_with_their_positions,
    the_log_is_read_in_order_of_positions,
    pages_go_from_the_newest_to_the_oldest,
    totals_are_exact_up_to_the_cap,
    a_cached_total_is_not_exact,
    a_page_of_large_events_ends_at_its_bytes,
    a_batch_of_the_log_ends_at_its_bytes,
    the_table_log_has_one_epoch_and_one_writer,
    a_reopened_database_has_everything,
);

/// Totals are not cached, and batches take more than one statement.
fn config() -> HistoryConfig {
    HistoryConfig {
        count_ttl: Duration::ZERO,
        count_cap: 50,
        statement_rows: 100,
        statement_bytes: 100_000,
        ..HistoryConfig::default()
    }
}

fn written(inserted: u64, duplicates: u64) -> InsertCounts {
    InsertCounts { inserted, duplicates, paired: 0 }
}

fn seqs(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.cursor.seq).collect()
}

async fn events_are_read_back_unchanged(private: Private) {
    let history = private.history;
    let bare = LogEntry {
        event: Event {
            payload: json!(null),
            source_service: None,
            entity_id: None,
            entity_type: None,
            timestamp: "0001-01-01T00:00:00Z".parse().unwrap(),
            ..entry(1).event
        },
        ..entry(1)
    };
    let mut full = entry(2);
    full.event.timestamp = "9999-12-31T23:59:59.999999Z".parse().unwrap();
    full.event.trace_id = Some("трейс".into());
    full.event.idempotency_key = Some("gateway:msg-123:received:2026011912".into());
    full.event.envelope = json!({"user_id": "u", "meta": {"n": 0.1}}).as_object().cloned();
    full.event.event_type = "odd.'subject\"\\%_👩‍🚀".into();
    full.raw = Some(Bytes::from_static(b"\x00\xff raw"));
    let entries = [bare, full];
    assert_eq!(history.write(&entries).await.unwrap(), written(2, 0));
    assert_eq!(history.read_log(EPOCH, 0, 10).await.unwrap(), entries);
    let page = history.query(&HistoryQuery { limit: 10, ..HistoryQuery::default() }).await.unwrap();
    for (row, entry) in page.rows.iter().rev().zip(&entries) {
        let shown = Event { trace_id: None, idempotency_key: None, envelope: None, ..entry.event.clone() };
        assert_eq!((event(row), row.cursor), (shown, Some(entry.cursor)));
        assert_eq!(row.entity_type.as_deref(), entry.event.entity_type.map(EntityType::as_str));
    }
}

async fn a_batch_written_twice_is_stored_once(private: Private) {
    let history = private.history;
    assert_eq!(history.write(&[]).await.unwrap(), written(0, 0));
    let batch: Vec<LogEntry> = (1..=150).map(entry).collect();
    assert_eq!(history.write(&batch[..100]).await.unwrap(), written(100, 0));
    assert_eq!(history.write(&batch).await.unwrap(), written(50, 100));
    // the same event elsewhere in the log, and twice in one batch
    let mut moved = batch[0].clone();
    moved.cursor.seq = 500;
    let twice = entry(501);
    assert_eq!(history.write(&[moved, twice.clone(), twice]).await.unwrap(), written(1, 2));
    let entries = history.read_log(EPOCH, 0, 1_000).await.unwrap();
    assert_eq!(entries[..150], batch);
    assert_eq!(seqs(&entries[150..]), [501]);
}

async fn concurrent_writers_write_each_event_once(private: Private) {
    let history = private.history;
    let batch: Vec<LogEntry> = (1..=300).map(entry).collect();
    let writers = (0..4).map(|_| history.write(&batch));
    let results = futures::future::join_all(writers).await;
    let mut inserted = 0;
    for result in results {
        match result {
            Ok(written) => inserted += written.inserted,
            // of two replicas that wrote the same events one was rolled back: it retries
            Err(error) => {
                assert!(matches!(error, living_map::history::HistoryError::Unavailable(_)), "{error}");
                inserted += history.write(&batch).await.unwrap().inserted;
            }
        }
    }
    assert_eq!(inserted, 300);
    assert_eq!(history.read_log(EPOCH, 0, 1_000).await.unwrap(), batch);
}

async fn a_large_batch_is_written_whole(private: Private) {
    let history = private.history;
    let mut batch: Vec<LogEntry> = (1..=5_000).map(entry).collect();
    batch[7].event.payload = json!("x".repeat(300_000));
    assert_eq!(history.write(&batch).await.unwrap(), written(5_000, 0));
    assert_eq!(history.log_range(EPOCH).await.unwrap(), Some(LogRange { first: 1, last: 5_000 }));
    assert_eq!(history.read_log(EPOCH, 7, 1).await.unwrap(), batch[7..8]);
}

async fn two_events_at_one_position_reject_the_whole_batch(private: Private) {
    let history = private.history;
    history.write(&[entry(150)]).await.unwrap();
    let batch: Vec<LogEntry> = (1..=200).map(entry).collect();
    let error = history.write(&batch).await.unwrap_err();
    assert!(error.is_position_taken(), "{error:?}");
    assert_eq!(seqs(&history.read_log(EPOCH, 0, 10).await.unwrap()), [150]);
}

async fn stored_events_are_found_with_their_positions(private: Private) {
    let history = private.history;
    let batch: Vec<LogEntry> = (1..=10).map(entry).collect();
    history.write(&batch).await.unwrap();
    let mut ids: Vec<Uuid> = batch[..3].iter().map(|entry| entry.event.id).collect();
    ids.extend((0..2_000).map(|_| Uuid::new_v4()));
    let expected: HashMap<_, _> = batch[..3].iter().map(|entry| (entry.event.id, Some(entry.cursor))).collect();
    assert_eq!(history.positions(&ids).await.unwrap(), expected);
    assert_eq!(history.positions(&[]).await.unwrap(), HashMap::new());
}

async fn the_log_is_read_in_order_of_positions(private: Private) {
    let history = private.history;
    assert_eq!(history.log_range(EPOCH).await.unwrap(), None);
    let other = Epoch(1);
    let mut entries: Vec<LogEntry> = (1..=20).map(entry).collect();
    for (place, entry) in entries.iter_mut().enumerate() {
        // in the reverse order of the producers' times
        entry.event.timestamp = at(-1_000 * i64::try_from(place).unwrap());
    }
    let foreign = LogEntry { cursor: Cursor { epoch: other, seq: 4 }, ..entry(4) };
    history.write(&entries[10..]).await.unwrap();
    history.write(&entries[..10]).await.unwrap();
    history.write(std::slice::from_ref(&foreign)).await.unwrap();
    assert_eq!(history.read_log(EPOCH, 0, 100).await.unwrap(), entries);
    assert_eq!(seqs(&history.read_log(EPOCH, 3, 4).await.unwrap()), [4, 5, 6, 7]);
    assert_eq!(history.read_log(EPOCH, 20, 10).await.unwrap(), []);
    assert_eq!(history.read_log(EPOCH, u64::MAX, 10).await.unwrap(), []);
    assert_eq!(history.log_range(EPOCH).await.unwrap(), Some(LogRange { first: 1, last: 20 }));
    assert_eq!(history.read_log(other, 0, 10).await.unwrap(), [foreign]);
    assert_eq!(history.log_range(Epoch(2)).await.unwrap(), None);
}

async fn pages_go_from_the_newest_to_the_oldest(private: Private) {
    let history = private.history;
    let mut entries: Vec<LogEntry> = (1..=100).map(entry).collect();
    for entry in &mut entries {
        // ten at the same time, ordered by id
        entry.event.timestamp = at(i64::try_from(entry.cursor.seq / 10).unwrap());
    }
    history.write(&entries).await.unwrap();
    let mut expected: Vec<_> = entries.into_iter().map(|entry| entry.event).collect();
    expected.sort_by_key(|event| (event.timestamp, event.id));
    expected.reverse();
    for limit in [1, 7, 99, 100, 1_000] {
        assert_eq!(all_pages(&*history, &HistoryQuery::default(), limit).await, expected, "pages of {limit}");
    }
    let old_client = HistoryQuery { offset: 90, limit: 20, ..HistoryQuery::default() };
    let page = history.query(&old_client).await.unwrap();
    assert_eq!(page.rows.iter().map(event).collect::<Vec<_>>(), expected[90..]);
    assert!(!page.has_more);
    let behind = history.query(&HistoryQuery { offset: u64::MAX, ..old_client }).await.unwrap();
    assert!(behind.rows.is_empty() && !behind.has_more);
}

async fn totals_are_exact_up_to_the_cap(private: Private) {
    let history = private.history;
    let all = HistoryQuery { limit: 1, ..HistoryQuery::default() };
    let some = HistoryQuery { since: Some(at(81)), ..all.clone() };
    assert_eq!(history.query(&all).await.unwrap().total, Total { rows: 0, exact: true });
    history.write(&(1..=50).map(entry).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(history.query(&all).await.unwrap().total, Total { rows: 50, exact: true });
    history.write(&(51..=100).map(entry).collect::<Vec<_>>()).await.unwrap();
    let total = history.query(&all).await.unwrap().total;
    assert!(!total.exact && total.rows > 50, "{total:?}");
    assert_eq!(history.query(&some).await.unwrap().total, Total { rows: 20, exact: true });
}

async fn a_cached_total_is_not_exact(private: Private) {
    let history = private.history;
    let some = HistoryQuery { since: Some(at(81)), limit: 1, ..HistoryQuery::default() };
    history.write(&(1..=100).map(entry).collect::<Vec<_>>()).await.unwrap();
    let caching =
        open(&private.url, &HistoryConfig { count_ttl: Duration::from_hours(1), pooler: private.pooler, ..config() })
            .await;
    assert_eq!(caching.query(&some).await.unwrap().total, Total { rows: 20, exact: true });
    history.write(&[entry(101)]).await.unwrap();
    assert_eq!(caching.query(&some).await.unwrap().total, Total { rows: 20, exact: false });
    let last = HistoryQuery { limit: 50, ..some };
    assert_eq!(
        caching.query(&last).await.unwrap().total,
        Total { rows: 21, exact: true },
        "counted on the page itself"
    );
}

/// Entries whose payloads have about `bytes` bytes.
fn large_entries(number: u64, bytes: usize) -> Vec<LogEntry> {
    let large = |seq| {
        let mut entry = entry(seq);
        entry.event.payload = json!({"n": seq, "text": "x".repeat(bytes)});
        entry
    };
    (1..=number).map(large).collect()
}

async fn a_page_of_large_events_ends_at_its_bytes(private: Private) {
    let entries = large_entries(14, 100_000);
    private.history.write(&entries).await.unwrap();
    let mut expected: Vec<_> = entries.into_iter().map(|entry| entry.event.id).collect();
    expected.reverse();
    for (page_bytes, on_page) in [(450_000, 4), (1, 1), (usize::MAX, 1_000)] {
        let history = open(&private.url, &HistoryConfig { page_bytes, pooler: private.pooler, ..config() }).await;
        for by_offset in [false, true] {
            let mut query = HistoryQuery { limit: 1_000, ..HistoryQuery::default() };
            let mut found = Vec::new();
            loop {
                let page = history.query(&query).await.unwrap();
                assert!(page.rows.len() <= on_page, "{} rows of {page_bytes} bytes", page.rows.len());
                assert_eq!(page.total.rows, 14);
                found.extend(page.rows.iter().map(|row| row.id));
                if !page.has_more {
                    break;
                }
                assert_eq!(page.rows.len(), on_page);
                let last = page.rows.last().unwrap();
                if by_offset {
                    query.offset += page.rows.len() as u64;
                } else {
                    query.after = Some(PagePosition { timestamp: last.timestamp, id: last.id });
                }
            }
            assert_eq!(found, expected, "pages of {page_bytes} bytes");
        }
    }
}

async fn a_batch_of_the_log_ends_at_its_bytes(private: Private) {
    let entries = large_entries(30, 100_000);
    private.history.write(&entries).await.unwrap();
    for (batch_bytes, in_batch) in [(450_000, 4), (1, 1), (usize::MAX, 30)] {
        let history = open(&private.url, &HistoryConfig { batch_bytes, pooler: private.pooler, ..config() }).await;
        let mut found = Vec::new();
        while found.len() < entries.len() {
            let after = found.last().map_or(0, |last: &LogEntry| last.cursor.seq);
            let batch = history.read_log(EPOCH, after, 1_000).await.unwrap();
            assert!((1..=in_batch).contains(&batch.len()), "{} entries of {batch_bytes} bytes", batch.len());
            found.extend(batch);
        }
        assert_eq!(found, entries);
        assert_eq!(history.read_log(EPOCH, 30, 1_000).await.unwrap(), []);
    }
}

async fn the_table_log_has_one_epoch_and_one_writer(private: Private) {
    let history = private.history;
    let other = open(&private.url, &HistoryConfig { pooler: private.pooler, ..config() }).await;
    let epoch = history.table_epoch().await.unwrap();
    assert_eq!(history.table_epoch().await.unwrap(), epoch);
    assert_eq!(other.table_epoch().await.unwrap(), epoch);
    assert_ne!(epoch, Epoch(0));
    assert!(history.lock_table_log().await.unwrap());
    assert!(!other.lock_table_log().await.unwrap());
    assert!(history.lock_table_log().await.unwrap(), "the holder keeps it");
    history.close().await;
    crate::support::wait::until("the lock to be free", || async {
        other.lock_table_log().await.unwrap().then_some(())
    })
    .await;
}

async fn a_reopened_database_has_everything(private: Private) {
    let entries: Vec<LogEntry> = (1..=3).map(entry).collect();
    private.history.write(&entries).await.unwrap();
    private.history.ping().await.unwrap();
    private.history.close().await;
    assert!(private.history.ping().await.is_err());
    let again = open(&private.url, &HistoryConfig { pooler: private.pooler, ..config() }).await;
    assert_eq!(again.read_log(EPOCH, 0, 10).await.unwrap(), entries);
    assert_eq!(again.kind(), private.history.kind());
    assert_eq!(entries.iter().map(|entry| number(&entry.event.payload)).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn an_invalid_url_is_rejected_without_repeating_it() {
    for url in [
        "",
        "mysql://u:secret@h/d",
        "secret",
        "sqlite::memory:",
        "sqlite://x?mode=memory",
        "sqlite://",
        "postgres://u:secret@h:port/d",
    ] {
        let Err(error) = living_map::history::open(url, &config()).await else { panic!("{url} was opened") };
        assert!(matches!(error, OpenError::Url(_)), "{url}: {error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn the_sqlite_file_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let private = sqlite(&config()).await;
    private.history.write(&[entry(1)]).await.unwrap();
    let path = private.url.strip_prefix("sqlite://").unwrap();
    for path in [path.to_owned(), format!("{path}-wal")] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn a_missing_database_is_reported_soon_and_clearly() {
    let missing = format!("{}_missing", database().await.replace("?sslmode=disable", ""));
    for (url, reason) in [
        (missing.as_str(), "does not exist"),
        ("postgres://127.0.0.1:1/x", "refused"),
        ("sqlite:///nowhere/at/all.db", "/nowhere/at/all.db"),
    ] {
        let Err(error) = living_map::history::open(url, &config()).await else { panic!("{url} was opened") };
        assert!(error.to_string().contains(reason), "{error}");
    }
}
