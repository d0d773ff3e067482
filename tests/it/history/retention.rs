//! Deleting what is too old.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use living_map::history::retention::{self, RetentionConfig};
use living_map::history::{Held, HistoryConfig, HistoryQuery};
use living_map::model::{Cursor, LogEntry};
use tokio_util::sync::CancellationToken;

use super::{EPOCH, Private, all_pages, at, entry, postgres, sqlite};
use crate::support::wait::until;

#[tokio::test]
async fn postgres_forgets_the_oldest_and_only_those() {
    forgets_the_oldest_and_only_those(postgres(&HistoryConfig::default()).await).await;
}

#[tokio::test]
async fn sqlite_forgets_the_oldest_and_only_those() {
    forgets_the_oldest_and_only_those(sqlite(&HistoryConfig::default()).await).await;
}

async fn forgets_the_oldest_and_only_those(private: Private) {
    let history = private.history;
    let epoch = history.table_epoch().await.unwrap();
    let mut entries: Vec<LogEntry> = (1..=20)
        .map(|seq| LogEntry { cursor: Cursor { epoch, seq }, logged_at: at(seq.cast_signed()), ..entry(seq) })
        .collect();
    // its producer says it is old, but the log took it late; and the other way round
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
    assert_eq!(deleted.iter().sum::<u64>(), 20);
    // the table log loses its beginning, by the log's time; others go by the producer's
    assert_eq!(history.read_log(epoch, 0, 100).await.unwrap(), entries[10..]);
    assert_eq!(history.read_log(EPOCH, 0, 100).await.unwrap(), others[10..]);
    while history.delete_before(at(2_000_000), 7).await.unwrap() > 0 {}
    assert_eq!(
        history.held(epoch).await.unwrap(),
        Some(Held { first: 20, last: 20 }),
        "positions are never used again"
    );
    assert_eq!(history.held(EPOCH).await.unwrap(), None);
}

#[tokio::test]
async fn the_task_deletes_in_batches_until_it_is_stopped() {
    let private = postgres(&HistoryConfig::default()).await;
    let fresh = LogEntry {
        event: living_map::model::Event { timestamp: Utc::now() - TimeDelta::hours(1), ..entry(101).event },
        ..entry(101)
    };
    let mut entries: Vec<LogEntry> = (1..=100).map(entry).collect();
    for entry in &mut entries {
        entry.event.timestamp = Utc::now() - TimeDelta::days(31);
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
