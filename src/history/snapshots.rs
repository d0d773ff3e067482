//! Saved snapshots: the map as a client would have received it at a position, and the fold state there.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use uuid::Uuid;

use super::bases::Bases;
use super::leases::Fence;
use super::{Page, PagePosition, Result};
use crate::config::defaults;
use crate::model::{Cursor, Epoch};

/// Versions of saved states that the caller can read.
pub type StateVersions = RangeInclusive<i32>;

/// A snapshot to save.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// Id.
    pub id: Uuid,
    /// Position of the last event in it.
    pub cursor: Cursor,
    /// The log's time of the last event in it.
    pub logged_at: DateTime<Utc>,
    /// Time of saving, by the server's clock.
    pub saved_at: DateTime<Utc>,
    /// Version of the wire format.
    pub version: String,
    /// The snapshot in the wire format: JSON.
    pub data: Bytes,
    /// Fold state, compressed.
    pub state: Bytes,
    /// Version of the encoding of `state`; builds with another version cannot read it.
    pub state_version: i32,
}

/// A base to save.
#[derive(Debug, Clone)]
pub struct NewBase {
    /// Position at which the map begins.
    pub cursor: Cursor,
    /// One more than that of the newest base known to the caller, or 0.
    pub number: u64,
    /// Position whose map it is; `None` for the empty map.
    pub carried: Option<Cursor>,
    /// Version of the encoding of the state.
    pub state_version: i32,
    /// The map at `cursor`; `None` for the empty map. A snapshot that exists at this position is left unchanged.
    pub snapshot: Option<NewSnapshot>,
    /// Rejects the base of a leader that has been replaced.
    pub fence: Fence,
}

/// A saved snapshot in a list. One of the replaced service has no position in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// Id.
    pub id: Uuid,
    /// Position of the last event in it.
    pub cursor: Option<Cursor>,
    /// The log's time of the last event in it, as the snapshot itself has it.
    pub generated_at: DateTime<Utc>,
    /// Time of saving.
    pub saved_at: DateTime<Utc>,
    /// Version of the wire format.
    pub version: Option<String>,
    /// Size in the wire format, in bytes, uncompressed.
    pub size_bytes: Option<u64>,
}

/// A saved fold state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// Position of the last event in it.
    pub cursor: Cursor,
    /// The log's time of the last event in it.
    pub logged_at: DateTime<Utc>,
    /// State, compressed.
    pub bytes: Bytes,
}

/// The position of a saved snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// Id.
    pub id: Uuid,
    /// Position of the last event in it.
    pub cursor: Cursor,
    /// The log's time of the last event in it.
    pub logged_at: DateTime<Utc>,
}

/// Snapshot store. Methods may be called from any task; a write is durable when it returns.
#[async_trait]
pub trait Snapshots: Send + Sync + 'static {
    /// Inserts a snapshot; false if there is one with this position and state version, which is left unchanged.
    async fn save(&self, snapshot: &NewSnapshot) -> Result<bool>;

    /// A page after `after` and `offset` more, newest first by [`SavedSnapshot::generated_at`]; `limit` is at least 1.
    async fn list(&self, after: Option<PagePosition>, offset: u32, limit: u32) -> Result<Page<SavedSnapshot>>;

    /// A snapshot in the wire format: JSON.
    async fn get(&self, id: Uuid) -> Result<Option<Bytes>>;

    /// The newest state of this log in one of these versions at or before position `seq` and, if `time` is given, with a
    /// [`SavedState::logged_at`] at or before it.
    async fn state_at(
        &self,
        epoch: Epoch,
        versions: StateVersions,
        seq: u64,
        time: Option<DateTime<Utc>>,
    ) -> Result<Option<SavedState>>;

    /// Position and log time of the oldest state of this log in one of these versions at or after position `seq`.
    async fn oldest_state(
        &self,
        epoch: Epoch,
        versions: StateVersions,
        seq: u64,
    ) -> Result<Option<(Cursor, DateTime<Utc>)>>;

    /// The bases of this log for these state versions; `None` if there are none.
    async fn bases(&self, epoch: Epoch, versions: StateVersions) -> Result<Option<Bases>>;

    /// Inserts a base with its snapshot, in one transaction. False if there is a base with this number, or a later leader:
    /// nothing is changed then.
    async fn save_base(&self, base: &NewBase) -> Result<bool>;

    /// The last position of this log whose map is the base of another log; `None` if there is none.
    async fn carried_from(&self, epoch: Epoch, versions: StateVersions) -> Result<Option<u64>>;

    /// All snapshots with a position in a log, newest first; without the newest base of the current log, which replicas begin
    /// with.
    async fn positions(&self) -> Result<Vec<SnapshotPosition>>;

    /// Deletes snapshots; returns the number deleted.
    async fn delete(&self, ids: &[Uuid]) -> Result<u64>;
}

/// Saved snapshots that are kept. Those without a position in a log, of the service this one replaces, are never deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Saved snapshots and time travel")]
pub struct SnapshotRetention {
    /// The newest ones: this many, of any age. The default is that of the service this one replaces.
    #[arg(skip = 100_usize)]
    pub last: usize,
    /// Before them one per hour, up to this age.
    #[arg(skip = TimeDelta::days(7))]
    pub hourly: TimeDelta,
    /// Before those one per day, up to this age: the history after them is not kept longer either.
    #[arg(skip = TimeDelta::days(30))]
    pub daily: TimeDelta,
    /// Events between two kept snapshots: busy days keep more than one snapshot. Time travel folds the events after the
    /// snapshot before the moment, so fewer events make it faster and the database larger.
    #[arg(id = "SNAPSHOT_KEEP_EVENTS", env, long = "snapshot-keep-events", default_value_t = 20_000,
        value_parser = clap::value_parser!(u64).range(1_000..=u32::MAX.into()))]
    pub events: u64,
}

impl Default for SnapshotRetention {
    fn default() -> Self {
        defaults()
    }
}

impl SnapshotRetention {
    /// The snapshots of `saved` (newest first) to delete. The newest of an hour or a day is kept, so that the result does not
    /// depend on how often this is called.
    #[must_use]
    pub fn expired(&self, saved: &[SnapshotPosition], now: DateTime<Utc>) -> Vec<Uuid> {
        let (mut hours, mut days) = (HashSet::new(), HashSet::new());
        let mut expired = Vec::new();
        let mut newer: Option<Cursor> = None;
        for (index, SnapshotPosition { id, cursor, logged_at: at }) in saved.iter().enumerate() {
            let age = now.signed_duration_since(at);
            let first_of_hour = hours.insert(at.timestamp().div_euclid(3_600));
            let first_of_day = days.insert(at.timestamp().div_euclid(86_400));
            let older = saved.get(index + 1).map(|older| older.cursor).filter(|older| older.epoch == cursor.epoch);
            let newer_seq = newer.filter(|newer| newer.epoch == cursor.epoch).map_or(cursor.seq, |newer| newer.seq);
            // time travel may begin at the oldest snapshot of a log
            let needed = older.is_none_or(|older| newer_seq.saturating_sub(older.seq) > self.events);
            let kept = index < self.last
                || (age <= self.hourly && first_of_hour)
                || (age <= self.daily && (first_of_day || needed));
            if kept {
                newer = Some(*cursor);
            } else {
                expired.push(*id);
            }
        }
        expired
    }

    /// Deletes expired snapshots; returns the number deleted.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn apply(&self, snapshots: &dyn Snapshots, now: DateTime<Utc>) -> Result<u64> {
        let expired = self.expired(&snapshots.positions().await?, now);
        if expired.is_empty() { Ok(0) } else { snapshots.delete(&expired).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Snapshots with `events` events from one to the next.
    fn every(minutes: i64, count: i64, events: u64, now: DateTime<Utc>) -> Vec<SnapshotPosition> {
        let position = |n: i64| SnapshotPosition {
            id: Uuid::from_u128(n.unsigned_abs().into()),
            cursor: Cursor { epoch: Epoch(1), seq: (count - n).unsigned_abs() * events },
            logged_at: now - TimeDelta::minutes(n * minutes),
        };
        (0..count).map(position).collect()
    }

    #[test]
    fn the_newest_then_hourly_then_daily_snapshots_are_kept() {
        let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        // forty days, one each five minutes
        let saved = every(5, 40 * 24 * 12, 10, now);
        let retention = SnapshotRetention::default();
        let gone: HashSet<Uuid> = retention.expired(&saved, now).into_iter().collect();
        let kept: Vec<_> = saved.iter().filter(|saved| !gone.contains(&saved.id)).copied().collect();
        assert!(saved[..100].iter().all(|saved| !gone.contains(&saved.id)), "the last hundred are kept");
        let ages = |from: TimeDelta, to: TimeDelta| {
            kept.iter().filter(|saved| (from..to).contains(&(now - saved.logged_at))).count()
        };
        assert_eq!(ages(TimeDelta::days(1), TimeDelta::days(7)), 6 * 24);
        assert_eq!(ages(TimeDelta::days(8), TimeDelta::days(29)), 21);
        assert_eq!(ages(TimeDelta::days(31), TimeDelta::days(50)), 0);
        assert!(retention.expired(&kept, now).is_empty(), "a second run deletes nothing more");
    }

    #[test]
    fn more_snapshots_are_kept_where_there_are_many_events() {
        let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        // thirty days of 300,000 events
        let saved = every(5, 30 * 24 * 12, 1_042, now);
        let retention = SnapshotRetention::default();
        let gone: HashSet<Uuid> = retention.expired(&saved, now).into_iter().collect();
        let kept: Vec<_> = saved.iter().filter(|saved| !gone.contains(&saved.id)).copied().collect();
        assert!(kept.windows(2).all(|two| two[0].cursor.seq - two[1].cursor.seq <= retention.events));
        assert!(kept.len() < 800, "{} are kept", kept.len());
        assert!(retention.expired(&kept, now).is_empty(), "a second run deletes nothing more");
    }

    #[test]
    fn the_newest_are_kept_at_any_age() {
        let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        let saved = every(60 * 24 * 365, 100, 1_000_000, now);
        assert!(SnapshotRetention::default().expired(&saved, now).is_empty());
    }
}
