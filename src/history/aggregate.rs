//! Event counts over time, for charts: by bucket and group.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::HistoryQuery;

/// The attribute that events are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// Subject.
    #[default]
    EventType,
    /// Entity, by the name that the producer used.
    EntityId,
    /// Sending service.
    SourceService,
}

impl GroupBy {
    /// Name of the column, on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventType => "event_type",
            Self::EntityId => "entity_id",
            Self::SourceService => "source_service",
        }
    }
}

/// A query of event counts. The result has at most `buckets * (groups + 1)` counts.
#[derive(Debug, Clone)]
pub struct AggregateQuery {
    /// Filter of events. Its paging is ignored; `since` and `until` below replace its own.
    pub filter: HistoryQuery,
    /// Producer's time, inclusive.
    pub since: DateTime<Utc>,
    /// Producer's time, exclusive.
    pub until: DateTime<Utc>,
    /// Begin of the first bucket, at or before `since`.
    pub origin: DateTime<Utc>,
    /// Length of a bucket, in whole seconds, at least 1.
    pub bucket: Duration,
    /// Grouping.
    pub group_by: GroupBy,
    /// Number of the largest groups that are listed, at least 1; all others are summed up.
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

    /// The filter, limited to the counted time.
    pub(super) fn within(&self) -> HistoryQuery {
        HistoryQuery { since: Some(self.since), until: Some(self.until), ..self.filter.clone() }
    }
}

/// Counts of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The group; none for events without the attribute.
    pub key: Option<String>,
    /// Events in each bucket.
    pub counts: Vec<u64>,
}

/// Result of an [`AggregateQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aggregate {
    /// The largest groups, the largest first, then by name.
    pub series: Vec<Series>,
    /// Events in each bucket of all other groups; empty when there are none.
    pub other: Vec<u64>,
    /// Number of the other groups.
    pub other_groups: u64,
}

/// The part of the statement between counting events by `key` and `bucket` and the number of listed groups; [`LARGEST`] is
/// the rest. Only groups are ranked, not each of their buckets: a tenth of the rows for a day of 10,000 entities.
pub(super) const TOTALS: &str = "
    GROUP BY 1, 2),
    totals AS MATERIALIZED (SELECT key, sum(events) AS total FROM counted GROUP BY key),
    largest AS MATERIALIZED (
        SELECT key, row_number() OVER (ORDER BY total DESC, key NULLS LAST) AS place FROM totals ORDER BY place LIMIT ";

/// The largest groups, then, with a null rank, the sum of all groups. The group without a key is joined separately, so that
/// the others can be joined by hash.
pub(super) const LARGEST: &str = ")
    SELECT place, largest.key, bucket, events, 0 FROM counted JOIN largest ON counted.key = largest.key
    UNION ALL
    SELECT place, largest.key, bucket, events, 0 FROM counted JOIN largest ON counted.key IS NULL AND largest.key IS NULL
    UNION ALL
    SELECT NULL, NULL, bucket, CAST(sum(events) AS bigint), (SELECT count(*) FROM totals) FROM counted GROUP BY bucket
    ORDER BY 1 NULLS LAST";

/// A row of the result: a bucket of one group, or of all groups together.
pub(super) struct BucketCount {
    /// Rank of the group by size, from 1; none for all groups together.
    pub rank: Option<i64>,
    pub key: Option<String>,
    pub bucket: i64,
    pub events: i64,
    /// Number of groups, in rows of all groups together.
    pub groups: i64,
}

impl Aggregate {
    /// Collects rows, ordered by rank. Buckets out of range are ignored.
    pub(super) fn of(rows: impl IntoIterator<Item = BucketCount>, buckets: u64) -> Self {
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
            let bucket = usize::try_from(row.bucket).ok().and_then(|bucket| counts.get_mut(bucket));
            if let Some(count) = bucket {
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
