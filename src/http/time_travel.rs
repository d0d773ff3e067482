//! The map at past moments: saved snapshots, and differences between two moments.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answer;
use super::error::{DEFAULT_RETRY_AFTER, Problem};
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, Params, PathUuid, Query, shown};
use super::requester::Requester;
use super::responses::{DatabaseErrors, DatabaseItemErrors, TimeTravelErrors};
use super::state::AppState;
use crate::history::PagePosition;
use crate::history::snapshots::SavedSnapshot;
use crate::live::{TimeTravelError, TimeTravelRequest};
use crate::map::{self, Comparison};
use crate::model::{Cursor, Snapshot, time};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

/// Tolerated lead of a client's clock: a request for the present moment is not rejected as one for the future.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// A past moment, given as a position or a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointInTime {
    /// Position in the event log.
    Cursor(Cursor),
    /// Time at which the log took an event.
    Time(DateTime<Utc>),
}

impl PointInTime {
    /// Reads a parameter: a cursor, otherwise a time.
    ///
    /// # Errors
    /// 400: neither of them, or a time in the future.
    pub fn parse(params: &Params, name: &'static str) -> Result<Option<Self>, Problem> {
        let Some(text) = params.text(name)? else { return Ok(None) };
        if let Ok(cursor) = text.parse() {
            return Ok(Some(Self::Cursor(cursor)));
        }
        let expected = |_| {
            let expected = "expected a cursor, or an ISO 8601 time such as 2026-01-19T12:00:00Z";
            Problem::bad_request(name, format!("{expected}, not '{}'", shown(text)))
        };
        let time = params.time(name).map_err(expected)?.unwrap_or_default();
        if time > Utc::now() + CLOCK_TOLERANCE {
            return Err(Problem::bad_request(name, "expected a time in the past"));
        }
        Ok(Some(Self::Time(time)))
    }

    /// The map at this moment, computed in the slot of `request`.
    ///
    /// # Errors
    /// 410: before the oldest moment that is kept. 400: in the future. 503: cannot be computed at present.
    pub async fn map(
        self,
        state: &AppState,
        request: &mut TimeTravelRequest,
        name: &'static str,
    ) -> Result<map::State, Problem> {
        state.map()?;
        let past = match self {
            Self::Cursor(cursor) => request.state_at(cursor).await,
            Self::Time(time) => request.state_at_time(time).await,
        };
        past.map_err(|error| state.problem(problem(error, name)))
    }
}

/// Problem document for an error about the moment in the parameter `name`.
pub fn problem(error: TimeTravelError, name: &'static str) -> Problem {
    let detail = format!("{name}: {error}");
    match error {
        TimeTravelError::Gone { oldest } | TimeTravelError::OtherEpoch { oldest } => {
            Problem::new(StatusCode::GONE, detail)
                .parameter(name)
                .with("oldest_cursor", json!(oldest.cursor))
                .with("oldest_time", json!(time::text(oldest.logged_at)))
        }
        TimeTravelError::Ahead { .. } => Problem::bad_request(name, error),
        TimeTravelError::Busy(_) => Problem::unavailable(detail, DEFAULT_RETRY_AFTER),
        TimeTravelError::Unavailable(cause) => {
            Problem::unavailable("the map at this moment cannot be computed at present", DEFAULT_RETRY_AFTER)
                .cause(cause)
        }
    }
}

/// Page of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SavedQuery {
    /// Maximum number of snapshots on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: u32,
    /// Number of snapshots to skip. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page", pattern = "^([A-Za-z0-9_-]{32})?$")]
    cursor: Option<PagePosition>,
}

impl FromParams for SavedQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let limit = params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?;
        let (offset, cursor) = paging::start(params, paging::decode_position)?;
        Ok(Self { limit, offset, cursor })
    }
}

/// A page of saved snapshots.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavedList {
    /// Saved snapshots, newest first.
    #[schema(value_type = Vec<SavedItem>)]
    items: Items,
    /// True if there are further pages.
    has_more: bool,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
    /// Oldest position that `at`, `from`, and `to` can refer to; null if it cannot be determined at present.
    #[schema(value_type = Option<String>, required)]
    oldest_cursor: Option<Cursor>,
    /// Time of the event log at that position.
    #[schema(required)]
    oldest_time: Option<DateTime<Utc>>,
}

/// A saved snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavedItem {
    /// Id of the saved snapshot.
    id: Uuid,
    /// Position of the event log that it shows; null for snapshots of the service that this one replaces.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Time at which the log took the last event that it shows.
    generated_at: DateTime<Utc>,
    /// Time at which it was saved.
    saved_at: DateTime<Utc>,
    /// Version of its format.
    version: Option<String>,
    /// Size of its JSON in bytes.
    size_bytes: Option<u64>,
}

impl From<SavedSnapshot> for SavedItem {
    fn from(saved: SavedSnapshot) -> Self {
        let SavedSnapshot { id, cursor, generated_at, saved_at, version, size_bytes } = saved;
        Self { id, cursor, generated_at, saved_at, version, size_bytes }
    }
}

/// List saved snapshots
///
/// Newest first.
#[utoipa::path(
    get, path = "/living-map/snapshots", tag = "map", operation_id = "saved_snapshots",
    params(SavedQuery),
    responses((status = 200, body = SavedList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), DatabaseErrors)
)]
pub async fn saved_snapshots(
    State(state): State<AppState>,
    Query(query): Query<SavedQuery>,
) -> Result<Page<SavedList>, Problem> {
    let SavedQuery { limit, offset, cursor } = query;
    let bounds = PageBounds::new(&state, limit, offset, cursor.as_ref());
    let page = state.snapshots.list(cursor, offset, limit).await.map_err(|error| state.problem(error))?;
    // the list does not depend on the log, so it is returned even if the log is unavailable
    let oldest = if state.live.is_complete() { state.time_travel.oldest().await.ok() } else { None };
    let found = Found { items: page.items.into_iter().map(SavedItem::from), has_more: page.has_more };
    let cursor =
        |saved: &SavedItem| paging::encode_position(PagePosition { timestamp: saved.generated_at, id: saved.id });
    Page::new(found, bounds, cursor, move |next| SavedList {
        items: Items,
        has_more: next.has_more,
        next_cursor: next.cursor,
        next_offset: next.offset,
        oldest_cursor: oldest.map(|oldest| oldest.cursor),
        oldest_time: oldest.map(|oldest| oldest.logged_at),
    })
    .await
}

/// Get a saved snapshot
#[utoipa::path(
    get, path = "/living-map/snapshots/{id}", tag = "map", operation_id = "saved_snapshot",
    params(("id" = Uuid, Path, description = "Id of the saved snapshot")),
    responses((status = 200, body = Snapshot), DatabaseItemErrors)
)]
pub async fn saved_snapshot(State(state): State<AppState>, PathUuid(id): PathUuid) -> Result<Response, Problem> {
    let found = state.snapshots.get(id).await.map_err(|error| state.problem(error))?;
    let json = found.ok_or_else(|| Problem::not_found("there is no saved snapshot with this id, or no longer"))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response())
}

/// Moments to compare.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// First moment: a cursor, or an ISO 8601 time.
    #[param(value_type = String, format = "moment", example = "2026-01-19T12:00:00Z")]
    from: PointInTime,
    /// Second moment; the present if absent.
    #[param(value_type = Option<String>, format = "moment", example = "2026-01-19T12:00:00Z")]
    to: Option<PointInTime>,
}

impl FromParams for DiffQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let from = PointInTime::parse(params, "from")?;
        let from = from.ok_or_else(|| Problem::bad_request("from", "expected a cursor or a time"))?;
        Ok(Self { from, to: PointInTime::parse(params, "to")? })
    }
}

/// Differences between two moments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diff {
    /// Position of the first moment.
    #[schema(value_type = String)]
    from: Cursor,
    /// Position of the second moment.
    #[schema(value_type = String)]
    to: Cursor,
    /// Differences.
    #[serde(flatten)]
    changes: Comparison,
}

/// Compare two moments
///
/// Entities that were added, removed, or changed, field by field. If `from` is after `to`, the result is the reverse
/// difference.
#[utoipa::path(
    get, path = "/living-map/diff", tag = "map", operation_id = "diff",
    params(DiffQuery),
    responses((status = 200, body = Diff), TimeTravelErrors)
)]
pub async fn diff(
    State(state): State<AppState>,
    requester: Requester,
    Query(query): Query<DiffQuery>,
) -> Result<Response, Problem> {
    // both maps in one slot, which is held until they are compared
    let mut request = state.time_travel.request(requester.client());
    let to = query.to.unwrap_or_else(|| PointInTime::Cursor(state.live.cursor()));
    let before = query.from.map(&state, &mut request, "from").await?;
    let after = to.map(&state, &mut request, "to").await?;
    let compare = move || Ok(Diff { from: before.cursor(), to: after.cursor(), changes: before.compare(&after) });
    answer::json_from(compare).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<PointInTime>, Problem> {
        PointInTime::parse(&Params::parse(&format!("at={text}")).unwrap(), "at")
    }

    #[test]
    fn a_point_in_time_is_a_cursor_or_a_past_time() {
        let cursor = "5f3a9c.1042".parse().unwrap();
        assert_eq!(parse("5f3a9c.1042").unwrap(), Some(PointInTime::Cursor(cursor)));
        let time = "2026-01-19T12:00:00.5Z".parse().unwrap();
        assert_eq!(parse("2026-01-19T12:00:00.5Z").unwrap(), Some(PointInTime::Time(time)));
        assert_eq!(parse("").unwrap(), None);
        for text in ["9000-01-01", "5f.", "tomorrow", "5f.1.2", "-"] {
            let problem = parse(text).unwrap_err();
            assert_eq!(problem.status(), 400, "{text}");
            assert!(format!("{problem:?}").contains("Some(\"at\")"), "{problem:?}");
        }
    }
}
