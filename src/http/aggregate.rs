//! Events counted over time, for charts.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{Document, Problem};
use super::history::EventsFilter;
use super::query::{FromParams, Params, Query, shown};
use super::state::AppState;
use crate::history::{Aggregate, AggregateQuery, GroupBy, HistoryQuery};

const DEFAULT_BUCKET: Duration = Duration::from_mins(5);
/// Days in the longest bucket.
const MAX_BUCKET_DAYS: u64 = 31;
/// Buckets in one answer; with [`MAX_GROUPS`] this bounds what one answer holds.
const MAX_BUCKETS: u64 = 1_000;
const DEFAULT_GROUPS: u32 = 10;
const MAX_GROUPS: u32 = 50;
/// What is counted when `since` is not given.
const DEFAULT_RANGE: TimeDelta = TimeDelta::days(1);

/// How they are counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CountQuery {
    #[param(ignore)]
    filter: EventsFilter,
    /// Length of a bucket: a whole number and `s`, `m`, `h` or `d`, from `1s` to `31d`. Buckets begin at whole multiples
    /// since 1970, in UTC; `since` and `until` make at most 1,000 of them.
    #[param(value_type = Option<String>, format = "bucket", default = "5m", example = "5m")]
    bucket: Duration,
    /// What events are grouped by: `event_type`, `entity_id` or `source_service`.
    #[param(value_type = Option<String>, pattern = "^(event_type|entity_id|source_service)?$", default = "event_type")]
    group_by: GroupBy,
    /// Groups that are told one by one, the largest; the others are told together.
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

/// The question to the record, of any event.
fn question(query: &CountQuery, now: DateTime<Utc>) -> Result<AggregateQuery, Problem> {
    let (since, until) = query.filter.times();
    let until = until.unwrap_or(now);
    let since = since.unwrap_or(until - DEFAULT_RANGE);
    if since > until {
        return Err(Problem::bad_request("since", "expected a time that was"));
    }
    let width = query.bucket.as_secs().cast_signed();
    let origin = DateTime::from_timestamp(since.timestamp().div_euclid(width).saturating_mul(width), 0);
    let origin = origin.ok_or_else(|| Problem::bad_request("since", "expected a later time"))?;
    let asked = AggregateQuery {
        filter: HistoryQuery::default(),
        since,
        until,
        origin,
        bucket: query.bucket,
        group_by: query.group_by,
        groups: query.limit,
    };
    let buckets = asked.buckets();
    if buckets > MAX_BUCKETS {
        let problem =
            format!("expected at most {MAX_BUCKETS} buckets between 'since' and 'until'; these make {buckets}");
        return Err(Problem::bad_request("bucket", problem));
    }
    Ok(asked)
}

/// Events over time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "since": "2026-01-19T12:00:00Z", "until": "2026-01-19T12:10:00Z", "bucket_seconds": 300, "group_by": "event_type",
    "buckets": ["2026-01-19T12:00:00Z", "2026-01-19T12:05:00Z"],
    "series": [{"key": "usage.llm", "total": 42, "counts": [40, 2]}],
    "other": {"groups": 3, "total": 5, "counts": [5, 0]}, "total": 47,
}))]
pub struct EventCounts {
    /// From this producer's time on.
    since: DateTime<Utc>,
    /// Before this one.
    until: DateTime<Utc>,
    /// Length of a bucket in seconds.
    bucket_seconds: u64,
    /// What `key` is.
    #[schema(value_type = String)]
    group_by: &'static str,
    /// When each bucket begins. The first may begin before `since` and the last end after `until`: only what is between
    /// them is counted.
    buckets: Vec<DateTime<Utc>>,
    /// The largest groups, the largest first.
    series: Vec<EventSeries>,
    /// All other groups together; null when there are none.
    #[schema(required)]
    other: Option<OtherSeries>,
    /// Events in all.
    total: u64,
}

/// Events of one group.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSeries {
    /// The group; null is that of the events without one.
    #[schema(required)]
    key: Option<String>,
    /// Events in all.
    total: u64,
    /// Events in each of `buckets`.
    counts: Vec<u64>,
}

/// Events of the groups that are not told one by one.
#[derive(Debug, Serialize, ToSchema)]
pub struct OtherSeries {
    /// How many groups.
    groups: u64,
    /// Events in all.
    total: u64,
    /// Events in each of `buckets`.
    counts: Vec<u64>,
}

impl EventCounts {
    fn of(asked: &AggregateQuery, counted: Aggregate) -> Self {
        let step = TimeDelta::from_std(asked.bucket).unwrap_or(TimeDelta::MAX);
        let starts = std::iter::successors(Some(asked.origin), |start| start.checked_add_signed(step));
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
            since: asked.since,
            until: asked.until,
            bucket_seconds: asked.bucket.as_secs(),
            group_by: asked.group_by.as_str(),
            buckets: starts.take(usize::try_from(asked.buckets()).unwrap_or(0)).collect(),
            total: series.iter().map(|series| series.total).sum::<u64>()
                + other.as_ref().map_or(0, |other| other.total),
            series,
            other,
        }
    }
}

/// Events counted over time, for charts
///
/// By the producers' times. Every event that matches is looked at: over many days of a busy network that takes seconds, and
/// is answered 503 when it takes too long. Without `since` it is the last day.
#[utoipa::path(
    get, path = "/living-map/history/aggregate", tag = "events", operation_id = "history_aggregate",
    params(EventsFilter, CountQuery),
    responses(
        (status = 200, body = EventCounts),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away, or the question takes it too long",
            headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn aggregate(
    State(state): State<AppState>,
    Query(query): Query<CountQuery>,
) -> Result<Json<EventCounts>, Problem> {
    let asked = question(&query, Utc::now())?;
    let asked = AggregateQuery { filter: query.filter.query(&state), ..asked };
    let counted = state.history.aggregate(&asked).await;
    let counted = counted.map_err(|error| state.problem(error))?;
    Ok(Json(EventCounts::of(&asked, counted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::aggregate::Series;

    fn asked(query: &str) -> Result<AggregateQuery, Problem> {
        let now = "2026-01-19T12:34:56Z".parse().unwrap();
        question(&CountQuery::from_params(&Params::parse(query)?)?, now)
    }

    #[test]
    fn absurd_questions_are_refused_by_name() {
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
            let problem = asked(query).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            let named = format!("parameter: Some(\"{parameter}\")");
            assert!(format!("{problem:?}").contains(&named), "{query} {problem:?}");
        }
    }

    #[test]
    fn buckets_are_whole_multiples_and_the_default_is_a_day_of_five_minutes() {
        let day = asked("").unwrap();
        assert_eq!(day.origin.to_rfc3339(), "2026-01-18T12:30:00+00:00");
        assert_eq!((day.buckets(), day.bucket.as_secs(), day.groups), (289, 300, 10));
        let exact = asked("since=2026-01-19T00:00:00Z&until=2026-01-19T12:00:00Z&bucket=1h").unwrap();
        assert_eq!((exact.buckets(), exact.origin), (12, exact.since));
        let old = asked("since=1969-12-31T23:59:59Z&until=1970-01-01T00:00:01Z&bucket=1d").unwrap();
        assert_eq!((old.buckets(), old.origin.timestamp()), (2, -86_400));
    }

    #[test]
    fn an_answer_has_the_sums() {
        let asked = asked("since=2026-01-19T00:00:00Z&until=2026-01-19T02:00:00Z&bucket=1h").unwrap();
        let series = vec![Series { key: None, counts: vec![3, 1] }];
        let counts = EventCounts::of(&asked, Aggregate { series, other: vec![0, 2], other_groups: 2 });
        let json = serde_json::to_value(counts).unwrap();
        assert_eq!(json["total"], 6);
        assert_eq!(json["buckets"], serde_json::json!(["2026-01-19T00:00:00Z", "2026-01-19T01:00:00Z"]));
        assert_eq!(json["series"], serde_json::json!([{"key": null, "total": 4, "counts": [3, 1]}]));
        assert_eq!(json["other"], serde_json::json!({"groups": 2, "total": 2, "counts": [0, 2]}));
    }
}
