//! Changes of lessons by an operator: revising, retiring, and reviewing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::fields::Fields;
use super::lessons::{not_found, now};
use super::query::PathId;
use super::responses::LessonErrors;
use super::state::AppState;
use crate::history::lessons::{Change, ChangeOutcome, ChangeRequest, Decision};
use crate::model::Lesson;

/// Actor of these changes, as recorded in the lesson's operations.
const ACTOR: &str = "operator";

/// Maximum length of a lesson's text, in bytes.
const MAX_TEXT_BYTES: usize = 8_000;
/// Maximum length of a lesson's title, in bytes.
const MAX_TITLE_BYTES: usize = 200;
/// Maximum length of a reason, in bytes.
const MAX_REASON_BYTES: usize = 1_000;

/// A new text for a lesson.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonRevision)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct ReviseBody {
    /// Version to revise; must be the newest one.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    version: u32,
    /// New text.
    #[schema(min_length = 1, max_length = 8000)]
    text: String,
    /// New title; unchanged if absent.
    #[schema(nullable, min_length = 1, max_length = 200)]
    title: Option<String>,
    /// Reason for the revision.
    #[schema(nullable, min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Retirement of a lesson.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonRetirement)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct RetireBody {
    /// Version to retire; must be the newest one.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    version: u32,
    /// Reason for the retirement.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// Decision on a candidate lesson.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonReview)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct ReviewBody {
    /// Version to review; must be the newest one.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    version: u32,
    /// Confirms or rejects the lesson.
    decision: Decision,
    /// Reason for the decision.
    #[schema(nullable, min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Revise a lesson
///
/// Creates a new version with another text; the previous version is superseded. Repeating the same request changes
/// nothing.
#[utoipa::path(
    post, path = "/living-map/lessons/{key}/revise", tag = "lessons", operation_id = "revise_lesson",
    params(("key" = String, Path, description = "Key of any version of the lesson")),
    request_body(content = ReviseBody, content_type = "application/json"),
    responses((status = 200, description = "The new version", body = Lesson), LessonErrors)
)]
pub async fn revise(
    State(state): State<AppState>,
    PathId(key): PathId,
    fields: Fields,
) -> Result<Json<Lesson>, Problem> {
    let text = fields.required_text("text", MAX_TEXT_BYTES)?;
    let title = fields.text("title", MAX_TITLE_BYTES)?;
    let reason = fields.text("reason", MAX_REASON_BYTES)?;
    change(&state, &key, &fields, Change::Revise { text, title }, reason).await
}

/// Retire a lesson
///
/// A retired lesson is no longer given to agents.
#[utoipa::path(
    post, path = "/living-map/lessons/{key}/retire", tag = "lessons", operation_id = "retire_lesson",
    params(("key" = String, Path, description = "Key of any version of the lesson")),
    request_body(content = RetireBody, content_type = "application/json"),
    responses((status = 200, description = "The retired lesson", body = Lesson), LessonErrors)
)]
pub async fn retire(
    State(state): State<AppState>,
    PathId(key): PathId,
    fields: Fields,
) -> Result<Json<Lesson>, Problem> {
    let reason = fields.required_text("reason", MAX_REASON_BYTES)?;
    change(&state, &key, &fields, Change::Retire, Some(reason)).await
}

/// Confirm or reject a candidate lesson
///
/// The server decides by itself on candidates that have not been reviewed within the configured time.
#[utoipa::path(
    post, path = "/living-map/lessons/{key}/review", tag = "lessons", operation_id = "review_lesson",
    params(("key" = String, Path, description = "Key of any version of the lesson")),
    request_body(content = ReviewBody, content_type = "application/json"),
    responses((status = 200, description = "The reviewed lesson", body = Lesson), LessonErrors)
)]
pub async fn review(
    State(state): State<AppState>,
    PathId(key): PathId,
    fields: Fields,
) -> Result<Json<Lesson>, Problem> {
    let (decision, name) = match fields.required_text("decision", MAX_TITLE_BYTES)?.as_str() {
        "confirm" => (Decision::Confirm, "confirm"),
        "reject" => (Decision::Reject, "reject"),
        _ => return Err(fields.invalid("decision", "expected 'confirm' or 'reject'")),
    };
    let reason = fields.text("reason", MAX_REASON_BYTES)?;
    let lesson = change(&state, &key, &fields, Change::Review(decision), reason).await?;
    metrics::counter!("lessons_reviewed_total", "decision" => name, "by" => ACTOR).increment(1);
    Ok(lesson)
}

async fn change(
    state: &AppState,
    key: &str,
    fields: &Fields,
    change: Change,
    reason: Option<String>,
) -> Result<Json<Lesson>, Problem> {
    let version = fields.required_number("version", 1..=i32::MAX.cast_unsigned())?;
    let request = ChangeRequest { change, version, reason, actor: ACTOR, at: now() };
    match state.lessons.change(key, &request).await.map_err(|error| state.problem(error))? {
        ChangeOutcome::Applied(lesson) => Ok(Json(lesson)),
        ChangeOutcome::NotFound => Err(not_found(key)),
        ChangeOutcome::Stale(lesson) => {
            let (newest, status) = (lesson.version, lesson.status);
            let detail = format!("version {version} cannot be changed: the newest version is {newest}, {status}");
            let current = serde_json::to_value(&lesson).map_err(Problem::internal)?;
            Err(Problem::new(StatusCode::CONFLICT, detail).field("version").with("current", current))
        }
    }
}
