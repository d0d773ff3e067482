//! Lessons: listing them, and the history of one.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, MAX_ID_BYTES, Params, PathId, Query, shown};
use super::responses::{DatabaseErrors, DatabaseItemErrors};
use super::state::AppState;
use crate::history;
use crate::history::lessons::{
    CauseFilter, LessonMatch, LessonPosition, LessonQuery, Operation, SearchWords, VersionQuery,
};
use crate::model::{EntityType, Lesson, LessonStatus, time};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;
/// Operations in one response.
const MAX_OPERATIONS: u32 = 200;
/// Maximum length of a search text, in bytes.
const MAX_SEARCH_BYTES: usize = 1_000;

/// Filters and page; a lesson must match all filters.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LessonsQuery {
    /// Id or alias of the agent that the lesson is about.
    #[param(example = "agent:sofia", max_length = 512)]
    agent: Option<String>,
    /// Rule that found the lesson.
    #[param(example = "error_burst", max_length = 512)]
    rule: Option<String>,
    /// `none`: without lessons that are the effect of another lesson (even a rejected one). Otherwise the key of a lesson,
    /// to list its effects.
    #[param(value_type = Option<String>, example = "none")]
    cause: Option<CauseFilter>,
    /// Comma-separated statuses; `candidate` and `active` if absent.
    #[param(value_type = Option<String>, example = "candidate,active",
        pattern = "^((candidate|active|rejected|superseded|retired)(,|$))*$")]
    status: Vec<LessonStatus>,
    /// Search text. Every word must match the beginning of a word in the lesson; best matches first. Without it the list
    /// is ordered newest first.
    #[param(example = "rate limit", max_length = 1000)]
    q: Option<String>,
    /// Maximum number of lessons on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// Number of lessons to skip. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page-of-lessons", pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<LessonPosition>,
}

impl FromParams for LessonsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let (offset, cursor) = paging::start(params, decode_cursor)?;
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
            offset,
            cursor,
        })
    }
}

/// A page of lessons.
#[derive(Debug, Serialize, ToSchema)]
pub struct LessonList {
    /// Lessons.
    #[schema(value_type = Vec<Lesson>)]
    items: Items,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// True if there are further pages.
    has_more: bool,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
}

/// A lesson on a page, and its place in the order of the list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ListedLesson {
    lesson: Lesson,
    #[serde(skip)]
    relevance: f64,
}

impl From<LessonMatch> for ListedLesson {
    fn from(found: LessonMatch) -> Self {
        let LessonMatch { lesson, relevance } = found;
        Self { lesson, relevance }
    }
}

/// A page of the versions of a lesson.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LessonHistoryQuery {
    /// Maximum number of versions on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// Number of versions to skip. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page-of-versions", pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<u32>,
}

impl FromParams for LessonHistoryQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let (offset, cursor) = paging::start(params, decode_version)?;
        Ok(Self { limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?, offset, cursor })
    }
}

/// Versions of a lesson and the operations on it.
#[derive(Debug, Serialize, ToSchema)]
pub struct LessonHistory {
    /// Versions, oldest first.
    #[schema(value_type = Vec<Lesson>)]
    items: Items,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// True if there are further pages.
    has_more: bool,
    /// Number of versions up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`,
    /// and above the maximum.
    next_offset: Option<u32>,
    /// Operations on all versions, oldest first; the last 200.
    operations: Vec<Operation>,
}

/// List lessons
#[utoipa::path(
    get, path = "/living-map/lessons", tag = "lessons", operation_id = "lessons",
    params(LessonsQuery),
    responses((status = 200, body = LessonList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), DatabaseErrors)
)]
pub async fn lessons(
    State(state): State<AppState>,
    Query(query): Query<LessonsQuery>,
) -> Result<Page<LessonList>, Problem> {
    let bounds = PageBounds::new(&state, query.limit, query.offset, query.cursor.as_ref());
    let words = query.q.as_deref().map(SearchWords::all);
    let default = vec![LessonStatus::Candidate, LessonStatus::Active];
    let wanted = LessonQuery {
        agents: query.agent.map(|agent| agent_names(&state, &agent)).unwrap_or_default(),
        rule: query.rule,
        cause: query.cause,
        statuses: if query.status.is_empty() { default } else { query.status },
        words: words.clone().flatten(),
        after: query.cursor,
        offset: query.offset,
        limit: query.limit,
        ..LessonQuery::default()
    };
    let page = match words {
        // a search text without letters or digits matches nothing
        Some(None) => history::Page { items: Vec::new(), has_more: false },
        _ => state.lessons.list(&wanted).await.map_err(|error| state.problem(error))?,
    };
    let found = Found { items: page.items.into_iter().map(ListedLesson::from), has_more: page.has_more };
    Page::new(found, bounds, encode_cursor, move |next| LessonList {
        items: Items,
        next_cursor: next.cursor,
        has_more: next.has_more,
        next_offset: next.offset,
    })
    .await
}

/// Get the newest version of a lesson
#[utoipa::path(
    get, path = "/living-map/lessons/{key}", tag = "lessons", operation_id = "lesson",
    params(("key" = String, Path, description = "Key of any version of the lesson")),
    responses((status = 200, body = Lesson), DatabaseItemErrors)
)]
pub async fn lesson(State(state): State<AppState>, PathId(key): PathId) -> Result<Json<Lesson>, Problem> {
    let latest = state.lessons.latest(&key).await.map_err(|error| state.problem(error))?;
    latest.map(Json).ok_or_else(|| not_found(&key))
}

/// Get the history of a lesson
///
/// A page of its versions, and the last operations on it.
#[utoipa::path(
    get, path = "/living-map/lessons/{key}/history", tag = "lessons", operation_id = "lesson_history",
    params(("key" = String, Path, description = "Key of any version of the lesson"), LessonHistoryQuery),
    responses((status = 200, body = LessonHistory, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), DatabaseItemErrors)
)]
pub async fn lesson_history(
    State(state): State<AppState>,
    PathId(key): PathId,
    Query(query): Query<LessonHistoryQuery>,
) -> Result<Page<LessonHistory>, Problem> {
    let latest = state.lessons.latest(&key).await.map_err(|error| state.problem(error))?;
    let root = latest.map(|lesson| lesson.root_key).ok_or_else(|| not_found(&key))?;
    let bounds = PageBounds::new(&state, query.limit, query.offset, query.cursor.as_ref());
    let LessonHistoryQuery { limit, offset, cursor } = query;
    let wanted = VersionQuery { key, after: cursor.unwrap_or(0), offset, limit };
    let page = state.lessons.versions(&wanted).await.map_err(|error| state.problem(error))?;
    let operations = state.lessons.operations(&root, MAX_OPERATIONS).await;
    let operations = operations.map_err(|error| state.problem(error))?;
    let found = Found { items: page.items, has_more: page.has_more };
    Page::new(found, bounds, encode_version, move |next| LessonHistory {
        items: Items,
        next_cursor: next.cursor,
        has_more: next.has_more,
        next_offset: next.offset,
        operations,
    })
    .await
}

/// The present time, with the precision that databases store.
pub(super) fn now() -> DateTime<Utc> {
    time::whole_micros(Utc::now())
}

/// All ids and aliases by which lessons may refer to an agent.
pub(super) fn agent_names(state: &AppState, agent: &str) -> Vec<String> {
    let mut names = state.live.with(|map| map.names(agent));
    names.push(EntityType::Agent.prefixed(agent));
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn not_found(key: &str) -> Problem {
    Problem::not_found(format!("there is no lesson '{}'", shown(key))).parameter("key")
}

fn encode_cursor(listed: &ListedLesson) -> String {
    let ListedLesson { lesson, relevance } = listed;
    paging::encode_id(&format!("{:x}/{}/{}", relevance.to_bits(), lesson.ts.timestamp_micros(), lesson.lesson_key))
}

fn decode_cursor(text: &str) -> Result<LessonPosition, Problem> {
    let text = paging::decode_id(text)?;
    let mut parts = text.splitn(3, '/');
    let mut position = || {
        let relevance = f64::from_bits(u64::from_str_radix(parts.next()?, 16).ok()?);
        let ts = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
        Some(LessonPosition { relevance, ts, lesson_key: parts.next()?.to_owned() })
    };
    position().filter(|position| position.relevance.is_finite()).ok_or_else(paging::invalid)
}

fn encode_version(lesson: &Lesson) -> String {
    paging::encode_id(&lesson.version.to_string())
}

fn decode_version(text: &str) -> Result<u32, Problem> {
    paging::decode_id(text)?.parse().map_err(|_| paging::invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_parameters_are_named() {
        for (query, parameter) in
            [("limit=0", "limit"), ("status=new", "status"), ("cursor=x", "cursor"), ("cursor=YS9iL2M", "cursor")]
        {
            let problem = LessonsQuery::from_params(&Params::parse(query).unwrap()).unwrap_err();
            assert_eq!(problem.status(), 400, "{query}");
            assert!(format!("{problem:?}").contains(&format!("parameter: Some(\"{parameter}\")")), "{problem:?}");
        }
    }
}
