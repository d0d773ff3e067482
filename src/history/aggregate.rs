//! Counting events over time, for charts: how many there were in each bucket, by group.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::HistoryQuery;

/// What events are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// Their subject.
    #[default]
    EventType,
    /// What they are about, by the name that the producer used.
    EntityId,
    /// Who sent them.
    SourceService,
}

impl GroupBy {
    /// The name of the column, on the wire and in the databases.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventType => "event_type",
            Self::EntityId => "entity_id",
            Self::SourceService => "source_service",
        }
    }
}

/// What is to be counted. The answer has at most `buckets * (groups + 1)` counts, whatever the record holds.
#[derive(Debug, Clone)]
pub struct AggregateQuery {
    /// Which events: its filters count, its paging does not. `since` and `until` are taken from the buckets.
    pub filter: HistoryQuery,
    /// From this producer's time on. The first bucket begins here.
    pub since: DateTime<Utc>,
    /// Before this one.
    pub until: DateTime<Utc>,
    /// The beginning of the first bucket, at or before `since`.
    pub origin: DateTime<Utc>,
    /// Length of a bucket, in whole seconds, at least 1.
    pub bucket: Duration,
    /// What events are grouped by.
    pub group_by: GroupBy,
    /// The largest groups are told one by one, this many, at least 1; the others together.
    pub groups: u32,
}

impl AggregateQuery {
    /// Number of buckets.
    #[must_use]
    pub fn buckets(&self) -> u64 {
        let micros = (self.until - self.origin).num_microseconds().unwrap_or(i64::MAX).max(0).unsigned_abs();
        micros.div_ceil(self.bucket_micros().unsigned_abs())
    }

    /// Length of a bucket in microseconds.
    pub(super) fn bucket_micros(&self) -> i64 {
        i64::try_from(self.bucket.as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// The filter within the time that is counted.
    pub(super) fn within(&self) -> HistoryQuery {
        HistoryQuery { since: Some(self.since), until: Some(self.until), ..self.filter.clone() }
    }
}

/// Counts of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The group; none is that of events without one.
    pub key: Option<String>,
    /// Events in each bucket.
    pub counts: Vec<u64>,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aggregate {
    /// The largest groups, the largest first, then by name.
    pub series: Vec<Series>,
    /// Events in each bucket of all the other groups; empty when there are no others.
    pub other: Vec<u64>,
    /// How many groups those are.
    pub other_groups: u64,
}

/// What comes after the events are counted by `key` and `bucket`, and before the number of groups that are told: with
/// [`LARGEST`], the rest of both databases' statement. Only the groups are ranked, not each of their buckets: of a day of
/// 10,000 entities that is a tenth.
pub(super) const TOTALS: &str = "
    GROUP BY 1, 2),
    totals AS MATERIALIZED (SELECT key, sum(events) AS total FROM counted GROUP BY key),
    largest AS MATERIALIZED (
        SELECT key, row_number() OVER (ORDER BY total DESC, key NULLS LAST) AS place FROM totals ORDER BY place LIMIT ";

/// The largest groups one by one, then, without a place, all of them together. The group without a name is joined apart,
/// so that the others can be joined by hash.
pub(super) const LARGEST: &str = ")
    SELECT place, largest.key, bucket, events, 0 FROM counted JOIN largest ON counted.key = largest.key
    UNION ALL
    SELECT place, largest.key, bucket, events, 0 FROM counted JOIN largest ON counted.key IS NULL AND largest.key IS NULL
    UNION ALL
    SELECT NULL, NULL, bucket, CAST(sum(events) AS bigint), (SELECT count(*) FROM totals) FROM counted GROUP BY bucket
    ORDER BY 1 NULLS LAST";

/// A row as both databases answer: of a group with its place from 1 on, or of all groups together.
pub(super) struct Counted {
    /// None is all together.
    pub rank: Option<i64>,
    pub key: Option<String>,
    pub bucket: i64,
    pub events: i64,
    /// How many groups there are; said where they are all together.
    pub groups: i64,
}

impl Aggregate {
    /// Puts rows, ordered by place, in theirs. What is out of range, which no database answers, is left out.
    pub(super) fn of(rows: impl IntoIterator<Item = Counted>, buckets: u64) -> Self {
        let buckets = usize::try_from(buckets).unwrap_or(0);
        let mut aggregate = Self::default();
        let mut rank = None;
        let mut all = vec![0; buckets];
        let mut groups = 0;
        for row in rows {
            let counts = if row.rank.is_none() {
                groups = row.groups.max(0).unsigned_abs();
                &mut all
            } else {
                if row.rank != rank {
                    rank = row.rank;
                    aggregate.series.push(Series { key: row.key, counts: vec![0; buckets] });
                }
                let Some(series) = aggregate.series.last_mut() else { continue };
                &mut series.counts
            };
            let place = usize::try_from(row.bucket).ok().and_then(|bucket| counts.get_mut(bucket));
            if let Some(count) = place {
                *count += row.events.max(0).unsigned_abs();
            }
        }
        aggregate.other_groups = groups.saturating_sub(aggregate.series.len() as u64);
        if aggregate.other_groups > 0 {
            for series in &aggregate.series {
                for (all, own) in all.iter_mut().zip(&series.counts) {
                    *all = all.saturating_sub(*own);
                }
            }
            aggregate.other = all;
        }
        aggregate
    }
}
