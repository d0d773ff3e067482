//! Replay of all dead letters that match a filter.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{DeadLetterFilter, DeadLetterItem, cursor_after};
use crate::dead_letters::DeadLetterError;
use crate::history::dead_letters::{DeadLetter, DeadLetterStatus};
use crate::http::error::Problem;
use crate::http::query::{FromParams, Params, Query};
use crate::http::responses::DatabaseErrors;
use crate::http::state::AppState;

/// Filters of the dead letters to replay.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReplayQuery {
    #[param(ignore)]
    filter: DeadLetterFilter,
    /// Status of the dead letters: `dead` or `retrying`.
    #[param(value_type = Option<String>, pattern = "^(dead|retrying)?$", default = "dead")]
    status: DeadLetterStatus,
    /// Only list the dead letters that match, without replaying them.
    #[param(value_type = Option<bool>, default = false)]
    dry_run: bool,
}

impl FromParams for ReplayQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let status = params.parsed("status")?.unwrap_or(DeadLetterStatus::Dead);
        if !matches!(status, DeadLetterStatus::Dead | DeadLetterStatus::Retrying) {
            return Err(Problem::bad_request("status", "expected 'dead' or 'retrying'; others cannot be replayed"));
        }
        Ok(Self { filter: DeadLetterFilter::from_params(params)?, status, dry_run: params.flag("dry_run")? })
    }
}

/// Result of a bulk replay.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkReplay {
    /// True for a dry run, which changes nothing.
    dry_run: bool,
    /// Number of dead letters on this page that match.
    matched: usize,
    /// Number of messages that were processed.
    replayed: usize,
    /// Number of messages that failed again or could not be tried.
    failed: usize,
    /// The dead letters in their present state.
    items: Vec<DeadLetterItem>,
    /// True if there are further matches, also if the time limit ended this page early.
    has_more: bool,
    /// Pass it as `cursor` to continue; null if there are no further matches.
    next_cursor: Option<String>,
}

/// Replay all dead letters that match
///
/// With `dry_run` it only lists them. It ends early when half of the request timeout has passed.
#[utoipa::path(
    post, path = "/living-map/dead-letters/replay", tag = "errors", operation_id = "replay_dead_letters",
    params(DeadLetterFilter, ReplayQuery),
    responses((status = 200, body = BulkReplay), DatabaseErrors)
)]
pub async fn replay_dead_letters(
    State(state): State<AppState>,
    Query(query): Query<ReplayQuery>,
) -> Result<Json<BulkReplay>, Problem> {
    let deadline = Instant::now() + state.config.request_timeout / 2;
    let ReplayQuery { filter, status, dry_run } = query;
    let wanted = filter.with_status(Some(status));
    let page = state.dead_letters.list(&wanted).await.map_err(|error| state.problem(error))?;
    let (mut items, mut last) = (Vec::new(), None);
    let mut result = BulkReplay {
        dry_run,
        matched: page.items.len(),
        replayed: 0,
        failed: 0,
        items: Vec::new(),
        has_more: page.has_more,
        next_cursor: None,
    };
    for letter in page.items {
        if Instant::now() >= deadline {
            result.has_more = true;
            break;
        }
        let item = if dry_run {
            DeadLetterItem::from(letter)
        } else {
            match state.dead_letters.replay(letter.id).await {
                Ok(letter) => {
                    let replayed = letter.status == DeadLetterStatus::Replayed;
                    result.replayed += usize::from(replayed);
                    result.failed += usize::from(!replayed);
                    letter.into()
                }
                Err(error @ DeadLetterError::History(_)) => return Err(state.problem(error)),
                // could not be tried: reported in the list, otherwise unchanged
                Err(error) => {
                    result.failed += 1;
                    DeadLetter { error: error.to_string(), ..letter }.into()
                }
            }
        };
        last = Some(cursor_after(&item));
        items.push(item);
    }
    Ok(Json(BulkReplay { items, next_cursor: last.filter(|_| result.has_more), ..result }))
}
