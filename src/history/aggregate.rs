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
        micros.div_ceil(self.bucket_micros())
    }

    /// Length of a bucket in microseconds.
    pub(super) fn bucket_micros(&self) -> u64 {
        u64::try_from(self.bucket.as_micros()).unwrap_or(u64::MAX).max(1)
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

/// A row as both databases answer: a group's rank from 1 on, or the others' together.
pub(super) struct Counted {
    /// None is the others together.
    pub rank: Option<i64>,
    pub key: Option<String>,
    pub bucket: i64,
    pub events: i64,
    /// Groups behind those with a rank.
    pub other_groups: i64,
}

impl Aggregate {
    /// Puts rows, ordered by rank, in their places. What is out of range, which no database answers, is left out.
    pub(super) fn of(rows: impl IntoIterator<Item = Counted>, buckets: u64) -> Self {
        let buckets = usize::try_from(buckets).unwrap_or(0);
        let mut aggregate = Self::default();
        let mut rank = None;
        for row in rows {
            aggregate.other_groups = row.other_groups.max(0).unsigned_abs();
            let counts = match row.rank {
                None => &mut aggregate.other,
                at => {
                    if at != rank {
                        rank = at;
                        aggregate.series.push(Series { key: row.key, counts: vec![0; buckets] });
                    }
                    let Some(series) = aggregate.series.last_mut() else { continue };
                    &mut series.counts
                }
            };
            counts.resize(buckets, 0);
            let place = usize::try_from(row.bucket).ok().and_then(|bucket| counts.get_mut(bucket));
            if let Some(count) = place {
                *count += row.events.max(0).unsigned_abs();
            }
        }
        aggregate
    }
}
