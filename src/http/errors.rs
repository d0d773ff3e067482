//! The error journal: is anything broken?

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{Document, Problem};
use super::query::{FromParams, Params, Query};
use super::state::AppState;
use crate::journal::{Entry, EntryQuery, JournalError, JournalHealth};
use crate::model::envelope::MAX_NAME_BYTES;

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 2_000;
const DEFAULT_MINUTES: u32 = 60;
/// A week: further back the journal's memory hardly reaches.
const MAX_MINUTES: u32 = 7 * 24 * 60;

/// Which entries are wanted; all filters must hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ErrorsQuery {
    /// What was to do it: a service, `log`, `database`.
    #[param(example = "agents", max_length = 512)]
    target: Option<String>,
    /// `read`, `write`, `delete`, `list`…; `rescue`.
    #[param(example = "read", max_length = 512)]
    operation: Option<String>,
    /// From this time on. ISO 8601 with `Z` or an offset; without one it is taken as UTC.
    #[param(value_type = Option<String>, format = "iso8601", example = "2026-01-19T12:00:00Z")]
    since: Option<DateTime<Utc>>,
    /// The newest so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 2000, default = 200)]
    limit: u32,
}

impl FromParams for ErrorsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            target: params.short_text("target", MAX_NAME_BYTES)?,
            operation: params.short_text("operation", MAX_NAME_BYTES)?,
            since: params.time("since")?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
        })
    }
}

/// Over which time.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ErrorHealthQuery {
    /// Minutes to look back.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_080, default = 60)]
    minutes: u32,
}

impl FromParams for ErrorHealthQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self { minutes: params.number("minutes", 1..=MAX_MINUTES, DEFAULT_MINUTES)? })
    }
}

/// Failed operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorList {
    /// The entries, oldest first.
    items: Vec<Entry>,
}

/// What a flush did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Flushed {
    /// Entries written.
    flushed: usize,
    /// Entries that came meanwhile and wait.
    pending: usize,
}

/// What a compaction did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Compaction {
    /// Files that were joined into one.
    joined_files: usize,
    /// Files there are now.
    file_count: usize,
    /// Entries in the joined file.
    entries: usize,
}

/// What failed, oldest first
///
/// Every failed call of an upstream, operation of the log or the database, and every rescue, of the last 2,000.
#[utoipa::path(
    get, path = "/living-map/errors", tag = "errors", operation_id = "errors",
    params(ErrorsQuery),
    responses(
        (status = 200, body = ErrorList),
        (status = 400, body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn errors(State(state): State<AppState>, Query(query): Query<ErrorsQuery>) -> Json<ErrorList> {
    let ErrorsQuery { target, operation, since, limit } = query;
    let wanted = EntryQuery { target, operation, since, limit: limit as usize };
    Json(ErrorList { items: state.journal.filter(&wanted) })
}

/// Is anything broken?
///
/// A target of three or more failed operations in the period is unhealthy. Operations for which older data stood in are
/// counted with the others, and once more apart.
#[utoipa::path(
    get, path = "/living-map/errors/health", tag = "errors", operation_id = "errors_health",
    params(ErrorHealthQuery),
    responses(
        (status = 200, body = JournalHealth),
        (status = 400, body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn errors_health(
    State(state): State<AppState>,
    Query(query): Query<ErrorHealthQuery>,
) -> Json<JournalHealth> {
    Json(state.journal.health(Utc::now(), query.minutes))
}

/// Write what waits
///
/// Entries are written anyway, eight at a time and on a timer.
#[utoipa::path(
    post, path = "/living-map/errors/flush", tag = "errors", operation_id = "flush_errors",
    responses(
        (status = 200, body = Flushed),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The journal's store fails; the entries go on waiting"),
    )
)]
pub async fn flush_errors(State(state): State<AppState>) -> Result<Json<Flushed>, Problem> {
    let flushed = state.journal.flush().await.map_err(|error| away(&state, &error))?;
    Ok(Json(Flushed { flushed, pending: state.journal.status().pending }))
}

/// Join the files into one
///
/// May be asked for at any time; nothing is lost or doubled by what is recorded meanwhile.
#[utoipa::path(
    post, path = "/living-map/errors/compact", tag = "errors", operation_id = "compact_errors",
    responses(
        (status = 200, body = Compaction),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The journal's store fails; nothing is lost"),
    )
)]
pub async fn compact_errors(State(state): State<AppState>) -> Result<Json<Compaction>, Problem> {
    let done = state.journal.compact().await.map_err(|error| away(&state, &error))?;
    Ok(Json(Compaction { joined_files: done.joined_files, file_count: done.file_count, entries: done.entries }))
}

fn away(state: &AppState, error: &JournalError) -> Problem {
    Problem::unavailable("the journal's store is not available right now", state.config.retry_after).cause(error)
}
