//! Snapshot store, in both databases.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use living_map::history::snapshots::{NewSnapshot, SavedState, SnapshotRetention};
use living_map::history::{self, HistoryConfig, PagePosition, Snapshots};
use living_map::model::{Cursor, Epoch};
use uuid::Uuid;

use super::{EPOCH, Private, at, pooled, postgres, sqlite};

on_both!(
    a_snapshot_is_read_back_unchanged,
    pages_go_from_the_newest_to_the_oldest_without_a_gap,
    a_state_is_found_by_log_version_and_position,
    only_expired_snapshots_are_deleted,
);

async fn snapshots(private: &Private) -> Arc<dyn Snapshots> {
    history::open(&private.url, &HistoryConfig { pooler: private.pooler, ..HistoryConfig::default() })
        .await
        .unwrap()
        .snapshots
}

fn snapshot(seq: u64) -> NewSnapshot {
    NewSnapshot {
        id: Uuid::now_v7(),
        cursor: Cursor { epoch: EPOCH, seq },
        logged_at: at(i64::try_from(seq).unwrap()),
        saved_at: at(1_000_000),
        version: "1.0".into(),
        data: format!(r#"{{"n": {seq}}}"#).into(),
        state: Bytes::from(format!("\0state {seq}")),
        state_version: 1,
    }
}

async fn a_snapshot_is_read_back_unchanged(private: Private) {
    let snapshots = snapshots(&private).await;
    let saved = snapshot(7);
    assert!(snapshots.save(&saved).await.unwrap());
    assert!(!snapshots.save(&snapshot(7)).await.unwrap(), "a position is saved once");
    let page = snapshots.list(None, 0, 10).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let item = &page.items[0];
    assert_eq!((item.id, item.cursor, item.generated_at), (saved.id, Some(saved.cursor), saved.logged_at));
    assert_eq!((item.saved_at, item.version.as_deref(), item.size_bytes), (saved.saved_at, Some("1.0"), Some(8)));
    assert_eq!(snapshots.get(saved.id).await.unwrap().unwrap(), saved.data);
    assert_eq!(snapshots.get(Uuid::nil()).await.unwrap(), None);
}

async fn pages_go_from_the_newest_to_the_oldest_without_a_gap(private: Private) {
    let snapshots = snapshots(&private).await;
    for seq in 1..=7 {
        // two at each time
        snapshots.save(&NewSnapshot { logged_at: at((seq / 2).try_into().unwrap()), ..snapshot(seq) }).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = snapshots.list(after, 0, 2).await.unwrap();
        seen.extend(page.items.iter().map(|item| (item.generated_at, item.id)));
        if !page.has_more {
            break;
        }
        after = page.items.last().map(|last| PagePosition { timestamp: last.generated_at, id: last.id });
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let page = snapshots.list(None, 4, 2).await.unwrap();
    assert!(page.has_more);
    assert_eq!(page.items.iter().map(|item| (item.generated_at, item.id)).collect::<Vec<_>>(), seen[4..6]);
}

async fn a_state_is_found_by_log_version_and_position(private: Private) {
    let snapshots = snapshots(&private).await;
    for seq in [3, 9] {
        snapshots.save(&snapshot(seq)).await.unwrap();
    }
    // another state version at the same position, and another log
    snapshots.save(&NewSnapshot { state_version: 2, ..snapshot(3) }).await.unwrap();
    let other = Cursor { epoch: Epoch(1), seq: 5 };
    snapshots.save(&NewSnapshot { cursor: other, ..snapshot(5) }).await.unwrap();
    let expected = |seq| {
        let NewSnapshot { cursor, logged_at, state, .. } = snapshot(seq);
        Some(SavedState { cursor, logged_at, bytes: state })
    };
    for (seq, found) in [(2, None), (3, expected(3)), (8, expected(3)), (9, expected(9)), (u64::MAX, expected(9))] {
        assert_eq!(snapshots.state_at(EPOCH, 1..=1, seq, None).await.unwrap(), found, "{seq}");
    }
    let of_nine = snapshot(9).logged_at;
    let before_nine = of_nine - TimeDelta::microseconds(1);
    for (seq, time, found) in [(9, of_nine, expected(9)), (9, before_nine, expected(3)), (8, of_nine, expected(3))] {
        assert_eq!(snapshots.state_at(EPOCH, 1..=1, seq, Some(time)).await.unwrap(), found, "{seq} at {time}");
    }
    assert_eq!(snapshots.state_at(EPOCH, 3..=3, 9, None).await.unwrap(), None);
    assert_eq!(snapshots.state_at(EPOCH, 2..=3, 9, None).await.unwrap(), expected(3), "a range of versions");
    let oldest = async |seq| snapshots.oldest_state(EPOCH, 1..=1, seq).await.unwrap().map(|(cursor, _)| cursor.seq);
    assert_eq!((oldest(0).await, oldest(4).await, oldest(10).await), (Some(3), Some(9), None));
}

async fn only_expired_snapshots_are_deleted(private: Private) {
    let snapshots = snapshots(&private).await;
    for seq in 1..=6 {
        let hours = i64::try_from(seq).unwrap() * 20 * 60_000;
        snapshots.save(&NewSnapshot { logged_at: at(hours), ..snapshot(seq) }).await.unwrap();
    }
    let retention = SnapshotRetention { last: 2, hourly: TimeDelta::days(1), daily: TimeDelta::days(2), events: 100 };
    assert_eq!(retention.apply(&*snapshots, at(2 * 3_600_000)).await.unwrap(), 2);
    let kept: BTreeSet<u64> =
        snapshots.list(None, 0, 10).await.unwrap().items.iter().map(|item| item.cursor.unwrap().seq).collect();
    // the last two, in the third and the second hour, the newest of the first hour, and the oldest of the log
    assert_eq!(kept, BTreeSet::from([1, 2, 5, 6]));
}
