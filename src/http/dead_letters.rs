//! Messages that could not be processed.

use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::error::{Document, Problem};
use super::paging;
use super::query::{FromParams, Params, Query};
use super::state::AppState;
use crate::dead_letters::DeadLetterError;
use crate::history::PagePosition;
use crate::history::dead_letters::{DeadLetter, DeadLetterQuery, DeadLetterStatus};
use crate::model::Cursor;
use crate::model::subject::Pattern;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

/// Which letters are wanted; all filters must hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LettersQuery {
    /// The message's subject; `*` stands for one token, `>` for the rest.
    #[param(value_type = Option<String>, format = "subject-pattern", max_length = 256, example = "agent.event.>")]
    subject: Option<Pattern>,
    /// What became of it.
    status: Option<DeadLetterStatus>,
    /// First failed at this time or later. ISO 8601 with `Z` or an offset; without one it is taken as UTC.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// First failed before this time.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    until: Option<DateTime<Utc>>,
    /// Letters on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>, format = "page", pattern = "^([A-Za-z0-9_-]{32})?$")]
    cursor: Option<PagePosition>,
}

impl FromParams for LettersQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let query = Self {
            subject: params.parsed("subject")?,
            status: params.parsed("status")?,
            since: params.time("since")?,
            until: params.time("until")?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            cursor: params.text("cursor")?.map(paging::read_position).transpose()?,
        };
        if let (Some(since), Some(until)) = (query.since, query.until)
            && since > until
        {
            return Err(Problem::bad_request("since", "expected a time not after 'until'"));
        }
        Ok(query)
    }
}

impl LettersQuery {
    fn wanted(self) -> DeadLetterQuery {
        let Self { subject, status, since, until, limit, cursor } = self;
        DeadLetterQuery { subject, status, since, until, after: cursor, limit }
    }
}

/// Which letters are replayed: the filters of the list; those that are dead where no status is given.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReplayQuery {
    /// The message's subject; `*` stands for one token, `>` for the rest.
    #[param(value_type = Option<String>, format = "subject-pattern", max_length = 256, example = "agent.event.>")]
    subject: Option<Pattern>,
    /// `dead` or `retrying`.
    #[param(value_type = Option<String>, pattern = "^(dead|retrying)?$", default = "dead")]
    status: DeadLetterStatus,
    /// First failed at this time or later.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// First failed before this time.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    until: Option<DateTime<Utc>>,
    /// Letters at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
    /// `next_cursor` of the answer before.
    #[param(value_type = Option<String>, format = "page", pattern = "^([A-Za-z0-9_-]{32})?$")]
    cursor: Option<PagePosition>,
    /// Only say which ones.
    #[param(value_type = Option<bool>, default = false)]
    dry_run: bool,
}

impl FromParams for ReplayQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let LettersQuery { subject, status, since, until, limit, cursor } = LettersQuery::from_params(params)?;
        let status = status.unwrap_or(DeadLetterStatus::Dead);
        if !matches!(status, DeadLetterStatus::Dead | DeadLetterStatus::Retrying) {
            return Err(Problem::bad_request("status", "expected 'dead' or 'retrying': others are not replayed"));
        }
        Ok(Self { subject, status, since, until, limit, cursor, dry_run: params.flag("dry_run")? })
    }
}

/// A message that could not be processed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "5b0d7c0e-3c43-5f5e-9d4e-0f8f7f1f5f10", "subject": "agent.event.status", "processor": "history",
    "origin_cursor": "5f3a9c.1042", "origin_stream": "LIVING_MAP", "origin_sequence": 1042, "attempts": 4,
    "error": "the database refused the operation: …", "first_failed_at": "2026-01-19T12:00:00Z",
    "last_failed_at": "2026-01-19T12:00:36Z", "next_attempt_at": "2026-01-20T12:00:36Z", "status": "dead",
}))]
pub struct LetterItem {
    /// Its id.
    id: Uuid,
    /// The message's subject.
    subject: String,
    /// The part of the server in which it failed: `history` (the record), `log` (the table log), `learner`…
    processor: String,
    /// The message's position in the log; null where it has none.
    #[schema(value_type = Option<String>)]
    origin_cursor: Option<Cursor>,
    /// The stream that holds it; `table` for the table log.
    origin_stream: String,
    /// Its position there; 0 where it never got one.
    origin_sequence: u64,
    /// How often it was tried.
    attempts: u32,
    /// Why the last attempt failed.
    error: String,
    /// When it failed first.
    first_failed_at: DateTime<Utc>,
    /// When it failed last.
    last_failed_at: DateTime<Utc>,
    /// When it is tried again by itself; null when it is not.
    next_attempt_at: Option<DateTime<Utc>>,
    /// What became of it.
    status: DeadLetterStatus,
}

impl From<DeadLetter> for LetterItem {
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

/// A page of letters.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterList {
    /// The letters, newest first by their first failure.
    items: Vec<LetterItem>,
    /// Whether there are more behind this page.
    has_more: bool,
    /// For `cursor`, to get the next page; null on the last one.
    next_cursor: Option<String>,
}

/// A letter with its message.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterDetail {
    /// The letter.
    #[serde(flatten)]
    letter: LetterItem,
    /// The message's id as an event.
    event_id: Uuid,
    /// Who sent it.
    source_service: Option<String>,
    /// The producer's time.
    timestamp: DateTime<Utc>,
    /// What happened: any JSON value; null where the body was no JSON.
    payload: Value,
}

/// What a bulk replay did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkReplay {
    /// Whether nothing was done.
    dry_run: bool,
    /// Letters that match, on this page.
    matched: usize,
    /// Letters that were processed.
    replayed: usize,
    /// Letters that failed again, or could not be tried.
    failed: usize,
    /// The letters, as they are now.
    items: Vec<LetterItem>,
    /// Whether there are more that match, or time was up before all of these were tried.
    has_more: bool,
    /// For `cursor`, to go on; null when there are no more.
    next_cursor: Option<String>,
}

/// Messages that could not be processed, newest first
#[utoipa::path(
    get, path = "/living-map/dead-letters", tag = "errors", operation_id = "dead_letters",
    params(LettersQuery),
    responses(
        (status = 200, body = LetterList),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The database is away"),
    )
)]
pub async fn dead_letters(
    State(state): State<AppState>,
    Query(query): Query<LettersQuery>,
) -> Result<Json<LetterList>, Problem> {
    let page = state.dead_letters.list(&query.wanted()).await.map_err(|error| problem(error.into(), &state))?;
    let next_cursor = page.items.last().filter(|_| page.has_more).map(cursor_after);
    let items = page.items.into_iter().map(LetterItem::from).collect();
    Ok(Json(LetterList { items, has_more: page.has_more, next_cursor }))
}

/// One of them, with its message
#[utoipa::path(
    get, path = "/living-map/dead-letters/{id}", tag = "errors", operation_id = "dead_letter",
    params(("id" = Uuid, Path, description = "As in the list")),
    responses(
        (status = 200, body = LetterDetail),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The database is away"),
    )
)]
pub async fn dead_letter(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<LetterDetail>, Problem> {
    let found = state.dead_letters.get(read_id(&id)?).await.map_err(|error| problem(error.into(), &state))?;
    let stored = found.ok_or_else(|| problem(DeadLetterError::NotFound, &state))?;
    let event = stored.entry().event;
    Ok(Json(LetterDetail {
        letter: stored.letter.into(),
        event_id: event.id,
        source_service: event.source_service,
        timestamp: event.timestamp,
        payload: event.payload,
    }))
}

/// Try one of them once more
///
/// `status` says how that went: `replayed`, or `dead` with the new `error`. One that was replayed already stays as it is.
#[utoipa::path(
    post, path = "/living-map/dead-letters/{id}/replay", tag = "errors", operation_id = "replay_dead_letter",
    params(("id" = Uuid, Path, description = "As in the list")),
    responses(
        (status = 200, body = LetterItem),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 409, body = Document, content_type = "application/problem+json", description = "It was discarded"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database, or what processing it takes, is away"),
    )
)]
pub async fn replay_dead_letter(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<LetterItem>, Problem> {
    let replayed = state.dead_letters.replay(read_id(&id)?).await;
    replayed.map(|letter| Json(letter.into())).map_err(|error| problem(error, &state))
}

/// Mark one of them as not worth processing
///
/// One that was discarded already stays as it is.
#[utoipa::path(
    post, path = "/living-map/dead-letters/{id}/discard", tag = "errors", operation_id = "discard_dead_letter",
    params(("id" = Uuid, Path, description = "As in the list")),
    responses(
        (status = 200, body = LetterItem),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 409, body = Document, content_type = "application/problem+json", description = "It was replayed"),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The database is away"),
    )
)]
pub async fn discard_dead_letter(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<LetterItem>, Problem> {
    let discarded = state.dead_letters.discard(read_id(&id)?).await;
    discarded.map(|letter| Json(letter.into())).map_err(|error| problem(error, &state))
}

/// Try all that match once more
///
/// With `dry_run` it only says which ones. It ends early when half of the time is up that a request may take.
#[utoipa::path(
    post, path = "/living-map/dead-letters/replay", tag = "errors", operation_id = "replay_dead_letters",
    params(ReplayQuery),
    responses(
        (status = 200, body = BulkReplay),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The database is away"),
    )
)]
pub async fn replay_dead_letters(
    State(state): State<AppState>,
    Query(query): Query<ReplayQuery>,
) -> Result<Json<BulkReplay>, Problem> {
    let until = Instant::now() + state.config.request_timeout / 2;
    let ReplayQuery { subject, status, since, until: before, limit, cursor, dry_run } = query;
    let wanted = DeadLetterQuery { subject, status: Some(status), since, until: before, after: cursor, limit };
    let page = state.dead_letters.list(&wanted).await.map_err(|error| problem(error.into(), &state))?;
    let (mut items, mut last) = (Vec::new(), None);
    let mut done = BulkReplay {
        dry_run,
        matched: page.items.len(),
        replayed: 0,
        failed: 0,
        items: Vec::new(),
        has_more: page.has_more,
        next_cursor: None,
    };
    for letter in page.items {
        if Instant::now() >= until {
            done.has_more = true;
            break;
        }
        last = Some(cursor_after(&letter));
        if dry_run {
            items.push(letter.into());
            continue;
        }
        match state.dead_letters.replay(letter.id).await {
            Ok(letter) => {
                let replayed = letter.status == DeadLetterStatus::Replayed;
                done.replayed += usize::from(replayed);
                done.failed += usize::from(!replayed);
                items.push(letter.into());
            }
            Err(error @ DeadLetterError::History(_)) => return Err(problem(error, &state)),
            // it is told with the others, as it was
            Err(error) => {
                done.failed += 1;
                items.push(DeadLetter { error: error.to_string(), ..letter }.into());
            }
        }
    }
    Ok(Json(BulkReplay { items, next_cursor: last.filter(|_| done.has_more), ..done }))
}

fn read_id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::bad_request("id", "expected a UUID"))
}

fn cursor_after(letter: &DeadLetter) -> String {
    paging::write_position(PagePosition { timestamp: letter.first_failed_at, id: letter.id })
}

fn problem(error: DeadLetterError, state: &AppState) -> Problem {
    match error {
        DeadLetterError::NotFound => Problem::not_found("there is no dead letter of this id, or not any more"),
        DeadLetterError::Status(_) | DeadLetterError::Changed | DeadLetterError::NoProcessor(_) => {
            Problem::new(StatusCode::CONFLICT, error.to_string())
        }
        DeadLetterError::Unavailable(_) => Problem::unavailable(error.to_string(), state.config.retry_after),
        DeadLetterError::History(error) => Problem::from(error).retry_after(state.config.retry_after),
    }
}
