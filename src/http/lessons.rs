//! What was learned, and what people say of it.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::error::{Document, Problem};
use super::fields::Fields;
use super::paging;
use super::query::{EntityId, FromParams, MAX_ID_BYTES, Params, Query, shown};
use super::state::AppState;
use crate::history::lessons::{
    CauseFilter, Change, ChangeRequest, Changed, Decision, LessonPosition, LessonQuery, Operation, Words, chain,
};
use crate::model::{EntityType, Lesson, LessonStatus};

/// Who changes lessons here.
const BY: &str = "operator";

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;
/// Operations in one answer.
const MAX_OPERATIONS: u32 = 200;
/// Bytes of what is looked for.
const MAX_SEARCH_BYTES: usize = 1_000;
/// Bytes of a lesson's text, its title, and of a reason.
const MAX_TEXT_BYTES: usize = 8_000;
const MAX_TITLE_BYTES: usize = 200;
const MAX_REASON_BYTES: usize = 1_000;

/// Which lessons are wanted; all filters must hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LessonsQuery {
    /// Of this agent, by any of its names.
    #[param(example = "agent:sofia", max_length = 512)]
    agent: Option<String>,
    /// Found by this rule.
    #[param(example = "error_burst", max_length = 512)]
    rule: Option<String>,
    /// `none`: without those whose cause is told by a lesson of its own (or was rejected); else the key of that lesson: its
    /// effects.
    #[param(value_type = Option<String>, example = "none")]
    cause: Option<CauseFilter>,
    /// With one of these statuses, separated by commas; without: `candidate` and `active`.
    #[param(value_type = Option<String>, example = "candidate,active",
        pattern = "^((candidate|active|rejected|superseded|retired)(,|$))*$")]
    status: Vec<LessonStatus>,
    /// With all of these words, or words that begin with them; the best first. Without: the newest first.
    #[param(example = "rate limit", max_length = 1000)]
    q: Option<String>,
    /// Lessons on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>, format = "page-of-lessons", pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<LessonPosition>,
}

impl FromParams for LessonsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            agent: params.short_text("agent", MAX_ID_BYTES)?,
            rule: params.short_text("rule", MAX_ID_BYTES)?,
            cause: params.short_text("cause", MAX_ID_BYTES)?.map(|cause| match cause.as_str() {
                "none" => CauseFilter::None,
                _ => CauseFilter::Of(cause),
            }),
            status: params.list("status")?,
            q: params.short_text("q", MAX_SEARCH_BYTES)?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            cursor: params.text("cursor")?.map(read_cursor).transpose()?,
        })
    }
}

/// Lessons.
#[derive(Debug, Serialize, ToSchema)]
pub struct LessonList {
    /// The lessons.
    items: Vec<Lesson>,
    /// For `cursor`, to get the next page; null on the last one.
    next_cursor: Option<String>,
    /// Whether there are more.
    has_more: bool,
}

/// The life of a lesson.
#[derive(Debug, Serialize, ToSchema)]
pub struct LessonHistory {
    /// Its versions, from the first to the newest.
    items: Vec<Lesson>,
    /// What was done with it, oldest first; the last 200.
    operations: Vec<Operation>,
}

/// Another text.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonRevision)]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct ReviseBody {
    /// The version that is revised, the newest.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    version: u32,
    /// The new text.
    #[schema(min_length = 1, max_length = 8000)]
    text: String,
    /// A new title.
    #[schema(nullable, min_length = 1, max_length = 200)]
    title: Option<String>,
    /// Why.
    #[schema(nullable, min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// It is not to be handed out any more.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonRetirement)]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct RetireBody {
    /// The version that is retired, the newest.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    version: u32,
    /// Why.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// A verdict on a candidate.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonReview)]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct ReviewBody {
    /// The version that is reviewed.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    version: u32,
    /// Whether it is right.
    decision: Decision,
    /// Why.
    #[schema(nullable, min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// What was learned
#[utoipa::path(
    get, path = "/living-map/lessons", tag = "lessons", operation_id = "lessons",
    params(LessonsQuery),
    responses(
        (status = 200, body = LessonList),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn lessons(
    State(state): State<AppState>,
    Query(query): Query<LessonsQuery>,
) -> Result<Json<LessonList>, Problem> {
    let words = query.q.as_deref().map(Words::all);
    // a question without a letter finds nothing
    if words == Some(None) {
        return Ok(Json(LessonList { items: vec![], next_cursor: None, has_more: false }));
    }
    let open = vec![LessonStatus::Candidate, LessonStatus::Active];
    let wanted = LessonQuery {
        agents: query.agent.map(|agent| names_of(&state, &agent)).unwrap_or_default(),
        rule: query.rule,
        cause: query.cause,
        statuses: if query.status.is_empty() { open } else { query.status },
        words: words.flatten(),
        after: query.cursor,
        limit: query.limit,
        ..LessonQuery::default()
    };
    let page = state.lessons.list(&wanted).await.map_err(|error| state.problem(error))?;
    let next_cursor = page.items.last().filter(|_| page.has_more).map(|found| {
        paging::write_id(&format!(
            "{:x}/{}/{}",
            found.relevance.to_bits(),
            found.lesson.ts.timestamp_micros(),
            found.lesson.lesson_key
        ))
    });
    let items = page.items.into_iter().map(|found| found.lesson).collect();
    Ok(Json(LessonList { items, next_cursor, has_more: page.has_more }))
}

/// A lesson, its newest version
///
/// By the key of any of its versions.
#[utoipa::path(
    get, path = "/living-map/lessons/{key}", tag = "lessons", operation_id = "lesson",
    params(("key" = String, Path, description = "The key of any of its versions")),
    responses(
        (status = 200, body = Lesson),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn lesson(State(state): State<AppState>, EntityId(key): EntityId) -> Result<Json<Lesson>, Problem> {
    let mut versions = versions(&state, &key).await?;
    versions.pop().map(Json).ok_or_else(|| unknown(&key))
}

/// The life of a lesson
///
/// Its versions from the first to the newest, and what was done with it.
#[utoipa::path(
    get, path = "/living-map/lessons/{key}/history", tag = "lessons", operation_id = "lesson_history",
    params(("key" = String, Path, description = "The key of any of its versions")),
    responses(
        (status = 200, body = LessonHistory),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn lesson_history(
    State(state): State<AppState>,
    EntityId(key): EntityId,
) -> Result<Json<LessonHistory>, Problem> {
    let items = versions(&state, &key).await?;
    let root = items.first().map(|root| root.root_key.clone()).ok_or_else(|| unknown(&key))?;
    let operations = state.lessons.operations(&root, MAX_OPERATIONS).await.map_err(|error| state.problem(error))?;
    Ok(Json(LessonHistory { items, operations }))
}

/// Give a lesson another text
///
/// The version before it is superseded. The same request again changes nothing.
#[utoipa::path(
    post, path = "/living-map/lessons/{key}/revise", tag = "lessons", operation_id = "revise_lesson",
    params(("key" = String, Path, description = "The key of any of its versions")),
    request_body(content = ReviseBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The new version", body = Lesson),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 409, description = "`version` is not the newest, or the lesson is not open; the problem has `current`",
            body = Document, content_type = "application/problem+json"),
        (status = 422, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn revise(
    State(state): State<AppState>,
    EntityId(key): EntityId,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Lesson>, Problem> {
    let fields = read(&state, &headers, body).await?;
    let text = fields.required_text("text", MAX_TEXT_BYTES)?;
    let title = fields.text("title", MAX_TITLE_BYTES)?;
    let reason = fields.text("reason", MAX_REASON_BYTES)?;
    change(&state, &key, &fields, Change::Revise { text, title }, reason).await
}

/// Hand a lesson out no more
#[utoipa::path(
    post, path = "/living-map/lessons/{key}/retire", tag = "lessons", operation_id = "retire_lesson",
    params(("key" = String, Path, description = "The key of any of its versions")),
    request_body(content = RetireBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The lesson, retired", body = Lesson),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 409, description = "`version` is not the newest, or the lesson is not open; the problem has `current`",
            body = Document, content_type = "application/problem+json"),
        (status = 422, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn retire(
    State(state): State<AppState>,
    EntityId(key): EntityId,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Lesson>, Problem> {
    let fields = read(&state, &headers, body).await?;
    let reason = fields.required_text("reason", MAX_REASON_BYTES)?;
    change(&state, &key, &fields, Change::Retire, Some(reason)).await
}

/// Confirm or reject a candidate
///
/// A candidate that nobody reviews in time is reviewed by the server.
#[utoipa::path(
    post, path = "/living-map/lessons/{key}/review", tag = "lessons", operation_id = "review_lesson",
    params(("key" = String, Path, description = "The key of any of its versions")),
    request_body(content = ReviewBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The lesson, reviewed", body = Lesson),
        (status = 404, body = Document, content_type = "application/problem+json"),
        (status = 409, description = "`version` is not the newest, or it was decided otherwise; the problem has `current`",
            body = Document, content_type = "application/problem+json"),
        (status = 422, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn review(
    State(state): State<AppState>,
    EntityId(key): EntityId,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Lesson>, Problem> {
    let fields = read(&state, &headers, body).await?;
    let (decision, name) = match fields.required_text("decision", MAX_TITLE_BYTES)?.as_str() {
        "confirm" => (Decision::Confirm, "confirm"),
        "reject" => (Decision::Reject, "reject"),
        _ => return Err(fields.wrong("decision", "expected 'confirm' or 'reject'")),
    };
    let reason = fields.text("reason", MAX_REASON_BYTES)?;
    let lesson = change(&state, &key, &fields, Change::Review(decision), reason).await?;
    metrics::counter!("lessons_reviewed_total", "decision" => name, "by" => BY).increment(1);
    Ok(lesson)
}

async fn read(state: &AppState, headers: &HeaderMap, body: Body) -> Result<Fields, Problem> {
    let config = &state.config;
    Fields::of(body::json(headers, body, config.max_body_bytes, config.body_timeout).await?)
}

async fn change(
    state: &AppState,
    key: &str,
    fields: &Fields,
    change: Change,
    reason: Option<String>,
) -> Result<Json<Lesson>, Problem> {
    let version = fields.required_number("version", 1..=i32::MAX.cast_unsigned())?;
    let request = ChangeRequest { change, version, reason, actor: BY, at: now() };
    match state.lessons.change(key, &request).await.map_err(|error| state.problem(error))? {
        Changed::Done(lesson) => Ok(Json(lesson)),
        Changed::Unknown => Err(unknown(key)),
        Changed::Stale(lesson) => {
            let detail =
                format!("version {version} cannot be changed so: the newest is {}, {}", lesson.version, lesson.status);
            let current = serde_json::to_value(&lesson).unwrap_or(Value::Null);
            Err(Problem::new(StatusCode::CONFLICT, detail).field("version").with("current", current))
        }
    }
}

/// The clock, as databases keep it.
pub(super) fn now() -> DateTime<Utc> {
    crate::model::time::whole_micros(Utc::now())
}

async fn versions(state: &AppState, key: &str) -> Result<Vec<Lesson>, Problem> {
    state.lessons.versions(key).await.map(chain).map_err(|error| state.problem(error))
}

/// All names by which lessons may call an agent.
pub(super) fn names_of(state: &AppState, agent: &str) -> Vec<String> {
    let mut names = state.live.with(|map| map.names(agent));
    names.push(EntityType::Agent.prefixed(agent));
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn unknown(key: &str) -> Problem {
    Problem::not_found(format!("there is no lesson '{}'", shown(key))).parameter("key")
}

fn read_cursor(text: &str) -> Result<LessonPosition, Problem> {
    let text = paging::read_id(text)?;
    let mut parts = text.splitn(3, '/');
    let mut position = || {
        let relevance = f64::from_bits(u64::from_str_radix(parts.next()?, 16).ok()?);
        let ts = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
        Some(LessonPosition { relevance, ts, lesson_key: parts.next()?.to_owned() })
    };
    position().filter(|position| position.relevance.is_finite()).ok_or_else(paging::invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_queries_are_refused_by_name() {
        for (query, parameter) in
            [("limit=0", "limit"), ("status=new", "status"), ("cursor=x", "cursor"), ("cursor=YS9iL2M", "cursor")]
        {
            let problem = LessonsQuery::from_params(&Params::parse(query).unwrap()).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            assert!(format!("{problem:?}").contains(&format!("parameter: Some(\"{parameter}\")")), "{problem:?}");
        }
    }
}
