//! Retention of events.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use living_map::history::retention::{self, RetentionConfig};
use living_map::history::{History, HistoryConfig, HistoryQuery, LogRange, Purge, Purged};
use living_map::model::{Cursor, LogEntry};
use tokio_util::sync::CancellationToken;

use super::{EPOCH, Private, all_pages, at, entry, postgres, sqlite};
use crate::support::wait::until;

#[tokio::test]
async fn postgres_deletes_only_the_oldest_events() {
    deletes_only_the_oldest_events(postgres(&HistoryConfig::default()).await).await;
}

#[tokio::test]
async fn sqlite_deletes_only_the_oldest_events() {
    deletes_only_the_oldest_events(sqlite(&HistoryConfig::default()).await).await;
}

async fn deletes_only_the_oldest_events(private: Private) {
    let history = private.history;
    let epoch = history.table_epoch().await.unwrap();
    let mut entries: Vec<LogEntry> = (1..=20)
        .map(|seq| LogEntry { cursor: Cursor { epoch, seq }, logged_at: at(seq.cast_signed()), ..entry(seq) })
        .collect();
    // an old event that the log took late, and the other way round
    entries[15].event.timestamp = at(-1_000_000);
    entries[3].event.timestamp = at(1_000_000);
    let others: Vec<LogEntry> = (1..=20).map(entry).collect();
    history.write(&entries).await.unwrap();
    history.write(&others).await.unwrap();
    assert_eq!(history.delete_before(at(0), 100).await.unwrap(), 0);
    let mut deleted = Vec::new();
    loop {
        let batch = history.delete_before(at(11), 7).await.unwrap();
        assert!(batch <= 7);
        if batch == 0 {
            break;
        }
        deleted.push(batch);
    }
    // every log loses its beginning, by the log's time, which is a millisecond later in the other log
    assert_eq!(deleted.iter().sum::<u64>(), 10 + 9);
    assert_eq!(history.read_log(epoch, 0, 100).await.unwrap(), entries[10..]);
    assert_eq!(history.read_log(EPOCH, 0, 100).await.unwrap(), others[9..]);
    while history.delete_before(at(2_000_000), 7).await.unwrap() > 0 {}
    assert_eq!(
        history.log_range(epoch).await.unwrap(),
        Some(LogRange { first: 20, last: 20 }),
        "the last position is not assigned again"
    );
    assert_eq!(history.log_range(EPOCH).await.unwrap(), None);
    assert_eq!(history.epochs().await.unwrap(), [epoch]);
}

#[tokio::test]
async fn the_task_deletes_in_batches_until_it_is_stopped() {
    let private = postgres(&HistoryConfig::default()).await;
    // an old event that the log took just now
    let fresh = LogEntry { logged_at: Utc::now() - TimeDelta::hours(1), ..entry(101) };
    let mut entries: Vec<LogEntry> = (1..=100).map(entry).collect();
    for entry in &mut entries {
        entry.logged_at = Utc::now() - TimeDelta::days(31);
    }
    entries.push(fresh.clone());
    private.history.write(&entries).await.unwrap();
    let shutdown = CancellationToken::new();
    let config = RetentionConfig { batch: 7, pause: Duration::from_millis(1), ..RetentionConfig::default() };
    let task = tokio::spawn(retention::run(
        Arc::clone(&private.history),
        config,
        living_map::journal::Journal::default(),
        shutdown.clone(),
    ));
    let history = &*private.history;
    until("old events to be deleted", || async {
        (all_pages(history, &HistoryQuery::default(), 200).await.len() == 1).then_some(())
    })
    .await;
    let left = history.read_log(EPOCH, 0, 10).await.unwrap();
    assert_eq!(left[0].event.id, fresh.event.id);
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn postgres_keeps_each_class_for_its_period() {
    keeps_each_class_for_its_period(postgres(&HistoryConfig::default()).await).await;
}

#[tokio::test]
async fn sqlite_keeps_each_class_for_its_period() {
    keeps_each_class_for_its_period(sqlite(&HistoryConfig::default()).await).await;
}

async fn keeps_each_class_for_its_period(private: Private) {
    let history = Arc::clone(&private.history);
    let table = history.table_epoch().await.unwrap();
    let types = ["task.created", "node.metrics.update", "usage.llm", "audit.action.x"];
    // one event per hour up to now, in the table log and in another one
    let aged = |epoch, seq: u64| {
        let mut entry = LogEntry { cursor: Cursor { epoch, seq }, ..entry(seq) };
        entry.logged_at = Utc::now() - TimeDelta::hours(400 - seq.cast_signed());
        entry.event.event_type = types[usize::try_from(seq % 4).unwrap()].into();
        entry
    };
    for epoch in [table, EPOCH] {
        history.write(&(1..=400).map(|seq| aged(epoch, seq)).collect::<Vec<_>>()).await.unwrap();
    }
    let rules = [("task.>", 168), ("audit.>", 8_760), (">", 24)];
    let rules = rules.map(|(pattern, hours)| (pattern.parse().unwrap(), Duration::from_hours(hours)));
    let config = RetentionConfig {
        rules: rules.to_vec(),
        batch: 7,
        pause: Duration::from_millis(1),
        ..RetentionConfig::default()
    };
    let expected: Vec<u64> = (1..=400)
        .filter(|seq| match seq % 4 {
            0 => 400 - seq < 168,
            3 => true,
            _ => 400 - seq < 24,
        })
        .collect();
    let shutdown = CancellationToken::new();
    let journal = living_map::journal::Journal::default();
    let task = tokio::spawn(retention::run(Arc::clone(&history), config, journal, shutdown.clone()));
    for epoch in [table, EPOCH] {
        until("expired events to be deleted", || async {
            let left = history.read_log(epoch, 0, 1_000).await.unwrap();
            let left: Vec<u64> = left.iter().map(|entry| entry.cursor.seq).collect();
            assert!(expected.iter().all(|seq| left.contains(seq)), "an event was deleted too early: {left:?}");
            (left == expected).then_some(())
        })
        .await;
        // 374 was the last deleted one: the two behind it have longer periods
        assert_eq!(history.log_range(epoch).await.unwrap(), Some(LogRange { first: 375, last: 400 }));
    }
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn postgres_knows_the_range_without_gaps() {
    let private = postgres(&HistoryConfig::default()).await;
    let connection = sqlx::postgres::PgPool::connect(&private.url).await.unwrap();
    knows_the_range_without_gaps(&*private.history, async |sql| {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&connection).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn sqlite_knows_the_range_without_gaps() {
    let private = sqlite(&HistoryConfig::default()).await;
    let connection = sqlx::sqlite::SqlitePool::connect(&private.url).await.unwrap();
    knows_the_range_without_gaps(&*private.history, async |sql| {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&connection).await.unwrap();
    })
    .await;
}

/// With deletion by retention and by hand.
async fn knows_the_range_without_gaps(history: &dyn History, by_hand: impl AsyncFn(String)) {
    history.write(&(1..=50).map(entry).collect::<Vec<_>>()).await.unwrap();
    let log_range = async || history.log_range(EPOCH).await.unwrap();
    assert_eq!(log_range().await, Some(LogRange { first: 1, last: 50 }));
    let purge = |after, limit, expired| Purge { epoch: EPOCH, after, before: at(31), limit, expired };
    let all: &(dyn Fn(&str) -> bool + Send + Sync) = &|_| true;
    let none: &(dyn Fn(&str) -> bool + Send + Sync) = &|_| false;
    assert_eq!(history.purge(&purge(0, 10, none)).await.unwrap(), Purged { last: Some(10), deleted: 0 });
    assert_eq!(log_range().await, Some(LogRange { first: 1, last: 50 }));
    assert_eq!(history.purge(&purge(10, 5, all)).await.unwrap(), Purged { last: Some(15), deleted: 5 });
    assert_eq!(log_range().await, Some(LogRange { first: 16, last: 50 }));
    // the log took 29 and earlier ones before that time
    assert_eq!(history.purge(&purge(25, 100, all)).await.unwrap(), Purged { last: Some(29), deleted: 4 });
    assert_eq!(history.purge(&purge(29, 100, all)).await.unwrap(), Purged::default());
    assert_eq!(log_range().await, Some(LogRange { first: 30, last: 50 }));
    // events inserted late before the range change nothing
    history.write(&(26..=27).map(entry).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(history.purge(&purge(0, 100, all)).await.unwrap().deleted, 10 + 10 + 2);
    assert_eq!(log_range().await, Some(LogRange { first: 30, last: 50 }));
    by_hand("DELETE FROM living_map_history WHERE seq IN (35, 40)".into()).await;
    assert_eq!(log_range().await, Some(LogRange { first: 41, last: 50 }));
    by_hand("DELETE FROM living_map_history WHERE seq = 50".into()).await;
    assert_eq!(log_range().await, Some(LogRange { first: 51, last: 49 }), "the newest is missing too");
    by_hand("DELETE FROM living_map_history".into()).await;
    assert_eq!(log_range().await, None);
}
