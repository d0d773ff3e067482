//! Bases of logs, in both databases.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use living_map::history::leases::Fence;
use living_map::history::snapshots::{NewBase, NewSnapshot, SnapshotRetention};
use living_map::history::{self, Database, HistoryConfig};
use living_map::model::{Cursor, Epoch};
use uuid::Uuid;

use super::{EPOCH, Private, at, pooled, postgres, sqlite};

on_both!(
    of_many_leaders_one_stores_a_base,
    a_replaced_leader_cannot_store_a_base,
    the_base_of_the_current_log_is_not_deleted,
    the_first_and_the_newest_base_of_a_log_are_kept,
);

const LATER: Epoch = Epoch(77);

async fn database(private: &Private) -> Database {
    history::open(&private.url, &HistoryConfig { pooler: private.pooler, ..HistoryConfig::default() }).await.unwrap()
}

/// A base of the log `LATER` at `seq`, the map at position 40 of the log before.
fn base(number: u64, seq: u64, text: &str) -> NewBase {
    let cursor = Cursor { epoch: LATER, seq };
    let snapshot = NewSnapshot {
        id: Uuid::now_v7(),
        cursor,
        logged_at: at(40),
        saved_at: at(50),
        version: "1.0".into(),
        data: r#"{"n": 1}"#.into(),
        state: Bytes::from(text.to_owned()),
        state_version: 1,
    };
    NewBase {
        cursor,
        number,
        carried: Some(Cursor { epoch: EPOCH, seq: 40 }),
        state_version: 1,
        snapshot: Some(snapshot),
        fence: Fence { lease: "leader", token: None },
    }
}

async fn of_many_leaders_one_stores_a_base(private: Private) {
    let database = database(&private).await;
    let stores = (0..8).map(|number| {
        let snapshots = Arc::clone(&database.snapshots);
        // at different positions: the log has dropped its first entries meanwhile
        tokio::spawn(async move { snapshots.save_base(&base(0, number, &number.to_string())).await.unwrap() })
    });
    let stored: Vec<bool> = futures::future::join_all(stores).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 1, "{stored:?}");
    let winner = stored.iter().position(|stored| *stored).unwrap();
    let bases = database.snapshots.bases(LATER, 1..=1).await.unwrap().unwrap();
    assert_eq!((bases.first, bases.newest.cursor.seq), (bases.newest, winner as u64));
    assert_eq!(bases.newest.logged_at, Some(at(40)));
    let saved = database.snapshots.state_at(LATER, 1..=1, 100, None).await.unwrap().unwrap();
    assert_eq!(
        (saved.cursor.seq, &*saved.bytes),
        (winner as u64, winner.to_string().as_bytes()),
        "and its snapshot only"
    );
    assert_eq!(database.snapshots.bases(LATER, 2..=2).await.unwrap(), None);
    assert_eq!(database.snapshots.carried_from(EPOCH, 1..=1).await.unwrap(), Some(40));
    assert_eq!(database.snapshots.carried_from(LATER, 1..=1).await.unwrap(), None);
}

async fn a_replaced_leader_cannot_store_a_base(private: Private) {
    let Database { snapshots, leases, .. } = database(&private).await;
    for holder in [Uuid::new_v4(), Uuid::new_v4()] {
        let lease = leases.acquire("leader", holder, Duration::from_hours(1), "").await.unwrap();
        assert!(lease.held);
        leases.release("leader", lease.token).await.unwrap();
    }
    let fence = |token| Fence { lease: "leader", token: Some(token) };
    assert!(!snapshots.save_base(&NewBase { fence: fence(1), ..base(0, 3, "old") }).await.unwrap());
    assert_eq!(snapshots.bases(LATER, 1..=1).await.unwrap(), None);
    assert_eq!(snapshots.state_at(LATER, 1..=1, 100, None).await.unwrap(), None, "nothing is changed");
    assert!(snapshots.save_base(&NewBase { fence: fence(2), ..base(0, 3, "new") }).await.unwrap());
    assert!(!snapshots.save_base(&NewBase { fence: fence(2), ..base(0, 4, "again") }).await.unwrap());
}

async fn the_base_of_the_current_log_is_not_deleted(private: Private) {
    let snapshots = database(&private).await.snapshots;
    assert!(snapshots.save_base(&base(0, 0, "state")).await.unwrap());
    let retention = SnapshotRetention { last: 0, hourly: TimeDelta::zero(), daily: TimeDelta::zero(), events: 100 };
    assert_eq!(retention.apply(&*snapshots, at(i64::from(u32::MAX) * 1_000)).await.unwrap(), 0);
    assert!(snapshots.state_at(LATER, 1..=1, 0, None).await.unwrap().is_some());
}

async fn the_first_and_the_newest_base_of_a_log_are_kept(private: Private) {
    let snapshots = database(&private).await.snapshots;
    for number in 0..5 {
        assert!(snapshots.save_base(&base(number, number * 10, "state")).await.unwrap());
    }
    let bases = snapshots.bases(LATER, 1..=1).await.unwrap().unwrap();
    assert_eq!((bases.first.number, bases.newest.number, bases.newest.cursor.seq), (0, 4, 40));
}
