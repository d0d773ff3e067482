//! The newest entries, in memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Entry;

/// Failed operations in the period that make a target unhealthy.
const UNHEALTHY_FROM: u64 = 3;

/// Filters for entries; all must match.
#[derive(Debug, Clone, Default)]
pub struct EntryQuery {
    /// The component that failed.
    pub target: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// Minimum time.
    pub since: Option<DateTime<Utc>>,
    /// Time and id of an entry: only entries before it.
    pub before: Option<(DateTime<Utc>, Uuid)>,
    /// Number of entries to skip, from the newest one.
    pub skip: usize,
    /// Maximum number of entries.
    pub limit: usize,
}

/// Failed operations in a period, by target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "period_minutes": 60, "total_errors": 4, "rescued_errors": 3,
    "per_target": {"agents": 3, "database": 1}, "unhealthy_targets": ["agents"],
}))]
pub struct JournalHealth {
    /// The period in minutes, up to now.
    pub period_minutes: u32,
    /// Failed operations, including those served from fallback data.
    pub total_errors: u64,
    /// Failed operations served from fallback data.
    pub rescued_errors: u64,
    /// Failed operations by target.
    pub per_target: BTreeMap<String, u64>,
    /// Targets with three or more failed operations.
    pub unhealthy_targets: Vec<String>,
}

/// A bounded queue of the newest entries, ordered by time.
#[derive(Debug)]
pub struct RecentEntries {
    entries: VecDeque<Entry>,
    capacity: usize,
}

impl RecentEntries {
    pub const fn new(capacity: usize) -> Self {
        Self { entries: VecDeque::new(), capacity }
    }

    pub fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        if self.entries.len() > self.capacity {
            self.entries.pop_front();
        }
    }

    /// Adds entries of an earlier run.
    pub fn merge(&mut self, earlier: Vec<Entry>) {
        let known: HashSet<Uuid> = self.entries.iter().map(|entry| entry.id).collect();
        let mut all: Vec<Entry> = earlier.into_iter().filter(|entry| !known.contains(&entry.id)).collect();
        all.extend(self.entries.drain(..));
        all.sort_by_key(|entry| entry.ts);
        let surplus = all.len().saturating_sub(self.capacity);
        self.entries = all.into_iter().skip(surplus).collect();
    }

    /// Marks the latest matching failure as served from fallback data. Returns false if there is none.
    pub fn mark_rescued(&mut self, op: &str, target: &str) -> bool {
        let latest = self.entries.iter_mut().rev().find(|entry| entry.op == op && entry.target == target);
        latest.map(|entry| entry.rescued = true).is_some()
    }

    /// The newest matching entries, oldest first: by time, then by id.
    pub fn filter(&self, query: &EntryQuery) -> Vec<Entry> {
        let is_wanted = |entry: &&Entry| {
            query.target.as_ref().is_none_or(|target| entry.target == *target)
                && query.operation.as_ref().is_none_or(|operation| entry.op == *operation)
                && query.since.is_none_or(|since| entry.ts >= since)
                && query.before.is_none_or(|(time, id)| place(entry) < (time.timestamp_micros(), id))
        };
        let mut wanted: Vec<&Entry> = self.entries.iter().filter(is_wanted).collect();
        wanted.sort_by_key(|entry| Reverse(place(entry)));
        let mut page: Vec<Entry> = wanted.into_iter().skip(query.skip).take(query.limit).cloned().collect();
        page.reverse();
        page
    }

    /// Failed operations in the `minutes` before `now`.
    pub fn health(&self, now: DateTime<Utc>, minutes: u32) -> JournalHealth {
        let since = now - TimeDelta::minutes(minutes.into());
        let failures = self.entries.iter().filter(|entry| entry.ts >= since && entry.is_failure());
        let (mut total_errors, mut rescued_errors, mut per_target) = (0, 0, BTreeMap::<String, u64>::new());
        for entry in failures {
            total_errors += 1;
            rescued_errors += u64::from(entry.rescued);
            *per_target.entry(entry.target.clone()).or_default() += 1;
        }
        let unhealthy = per_target.iter().filter(|(_, errors)| **errors >= UNHEALTHY_FROM);
        let unhealthy_targets = unhealthy.map(|(target, _)| target.clone()).collect();
        JournalHealth { period_minutes: minutes, total_errors, rescued_errors, per_target, unhealthy_targets }
    }
}

/// Position of an entry in lists, with the precision of cursors.
fn place(entry: &Entry) -> (i64, Uuid) {
    (entry.ts.timestamp_micros(), entry.id)
}

#[cfg(test)]
mod tests {
    use super::super::entry::RESCUE;
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn entry(minute: i64, op: &str, target: &str) -> Entry {
        Entry { ts: at(minute), ..Entry::new(op, target, "/key", "no", false) }
    }

    fn minutes(entries: &[Entry]) -> Vec<i64> {
        entries.iter().map(|entry| (entry.ts - at(0)).num_minutes()).collect()
    }

    #[test]
    fn the_newest_are_kept_and_listed_oldest_first() {
        let mut recent = RecentEntries::new(3);
        for minute in 0..5 {
            recent.push(entry(minute, "read", "dao"));
        }
        assert_eq!(minutes(&recent.filter(&EntryQuery { limit: 9, ..EntryQuery::default() })), [2, 3, 4]);
        assert_eq!(minutes(&recent.filter(&EntryQuery { limit: 2, ..EntryQuery::default() })), [3, 4]);
    }

    #[test]
    fn all_filters_must_hold() {
        let mut recent = RecentEntries::new(10);
        for (minute, op, target) in [(0, "read", "dao"), (1, "write", "dao"), (2, "read", "city"), (3, "read", "dao")] {
            recent.push(entry(minute, op, target));
        }
        let all = EntryQuery { limit: 10, ..EntryQuery::default() };
        let dao = EntryQuery { target: Some("dao".into()), ..all.clone() };
        assert_eq!(minutes(&recent.filter(&dao)), [0, 1, 3]);
        assert_eq!(minutes(&recent.filter(&EntryQuery { operation: Some("read".into()), ..dao.clone() })), [0, 3]);
        assert_eq!(minutes(&recent.filter(&EntryQuery { since: Some(at(1)), ..dao })), [1, 3]);
    }

    #[test]
    fn three_errors_in_the_period_make_a_target_unhealthy() {
        let mut recent = RecentEntries::new(10);
        for (minute, op, target) in [
            (0, "read", "dao"),
            (50, "read", "city"),
            (51, "read", "city"),
            (52, RESCUE, "city"),
            (53, "read", "dao"),
            (54, "read", "dao"),
            (55, "read", "city"),
        ] {
            recent.push(entry(minute, op, target));
        }
        assert!(recent.mark_rescued("read", "city"));
        assert!(!recent.mark_rescued("write", "city"));
        let health = recent.health(at(60), 30);
        assert_eq!((health.total_errors, health.rescued_errors), (5, 1));
        assert_eq!(health.per_target, BTreeMap::from([("city".into(), 3), ("dao".into(), 2)]));
        assert_eq!(health.unhealthy_targets, ["city"]);
        assert_eq!(recent.health(at(60), 60).unhealthy_targets, ["city", "dao"]);
    }

    #[test]
    fn entries_of_an_earlier_run_come_first_without_duplicates() {
        let mut recent = RecentEntries::new(3);
        let (old, known, new) = (entry(0, "read", "a"), entry(1, "read", "a"), entry(2, "read", "a"));
        recent.push(known.clone());
        recent.push(new.clone());
        recent.merge(vec![known.clone(), old.clone()]);
        let all = EntryQuery { limit: 9, ..EntryQuery::default() };
        assert_eq!(recent.filter(&all), [old, known, new]);
        recent.merge((-5..0).map(|minute| entry(minute, "read", "a")).collect());
        assert_eq!(minutes(&recent.filter(&all)), [0, 1, 2], "the oldest are dropped");
    }
}
