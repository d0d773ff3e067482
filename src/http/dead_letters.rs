//! Dead letters: messages that failed all their retries. Listing, replaying, and discarding them.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::Problem;
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, Params, PathUuid, Query};
use super::responses::{DatabaseErrors, DatabaseItemErrors, DeadLetterErrors};
use super::state::AppState;
use crate::dead_letters::DeadLetterError;
use crate::history::PagePosition;
use crate::history::dead_letters::{DeadLetter, DeadLetterQuery, DeadLetterStatus};
use crate::model::subject::Pattern;
use crate::model::{Cursor, Notes};

pub mod bulk_replay;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

/// Filters and page, common to listing and replaying.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterFilter {
    /// Subject of the message. `*` matches one token, `>` or `**` all remaining tokens.
    #[param(value_type = Option<String>, format = "subject-pattern", max_length = 256, example = "agent.event.>")]
    subject: Option<Pattern>,
    /// First failed at or after this time. ISO 8601; UTC if it has no offset.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// First failed before this time.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    until: Option<DateTime<Utc>>,
    /// Maximum number of dead letters in the response.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page", pattern = "^([A-Za-z0-9_-]{32})?$")]
    cursor: Option<PagePosition>,
}

impl FromParams for DeadLetterFilter {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let subject = params.parsed("subject")?;
        let (since, until) = params.period()?;
        let limit = params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?;
        let cursor = params.text("cursor")?.map(paging::decode_position).transpose()?;
        Ok(Self { subject, since, until, limit, cursor })
    }
}

impl DeadLetterFilter {
    fn with_status(self, status: Option<DeadLetterStatus>) -> DeadLetterQuery {
        let Self { subject, since, until, limit, cursor } = self;
        DeadLetterQuery { subject, status, since, until, after: cursor, offset: 0, limit }
    }
}

/// Filters of the list; a dead letter must match all of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    #[param(ignore)]
    filter: DeadLetterFilter,
    /// Status of the dead letter.
    status: Option<DeadLetterStatus>,
    /// Number of dead letters to skip. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
}

impl FromParams for DeadLettersQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let filter = DeadLetterFilter::from_params(params)?;
        let (offset, _) = paging::start(params, paging::decode_position)?;
        Ok(Self { status: params.parsed("status")?, filter, offset })
    }
}

/// A message that failed all its retries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LetterItem, example = json!({
    "id": "5b0d7c0e-3c43-5f5e-9d4e-0f8f7f1f5f10", "subject": "agent.event.status", "processor": "history",
    "origin_cursor": "5f3a9c.1042", "origin_stream": "LIVING_MAP", "origin_sequence": 1042, "attempts": 4,
    "error": "the database refused the operation: …", "first_failed_at": "2026-01-19T12:00:00Z",
    "last_failed_at": "2026-01-19T12:00:36Z", "next_attempt_at": "2026-01-20T12:00:36Z", "status": "dead",
}))]
pub struct DeadLetterItem {
    /// Id of the dead letter.
    id: Uuid,
    /// Subject of the message.
    subject: String,
    /// Processor that failed: `history` (history writer), `log` (table log), `learner`, …
    processor: String,
    /// Position of the message in the event log; null if it has none.
    #[schema(value_type = Option<String>)]
    origin_cursor: Option<Cursor>,
    /// Stream that contains the message; `table` for the table log.
    origin_stream: String,
    /// Sequence number in that stream; 0 if the message was never appended.
    origin_sequence: u64,
    /// Number of attempts.
    attempts: u32,
    /// Error of the last attempt.
    error: String,
    /// Time of the first failure.
    first_failed_at: DateTime<Utc>,
    /// Time of the last failure.
    last_failed_at: DateTime<Utc>,
    /// Time of the next automatic attempt; null if there will be none.
    next_attempt_at: Option<DateTime<Utc>>,
    /// Status of the dead letter.
    status: DeadLetterStatus,
}

impl From<DeadLetter> for DeadLetterItem {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            subject: letter.subject,
            processor: letter.processor,
            origin_cursor: letter.origin.cursor,
            origin_stream: letter.origin.stream,
            origin_sequence: letter.origin.seq,
            attempts: letter.attempts,
            error: letter.error,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            next_attempt_at: letter.next_at,
            status: letter.status,
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LetterList)]
pub struct DeadLetterList {
    /// Dead letters, newest first by their first failure.
    #[schema(value_type = Vec<DeadLetterItem>)]
    items: Items,
    /// True if there are further pages.
    has_more: bool,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
}

/// A dead letter with its message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LetterDetail)]
pub struct DeadLetterDetail {
    /// The dead letter.
    #[serde(flatten)]
    letter: DeadLetterItem,
    /// Event id of the message.
    event_id: Uuid,
    /// Service that sent the message.
    source_service: Option<String>,
    /// Producer's time.
    timestamp: DateTime<Utc>,
    /// Payload of the event, any JSON value; null if the message could not be read.
    payload: Value,
    /// What was repaired, or could not be read, in the message; absent where nothing was.
    #[serde(skip_serializing_if = "Notes::is_empty")]
    #[schema(required = false)]
    notes: Notes,
    /// The message as it was sent, in base64; absent where the event has all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    raw_base64: Option<String>,
}

/// List dead letters
///
/// Messages that failed all their retries, newest first.
#[utoipa::path(
    get, path = "/living-map/dead-letters", tag = "errors", operation_id = "dead_letters",
    params(DeadLetterFilter, DeadLettersQuery),
    responses((status = 200, body = DeadLetterList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), DatabaseErrors)
)]
pub async fn dead_letters(
    State(state): State<AppState>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Page<DeadLetterList>, Problem> {
    let DeadLettersQuery { filter, status, offset } = query;
    let bounds = PageBounds::new(&state, filter.limit, offset, filter.cursor.as_ref());
    let wanted = DeadLetterQuery { offset, ..filter.with_status(status) };
    let page = state.dead_letters.list(&wanted).await.map_err(|error| state.problem(error))?;
    let found = Found { items: page.items.into_iter().map(DeadLetterItem::from), has_more: page.has_more };
    Page::new(found, bounds, cursor_after, move |next| DeadLetterList {
        items: Items,
        has_more: next.has_more,
        next_cursor: next.cursor,
        next_offset: next.offset,
    })
    .await
}

/// Get a dead letter with its message
#[utoipa::path(
    get, path = "/living-map/dead-letters/{id}", tag = "errors", operation_id = "dead_letter",
    params(("id" = Uuid, Path, description = "Id of the dead letter")),
    responses((status = 200, body = DeadLetterDetail), DatabaseItemErrors)
)]
pub async fn dead_letter(
    State(state): State<AppState>,
    PathUuid(id): PathUuid,
) -> Result<Json<DeadLetterDetail>, Problem> {
    let found = state.dead_letters.get(id).await.map_err(|error| state.problem(error))?;
    let stored = found.ok_or(DeadLetterError::NotFound)?;
    let raw_base64 = stored.raw.as_ref().map(|raw| BASE64_STANDARD.encode(raw));
    let event = stored.entry().event;
    Ok(Json(DeadLetterDetail {
        letter: stored.letter.into(),
        event_id: event.id,
        source_service: event.source_service,
        timestamp: event.timestamp,
        payload: event.payload,
        notes: event.notes,
        raw_base64,
    }))
}

/// Replay a dead letter
///
/// Processes the message once more. `status` in the response is `replayed`, or `dead` with the new `error`. A message
/// that was replayed before is not processed again.
#[utoipa::path(
    post, path = "/living-map/dead-letters/{id}/replay", tag = "errors", operation_id = "replay_dead_letter",
    params(("id" = Uuid, Path, description = "Id of the dead letter")),
    responses((status = 200, body = DeadLetterItem), DeadLetterErrors)
)]
pub async fn replay_dead_letter(
    State(state): State<AppState>,
    PathUuid(id): PathUuid,
) -> Result<Json<DeadLetterItem>, Problem> {
    let replayed = state.dead_letters.replay(id).await;
    replayed.map(|letter| Json(letter.into())).map_err(|error| state.problem(error))
}

/// Discard a dead letter
///
/// Marks the message as not worth processing. Discarding it again changes nothing.
#[utoipa::path(
    post, path = "/living-map/dead-letters/{id}/discard", tag = "errors", operation_id = "discard_dead_letter",
    params(("id" = Uuid, Path, description = "Id of the dead letter")),
    responses((status = 200, body = DeadLetterItem), DeadLetterErrors)
)]
pub async fn discard_dead_letter(
    State(state): State<AppState>,
    PathUuid(id): PathUuid,
) -> Result<Json<DeadLetterItem>, Problem> {
    let discarded = state.dead_letters.discard(id).await;
    discarded.map(|letter| Json(letter.into())).map_err(|error| state.problem(error))
}

fn cursor_after(letter: &DeadLetterItem) -> String {
    paging::encode_position(PagePosition { timestamp: letter.first_failed_at, id: letter.id })
}
