//! The map as it was: saved snapshots, and what changed between two moments.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::{Document, Problem};
use super::paging;
use super::query::{FromParams, Params, Query, shown};
use super::state::AppState;
use crate::history::PagePosition;
use crate::history::snapshots::SavedSnapshot;
use crate::live::TimeTravelError;
use crate::map::{self, Comparison};
use crate::model::{Cursor, Snapshot, time};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 500;

/// How far ahead of ours a client's clock may be when it asks for "now".
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(5);

/// A moment as a client names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// A position.
    Cursor(Cursor),
    /// A time of the log.
    Time(DateTime<Utc>),
}

impl Moment {
    /// Reads a parameter; what can be read as a cursor is one.
    ///
    /// # Errors
    /// It is neither, or a time that is yet to come.
    pub fn read(params: &Params, name: &'static str) -> Result<Option<Self>, Problem> {
        let Some(text) = params.text(name)? else { return Ok(None) };
        if let Ok(cursor) = text.parse() {
            return Ok(Some(Self::Cursor(cursor)));
        }
        let expected = |_| {
            let expected = "expected a cursor, or an ISO 8601 time such as 2026-01-19T12:00:00Z";
            Problem::bad_request(name, format!("{expected}, not '{}'", shown(text)))
        };
        let time = params.time(name).map_err(expected)?.unwrap_or_default();
        if time > Utc::now() + CLOCKS_DIFFER {
            return Err(Problem::bad_request(name, "expected a moment of the past"));
        }
        Ok(Some(Self::Time(time)))
    }

    /// The map at this moment.
    ///
    /// # Errors
    /// 410 before the oldest moment, 400 for one that did not happen yet, 503 while it cannot be made.
    pub async fn map(self, state: &AppState, name: &'static str) -> Result<map::State, Problem> {
        state.map()?;
        let made = async {
            match self {
                Self::Cursor(cursor) => state.time_travel.state_at(cursor).await,
                Self::Time(time) => state.time_travel.state_at_time(time).await,
            }
        };
        made.await.map_err(|error| refused(error, name).retry_after(state.config.retry_after))
    }
}

fn refused(error: TimeTravelError, name: &'static str) -> Problem {
    let detail = format!("{name}: {error}");
    match error {
        TimeTravelError::Gone { oldest } | TimeTravelError::OtherEpoch { oldest } => {
            Problem::new(http::StatusCode::GONE, detail)
                .parameter(name)
                .with("oldest_cursor", json!(oldest.cursor))
                .with("oldest_time", json!(time::text(oldest.logged_at)))
        }
        TimeTravelError::Ahead { .. } => Problem::bad_request(name, error),
        TimeTravelError::Unavailable(cause) => Problem::unavailable(
            "the past is not available right now",
            TimeDelta::seconds(5).to_std().unwrap_or_default(),
        )
        .cause(cause),
    }
}

/// Which page.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SavedQuery {
    /// Snapshots on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: u32,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>, format = "page", pattern = "^([A-Za-z0-9_-]{32})?$")]
    cursor: Option<PagePosition>,
}

impl FromParams for SavedQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            cursor: params.text("cursor")?.map(paging::read_position).transpose()?,
        })
    }
}

/// A page of saved snapshots.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavedList {
    /// The snapshots, newest first.
    items: Vec<SavedItem>,
    /// Whether there are more behind this page.
    has_more: bool,
    /// For `cursor`, to get the next page; null on the last one.
    next_cursor: Option<String>,
    /// How far back time travel reaches: the earliest position that `at` and `diff` show; null while that cannot be said.
    #[schema(value_type = Option<String>, required)]
    oldest_cursor: Option<Cursor>,
    /// The log's time there.
    #[schema(required)]
    oldest_time: Option<DateTime<Utc>>,
}

/// A saved snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub struct SavedItem {
    /// Its id.
    id: Uuid,
    /// The position it is exact at; null for those of the service this one replaces.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// The log's time of the last event in it.
    generated_at: DateTime<Utc>,
    /// When it was saved.
    saved_at: DateTime<Utc>,
    /// Version of its shape.
    version: Option<String>,
    /// Bytes of its JSON.
    size_bytes: Option<u64>,
}

impl From<SavedSnapshot> for SavedItem {
    fn from(saved: SavedSnapshot) -> Self {
        let SavedSnapshot { id, cursor, generated_at, saved_at, version, size_bytes } = saved;
        Self { id, cursor, generated_at, saved_at, version, size_bytes }
    }
}

/// Saved snapshots, newest first
#[utoipa::path(
    get, path = "/living-map/snapshots", tag = "map", operation_id = "saved_snapshots",
    params(SavedQuery),
    responses(
        (status = 200, body = SavedList),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The database is away"),
    )
)]
pub async fn saved_snapshots(
    State(state): State<AppState>,
    Query(query): Query<SavedQuery>,
) -> Result<Json<SavedList>, Problem> {
    let listing = state.snapshots.list(query.cursor, query.limit).await;
    let page = listing.map_err(|error| state.problem(error))?;
    let last = page.items.last().filter(|_| page.has_more);
    let next_cursor =
        last.map(|last| paging::write_position(PagePosition { timestamp: last.generated_at, id: last.id }));
    let items = page.items.into_iter().map(SavedItem::from).collect();
    // while the log is away the list is as good as ever
    let oldest = if state.live.is_complete() { state.time_travel.oldest().await.ok() } else { None };
    Ok(Json(SavedList {
        items,
        has_more: page.has_more,
        next_cursor,
        oldest_cursor: oldest.map(|oldest| oldest.cursor),
        oldest_time: oldest.map(|oldest| oldest.logged_at),
    }))
}

/// One saved snapshot, whole
#[utoipa::path(
    get, path = "/living-map/snapshots/{id}", tag = "map", operation_id = "saved_snapshot",
    params(("id" = Uuid, Path, description = "As in the list")),
    responses(
        (status = 200, body = Snapshot),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The database is away"),
    )
)]
pub async fn saved_snapshot(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::bad_request("id", "expected a UUID"))?;
    let found = state.snapshots.get(id).await;
    let found = found.map_err(|error| state.problem(error))?;
    let json = found.ok_or_else(|| Problem::not_found("there is no saved snapshot of this id, or not any more"))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response())
}

/// Between which moments.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// The first moment: a cursor, or a time of the log (ISO 8601).
    #[param(value_type = String, format = "moment", example = "2026-01-19T12:00:00Z")]
    from: Moment,
    /// The second moment; now when not given.
    #[param(value_type = Option<String>, format = "moment", example = "2026-01-19T12:00:00Z")]
    to: Option<Moment>,
}

impl FromParams for DiffQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let from = Moment::read(params, "from")?;
        let from = from.ok_or_else(|| Problem::bad_request("from", "expected a cursor or a time"))?;
        Ok(Self { from, to: Moment::read(params, "to")? })
    }
}

/// What changed between two moments.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diff {
    /// The position of the first moment.
    #[schema(value_type = String)]
    from: Cursor,
    /// The position of the second.
    #[schema(value_type = String)]
    to: Cursor,
    /// The changes.
    #[serde(flatten)]
    changes: Comparison,
}

/// What changed between two moments
///
/// Entities that came, went, or are different, field by field. `from` may be after `to`: then it is the way back.
#[utoipa::path(
    get, path = "/living-map/diff", tag = "map", operation_id = "diff",
    params(DiffQuery),
    responses(
        (status = 200, body = Diff),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 410, body = Document, content_type = "application/problem+json",
            description = "A moment before what is kept, or of another log; `oldest_cursor` and `oldest_time` say where \
                the past begins"),
        (status = 503, body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn diff(State(state): State<AppState>, Query(query): Query<DiffQuery>) -> Result<Json<Diff>, Problem> {
    let to = query.to.unwrap_or_else(|| Moment::Cursor(state.live.cursor()));
    let before = query.from.map(&state, "from").await?;
    let after = to.map(&state, "to").await?;
    let compared = tokio::task::spawn_blocking(move || Diff {
        from: before.cursor(),
        to: after.cursor(),
        changes: before.compare(&after),
    });
    Ok(Json(compared.await.map_err(Problem::internal)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Result<Option<Moment>, Problem> {
        Moment::read(&Params::parse(&format!("at={text}")).unwrap(), "at")
    }

    #[test]
    fn a_moment_is_a_cursor_or_a_time_that_was() {
        let cursor = "5f3a9c.1042".parse().unwrap();
        assert_eq!(moment("5f3a9c.1042").unwrap(), Some(Moment::Cursor(cursor)));
        let time = "2026-01-19T12:00:00.5Z".parse().unwrap();
        assert_eq!(moment("2026-01-19T12:00:00.5Z").unwrap(), Some(Moment::Time(time)));
        assert_eq!(moment("").unwrap(), None);
        for text in ["9000-01-01", "5f.", "tomorrow", "5f.1.2", "-"] {
            let problem = moment(text).unwrap_err();
            assert_eq!(problem.status(), 400, "{text}");
            assert!(format!("{problem:?}").contains("Some(\"at\")"), "{problem:?}");
        }
    }
}
