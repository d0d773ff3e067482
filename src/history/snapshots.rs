//! Saved snapshots: what a client would have got at a position, and the fold's exact state there.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{HistoryError, PagePosition};
use crate::model::{Cursor, Epoch};

/// A snapshot to be saved.
#[derive(Debug, Clone)]
pub struct NewSnapshot {
    /// Its id.
    pub id: Uuid,
    /// The position it is exact at.
    pub cursor: Cursor,
    /// The log's time of the last event in it.
    pub logged_at: DateTime<Utc>,
    /// The server's clock when it was saved.
    pub saved_at: DateTime<Utc>,
    /// Version of the wire form.
    pub version: String,
    /// The wire form: JSON.
    pub data: Bytes,
    /// The fold's state, compressed.
    pub state: Bytes,
    /// Which builds can read `state`.
    pub state_version: i32,
}

/// A saved snapshot in a list. Those of the service we replace have no place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// Its id.
    pub id: Uuid,
    /// The position it is exact at.
    pub cursor: Option<Cursor>,
    /// What it says itself: the log's time of the last event in it.
    pub generated_at: DateTime<Utc>,
    /// When it was saved.
    pub saved_at: DateTime<Utc>,
    /// Version of the wire form.
    pub version: Option<String>,
    /// Bytes of the wire form, uncompressed.
    pub size_bytes: Option<u64>,
}

/// One page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The snapshots.
    pub items: Vec<SavedSnapshot>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
}

/// The fold's state as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// The position it is exact at.
    pub cursor: Cursor,
    /// The log's time of the last event in it.
    pub logged_at: DateTime<Utc>,
    /// The state, compressed.
    pub bytes: Bytes,
}

/// Where a saved snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedPlace {
    /// Its id.
    pub id: Uuid,
    /// The position it is exact at.
    pub cursor: Cursor,
    /// The log's time of the last event in it.
    pub logged_at: DateTime<Utc>,
}

/// Saved snapshots. All methods may be called from any task; what is saved is durable when the call returns.
#[async_trait]
pub trait Snapshots: Send + Sync + 'static {
    /// Saves one; false if there is one of this position and state version already, which stays.
    async fn save(&self, snapshot: &NewSnapshot) -> Result<bool, HistoryError>;

    /// A page, newest first by [`SavedSnapshot::generated_at`], from behind `after`; `limit` at least 1.
    async fn list(&self, after: Option<PagePosition>, limit: u32) -> Result<SnapshotPage, HistoryError>;

    /// The wire form of one: JSON.
    async fn get(&self, id: Uuid) -> Result<Option<Bytes>, HistoryError>;

    /// The newest state of this log and version at or before position `seq`, and of a [`SavedState::logged_at`] at or
    /// before `time` if one is given.
    async fn state_at(
        &self,
        epoch: Epoch,
        version: i32,
        seq: u64,
        time: Option<DateTime<Utc>>,
    ) -> Result<Option<SavedState>, HistoryError>;

    /// Where the oldest state of this log and version at or after position `seq` is, and its log's time.
    async fn oldest_state(
        &self,
        epoch: Epoch,
        version: i32,
        seq: u64,
    ) -> Result<Option<(Cursor, DateTime<Utc>)>, HistoryError>;

    /// All that have a place in a log, newest first.
    async fn saved(&self) -> Result<Vec<SavedPlace>, HistoryError>;

    /// Deletes these; the number deleted.
    async fn delete(&self, ids: &[Uuid]) -> Result<u64, HistoryError>;
}

/// Which saved snapshots are kept. Those without a place in a log, of the service we replace, are not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// The newest ones: this many, whatever their age.
    pub last: usize,
    /// Behind them one for each hour, up to this age.
    pub hourly: TimeDelta,
    /// Behind those one for each day, up to this age: the history that goes on from them is not kept longer either.
    pub daily: TimeDelta,
    /// Up to that age one stays also where without it more events than this would be between two that stay, as a moment of
    /// the past costs folding those behind the one before it; and the oldest of a log, where the past may begin.
    pub events: u64,
}

impl Default for Thinning {
    /// The last 100 as the service we replace, a week of hours, and a month of days as the history.
    fn default() -> Self {
        Self { last: 100, hourly: TimeDelta::days(7), daily: TimeDelta::days(30), events: 20_000 }
    }
}

impl Thinning {
    /// Those of `saved` (newest first) that go. The newest of an hour or a day stays, so that what stays does not depend
    /// on how often this is asked.
    #[must_use]
    pub fn superfluous(&self, saved: &[SavedPlace], now: DateTime<Utc>) -> Vec<Uuid> {
        let (mut hours, mut days) = (HashSet::new(), HashSet::new());
        let mut superfluous = Vec::new();
        let mut newer: Option<Cursor> = None;
        for (place, SavedPlace { id, cursor, logged_at: at }) in saved.iter().enumerate() {
            let age = now.signed_duration_since(at);
            let first_of_hour = hours.insert(at.timestamp().div_euclid(3_600));
            let first_of_day = days.insert(at.timestamp().div_euclid(86_400));
            let older = saved.get(place + 1).map(|older| older.cursor).filter(|older| older.epoch == cursor.epoch);
            let newer_seq = newer.filter(|newer| newer.epoch == cursor.epoch).map_or(cursor.seq, |newer| newer.seq);
            // the past may begin with the oldest of a log
            let needed = older.is_none_or(|older| newer_seq.saturating_sub(older.seq) > self.events);
            let kept = place < self.last
                || (age <= self.hourly && first_of_hour)
                || (age <= self.daily && (first_of_day || needed));
            if kept {
                newer = Some(*cursor);
            } else {
                superfluous.push(*id);
            }
        }
        superfluous
    }

    /// Deletes what goes; the number deleted.
    ///
    /// # Errors
    /// The database's.
    pub async fn apply(&self, snapshots: &dyn Snapshots, now: DateTime<Utc>) -> Result<u64, HistoryError> {
        let superfluous = self.superfluous(&snapshots.saved().await?, now);
        if superfluous.is_empty() { Ok(0) } else { snapshots.delete(&superfluous).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `events` from one to the next.
    fn every(minutes: i64, count: i64, events: u64, now: DateTime<Utc>) -> Vec<SavedPlace> {
        let place = |n: i64| SavedPlace {
            id: Uuid::from_u128(n.unsigned_abs().into()),
            cursor: Cursor { epoch: Epoch(1), seq: (count - n).unsigned_abs() * events },
            logged_at: now - TimeDelta::minutes(n * minutes),
        };
        (0..count).map(place).collect()
    }

    #[test]
    fn the_last_stay_then_one_an_hour_then_one_a_day_then_none() {
        let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        // forty days, one each five minutes
        let saved = every(5, 40 * 24 * 12, 10, now);
        let thinning = Thinning::default();
        let gone: HashSet<Uuid> = thinning.superfluous(&saved, now).into_iter().collect();
        let kept: Vec<_> = saved.iter().filter(|saved| !gone.contains(&saved.id)).copied().collect();
        assert!(saved[..100].iter().all(|saved| !gone.contains(&saved.id)), "the last hundred stay");
        let ages = |from: TimeDelta, to: TimeDelta| {
            kept.iter().filter(|saved| (from..to).contains(&(now - saved.logged_at))).count()
        };
        assert_eq!(ages(TimeDelta::days(1), TimeDelta::days(7)), 6 * 24);
        assert_eq!(ages(TimeDelta::days(8), TimeDelta::days(29)), 21);
        assert_eq!(ages(TimeDelta::days(31), TimeDelta::days(50)), 0);
        assert!(thinning.superfluous(&kept, now).is_empty(), "thinning again takes nothing more");
    }

    #[test]
    fn where_much_happens_more_of_them_stay() {
        let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        // thirty days of 300,000 events
        let saved = every(5, 30 * 24 * 12, 1_042, now);
        let thinning = Thinning::default();
        let gone: HashSet<Uuid> = thinning.superfluous(&saved, now).into_iter().collect();
        let kept: Vec<_> = saved.iter().filter(|saved| !gone.contains(&saved.id)).copied().collect();
        assert!(kept.windows(2).all(|two| two[0].cursor.seq - two[1].cursor.seq <= thinning.events));
        assert!(kept.len() < 800, "{} stay", kept.len());
        assert!(thinning.superfluous(&kept, now).is_empty(), "thinning again takes nothing more");
    }

    #[test]
    fn few_stay_however_old_they_are() {
        let now: DateTime<Utc> = "2026-11-20T00:00:00Z".parse().unwrap();
        let saved = every(60 * 24 * 365, 100, 1_000_000, now);
        assert!(Thinning::default().superfluous(&saved, now).is_empty());
    }
}
