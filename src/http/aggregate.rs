//! Counts of events over time, for charts.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer;
use super::error::Problem;
use super::history::EventsFilter;
use super::query::{FromParams, Params, Query, shown};
use super::responses::DatabaseErrors;
use super::state::AppState;
use crate::history::{Aggregate, AggregateQuery, GroupBy, HistoryQuery};

const DEFAULT_BUCKET: Duration = Duration::from_mins(5);
/// Length of the longest bucket, in days.
const MAX_BUCKET_DAYS: u64 = 31;
/// Buckets in one response; together with [`MAX_GROUPS`] this bounds its size.
const MAX_BUCKETS: u64 = 1_000;
const DEFAULT_GROUPS: u32 = 10;
const MAX_GROUPS: u32 = 50;
/// Period that is counted if `since` is absent.
const DEFAULT_RANGE: TimeDelta = TimeDelta::days(1);

/// Filters, bucket length, and grouping.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CountQuery {
    #[param(ignore)]
    filter: EventsFilter,
    /// Length of a bucket: a whole number followed by `s`, `m`, `h`, or `d`, from `1s` to `31d`. Buckets start at whole
    /// multiples of it since 1970-01-01T00:00:00Z. The period may have at most 1,000 buckets.
    #[param(value_type = Option<String>, format = "bucket", default = "5m", example = "5m")]
    bucket: Duration,
    /// Field by which events are grouped: `event_type`, `entity_id`, or `source_service`.
    #[param(value_type = Option<String>, pattern = "^(event_type|entity_id|source_service)?$", default = "event_type")]
    group_by: GroupBy,
    /// Number of groups that get a series of their own, largest first. The rest is summed in `other`.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 10)]
    limit: u32,
}

impl FromParams for CountQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            filter: EventsFilter::from_params(params)?,
            bucket: params.text("bucket")?.map(read_bucket).transpose()?.unwrap_or(DEFAULT_BUCKET),
            group_by: params.text("group_by")?.map(read_group).transpose()?.unwrap_or_default(),
            limit: params.number("limit", 1..=MAX_GROUPS, DEFAULT_GROUPS)?,
        })
    }
}

fn read_bucket(text: &str) -> Result<Duration, Problem> {
    let read = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
        (1..=MAX_BUCKET_DAYS * 86_400).contains(&seconds).then_some(Duration::from_secs(seconds))
    };
    read().ok_or_else(|| {
        let expected = "expected a whole number and s, m, h or d, from 1s to 31d";
        Problem::bad_request("bucket", format!("{expected}, not '{}'", shown(text)))
    })
}

fn read_group(text: &str) -> Result<GroupBy, Problem> {
    let known = [GroupBy::EventType, GroupBy::EntityId, GroupBy::SourceService];
    known.into_iter().find(|group| group.as_str() == text).ok_or_else(|| {
        let expected = "expected event_type, entity_id or source_service";
        Problem::bad_request("group_by", format!("{expected}, not '{}'", shown(text)))
    })
}

/// Query for all events of the period; the caller adds the filter.
fn aggregate_query(query: &CountQuery, now: DateTime<Utc>) -> Result<AggregateQuery, Problem> {
    let (since, until) = query.filter.period();
    let until = until.unwrap_or(now);
    let since = since.unwrap_or(until - DEFAULT_RANGE);
    if since > until {
        return Err(Problem::bad_request("since", "expected a time in the past"));
    }
    let width = query.bucket.as_secs().cast_signed();
    let origin = DateTime::from_timestamp(since.timestamp().div_euclid(width).saturating_mul(width), 0);
    let origin = origin.ok_or_else(|| Problem::bad_request("since", "expected a later time"))?;
    let aggregate = AggregateQuery {
        filter: HistoryQuery::default(),
        since,
        until,
        origin,
        bucket: query.bucket,
        group_by: query.group_by,
        groups: query.limit,
    };
    let buckets = aggregate.buckets();
    if buckets > MAX_BUCKETS {
        let problem = format!("expected at most {MAX_BUCKETS} buckets between 'since' and 'until', not {buckets}");
        return Err(Problem::bad_request("bucket", problem));
    }
    Ok(aggregate)
}

/// Counts of events over time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "since": "2026-01-19T12:00:00Z", "until": "2026-01-19T12:10:00Z", "bucket_seconds": 300, "group_by": "event_type",
    "buckets": ["2026-01-19T12:00:00Z", "2026-01-19T12:05:00Z"],
    "series": [{"key": "usage.llm", "total": 42, "counts": [40, 2]}],
    "other": {"groups": 3, "total": 5, "counts": [5, 0]}, "total": 47,
}))]
pub struct EventCounts {
    /// Start of the period, inclusive; producers' time.
    since: DateTime<Utc>,
    /// End of the period, exclusive.
    until: DateTime<Utc>,
    /// Length of a bucket in seconds.
    bucket_seconds: u64,
    /// Field whose values the `key`s are.
    #[schema(value_type = String)]
    group_by: &'static str,
    /// Start of each bucket. The first bucket may start before `since` and the last end after `until`; only events
    /// within the period are counted.
    buckets: Vec<DateTime<Utc>>,
    /// Largest groups, in descending order of `total`.
    series: Vec<EventSeries>,
    /// Sum of all other groups; null if there are none.
    #[schema(required)]
    other: Option<OtherSeries>,
    /// Total number of events.
    total: u64,
}

/// Counts of one group.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSeries {
    /// Value of the grouping field; null for events without one.
    #[schema(required)]
    key: Option<String>,
    /// Total number of events.
    total: u64,
    /// Number of events in each of `buckets`.
    counts: Vec<u64>,
}

/// Counts of all groups without a series of their own.
#[derive(Debug, Serialize, ToSchema)]
pub struct OtherSeries {
    /// Number of these groups.
    groups: u64,
    /// Total number of events.
    total: u64,
    /// Number of events in each of `buckets`.
    counts: Vec<u64>,
}

impl EventCounts {
    fn new(query: &AggregateQuery, counted: Aggregate) -> Self {
        let step = TimeDelta::from_std(query.bucket).unwrap_or(TimeDelta::MAX);
        let starts = std::iter::successors(Some(query.origin), |start| start.checked_add_signed(step));
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        let series: Vec<EventSeries> = counted
            .series
            .into_iter()
            .map(|series| EventSeries { key: series.key, total: sum(&series.counts), counts: series.counts })
            .collect();
        let other = (counted.other_groups > 0).then(|| OtherSeries {
            groups: counted.other_groups,
            total: sum(&counted.other),
            counts: counted.other,
        });
        Self {
            since: query.since,
            until: query.until,
            bucket_seconds: query.bucket.as_secs(),
            group_by: query.group_by.as_str(),
            buckets: starts.take(usize::try_from(query.buckets()).unwrap_or(0)).collect(),
            total: series.iter().map(|series| series.total).sum::<u64>()
                + other.as_ref().map_or(0, |other| other.total),
            series,
            other,
        }
    }
}

/// Count events over time
///
/// For charts. Counts by the producers' times; the default period is the last 24 hours. The database reads every event
/// that matches: many days of a busy network take seconds, and a query that takes too long is answered with 503.
#[utoipa::path(
    get, path = "/living-map/history/aggregate", tag = "events", operation_id = "history_aggregate",
    params(EventsFilter, CountQuery),
    responses((status = 200, body = EventCounts), DatabaseErrors)
)]
pub async fn aggregate(State(state): State<AppState>, Query(query): Query<CountQuery>) -> Result<Response, Problem> {
    let aggregate = aggregate_query(&query, Utc::now())?;
    let aggregate = AggregateQuery { filter: query.filter.query(&state), ..aggregate };
    let counted = state.history.aggregate(&aggregate).await;
    let counted = counted.map_err(|error| state.problem(error))?;
    answer::json(EventCounts::new(&aggregate, counted)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::aggregate::Series;

    fn parse(query: &str) -> Result<AggregateQuery, Problem> {
        let now = "2026-01-19T12:34:56Z".parse().unwrap();
        aggregate_query(&CountQuery::from_params(&Params::parse(query)?)?, now)
    }

    #[test]
    fn invalid_parameters_are_named() {
        for (query, parameter) in [
            ("bucket=5", "bucket"),
            ("bucket=m", "bucket"),
            ("bucket=0m", "bucket"),
            ("bucket=32d", "bucket"),
            ("bucket=-5m", "bucket"),
            ("bucket=5%D1%82", "bucket"),
            ("bucket=99999999999999999999d", "bucket"),
            ("bucket=1s", "bucket"),
            ("since=0001-01-01&until=9999-01-01&bucket=31d", "bucket"),
            ("group_by=payload", "group_by"),
            ("limit=0", "limit"),
            ("limit=51", "limit"),
            ("since=2026-01-02&until=2026-01-01", "since"),
            ("since=2027-01-01", "since"),
            ("entity_type=daos", "entity_type"),
        ] {
            let problem = parse(query).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            let named = format!("parameter: Some(\"{parameter}\")");
            assert!(format!("{problem:?}").contains(&named), "{query} {problem:?}");
        }
    }

    #[test]
    fn buckets_are_aligned_and_default_to_5_minutes_of_a_day() {
        let day = parse("").unwrap();
        assert_eq!(day.origin.to_rfc3339(), "2026-01-18T12:30:00+00:00");
        assert_eq!((day.buckets(), day.bucket.as_secs(), day.groups), (289, 300, 10));
        let exact = parse("since=2026-01-19T00:00:00Z&until=2026-01-19T12:00:00Z&bucket=1h").unwrap();
        assert_eq!((exact.buckets(), exact.origin), (12, exact.since));
        let old = parse("since=1969-12-31T23:59:59Z&until=1970-01-01T00:00:01Z&bucket=1d").unwrap();
        assert_eq!((old.buckets(), old.origin.timestamp()), (2, -86_400));
    }

    #[test]
    fn the_response_has_totals() {
        let query = parse("since=2026-01-19T00:00:00Z&until=2026-01-19T02:00:00Z&bucket=1h").unwrap();
        let series = vec![Series { key: None, counts: vec![3, 1] }];
        let counts = EventCounts::new(&query, Aggregate { series, other: vec![0, 2], other_groups: 2 });
        let json = serde_json::to_value(counts).unwrap();
        assert_eq!(json["total"], 6);
        assert_eq!(json["buckets"], serde_json::json!(["2026-01-19T00:00:00Z", "2026-01-19T01:00:00Z"]));
        assert_eq!(json["series"], serde_json::json!([{"key": null, "total": 4, "counts": [3, 1]}]));
        assert_eq!(json["other"], serde_json::json!({"groups": 2, "total": 2, "counts": [0, 2]}));
    }
}
