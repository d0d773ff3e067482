//! The error journal: failed operations of the server.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, Params, Query};
use super::responses::JournalErrors;
use super::state::AppState;
use crate::history::PagePosition;
use crate::journal::{Entry, EntryQuery, JournalError, JournalHealth};
use crate::model::envelope::MAX_NAME_BYTES;

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 2_000;
const DEFAULT_MINUTES: u32 = 60;
/// A week; the journal's memory rarely reaches further back.
const MAX_MINUTES: u32 = 7 * 24 * 60;

/// Filters; an entry must match all of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ErrorsQuery {
    /// Dependency that failed: an upstream, `log`, `database`, …
    #[param(example = "agents", max_length = 512)]
    target: Option<String>,
    /// Operation that failed: `read`, `write`, `delete`, `list`, …, or `rescue` if older data was served instead.
    #[param(example = "read", max_length = 512)]
    operation: Option<String>,
    /// At or after this time. ISO 8601; UTC if it has no offset.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// Maximum number of entries on a page; the first page has the newest ones.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 2000, default = 200)]
    limit: u32,
    /// Number of entries to skip, from the newest one. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page", pattern = "^([A-Za-z0-9_-]{32})?$")]
    cursor: Option<PagePosition>,
}

impl FromParams for ErrorsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let (offset, cursor) = paging::start(params, paging::decode_position)?;
        Ok(Self {
            target: params.short_text_of("target", "bucket", MAX_NAME_BYTES)?,
            operation: params.short_text("operation", MAX_NAME_BYTES)?,
            since: params.time("since")?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            offset,
            cursor,
        })
    }
}

/// Period of the summary.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ErrorHealthQuery {
    /// Length of the period before now, in minutes.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_080, default = 60)]
    minutes: u32,
}

impl FromParams for ErrorHealthQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self { minutes: params.number("minutes", 1..=MAX_MINUTES, DEFAULT_MINUTES)? })
    }
}

/// A page of failed operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorList {
    /// Entries, oldest first. The next page has the entries before them.
    #[schema(value_type = Vec<Entry>)]
    items: Items,
    /// True if there are further pages.
    has_more: bool,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
}

/// Result of a flush.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flushed {
    /// Number of entries written.
    flushed: usize,
    /// Number of entries recorded meanwhile, which are not written yet.
    pending: usize,
}

/// Result of a compaction.
#[derive(Debug, Serialize, ToSchema)]
pub struct Compaction {
    /// Number of files that were merged into one.
    joined_files: usize,
    /// Number of files afterwards.
    file_count: usize,
    /// Number of entries in the merged file.
    entries: usize,
}

/// List failed operations
///
/// Failed requests to upstreams, failed operations of the event log and the database, and responses served from older
/// data, oldest first. The journal keeps the last 2,000 in memory.
#[utoipa::path(
    get, path = "/living-map/errors", tag = "errors", operation_id = "errors",
    params(
        ErrorsQuery,
        ("bucket" = Option<String>, Query, max_length = 512, description = "Synonym of `target`; not both"),
    ),
    responses((status = 200, body = ErrorList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )))
)]
pub async fn errors(
    State(state): State<AppState>,
    Query(query): Query<ErrorsQuery>,
) -> Result<Page<ErrorList>, Problem> {
    let ErrorsQuery { target, operation, since, limit, offset, cursor } = query;
    let bounds = PageBounds::new(&state, limit, offset, cursor.as_ref());
    let before = cursor.map(|position| (position.timestamp, position.id));
    let (skip, wanted) = (offset as usize, limit as usize + 1);
    let mut items = state.journal.filter(&EntryQuery { target, operation, since, before, skip, limit: wanted });
    items.reverse();
    let fitting = bounds.fitting(&items)?.min(limit as usize);
    let has_more = items.len() > fitting;
    items.truncate(fitting);
    let oldest = items.last().map(|entry| PagePosition { timestamp: entry.ts, id: entry.id });
    items.reverse();
    let cursor = move |newest: &Entry| {
        paging::encode_position(oldest.unwrap_or(PagePosition { timestamp: newest.ts, id: newest.id }))
    };
    Page::new(Found { items, has_more }, bounds, cursor, move |next| ErrorList {
        items: Items,
        has_more: next.has_more,
        next_cursor: next.cursor,
        next_offset: next.offset,
    })
    .await
}

/// Summarize failed operations
///
/// A dependency with three or more failed operations in the period is unhealthy. Operations whose failure was covered by
/// older data count as failed and are also counted separately.
#[utoipa::path(
    get, path = "/living-map/errors/health", tag = "errors", operation_id = "errors_health",
    params(ErrorHealthQuery),
    responses((status = 200, body = JournalHealth))
)]
pub async fn errors_health(
    State(state): State<AppState>,
    Query(query): Query<ErrorHealthQuery>,
) -> Json<JournalHealth> {
    Json(state.journal.health(Utc::now(), query.minutes))
}

/// Flush the error journal
///
/// Writes pending entries now. Otherwise they are written in groups of eight and on a timer.
#[utoipa::path(
    post, path = "/living-map/errors/flush", tag = "errors", operation_id = "flush_errors",
    responses((status = 200, body = Flushed), JournalErrors)
)]
pub async fn flush_errors(State(state): State<AppState>) -> Result<Json<Flushed>, Problem> {
    let flushed = state.journal.flush().await.map_err(|error| unavailable(&state, &error))?;
    Ok(Json(Flushed { flushed, pending: state.journal.status().pending }))
}

/// Compact the error journal
///
/// Merges its files into one. Safe at any time: entries recorded meanwhile are neither lost nor duplicated.
#[utoipa::path(
    post, path = "/living-map/errors/compact", tag = "errors", operation_id = "compact_errors",
    responses((status = 200, body = Compaction), JournalErrors)
)]
pub async fn compact_errors(State(state): State<AppState>) -> Result<Json<Compaction>, Problem> {
    let done = state.journal.compact().await.map_err(|error| unavailable(&state, &error))?;
    Ok(Json(Compaction { joined_files: done.joined_files, file_count: done.file_count, entries: done.entries }))
}

fn unavailable(state: &AppState, error: &JournalError) -> Problem {
    Problem::unavailable("the object store of the error journal is unavailable", state.config.retry_after).cause(error)
}
