//! Preambles: lessons for an agent's next run, and feedback on whether they helped.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::fields::Fields;
use super::lessons::{agent_names, not_found, now};
use super::negotiate::prefers_json;
use super::query::{FromParams, MAX_ID_BYTES, Params, PathId, Query};
use super::responses::DatabaseErrors;
use super::state::AppState;
use crate::history::lessons::{LessonQuery, OutcomeReport, SearchWords};
use crate::learner::preamble::{Preamble, rank, render};
use crate::model::{EntityType, Lesson, LessonStatus};

const DEFAULT_TOKENS: u32 = 800;
const MAX_TOKENS: u32 = 20_000;
/// Maximum length of a task, in bytes.
const MAX_TASK_BYTES: usize = 4_000;
/// Maximum length of a note, in bytes.
const MAX_NOTE_BYTES: usize = 1_000;
/// Lessons that are ranked: the newest ones, or with a task those that match its words best.
const MAX_RANKED: u32 = 200;

/// Task and length of the preamble.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PreambleQuery {
    /// Description of the agent's next task.
    #[param(example = "answer a billing question", max_length = 4000)]
    task: Option<String>,
    /// Approximate maximum length in tokens, at four characters each.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 20000, default = 800)]
    max_tokens: u32,
}

impl FromParams for PreambleQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            task: params.short_text("task", MAX_TASK_BYTES)?,
            max_tokens: params.number("max_tokens", 1..=MAX_TOKENS, DEFAULT_TOKENS)?,
        })
    }
}

/// The agent, for routes that also have a form with its id in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AgentQuery {
    /// Id or alias of the agent.
    #[param(example = "agent:sofia", min_length = 1, max_length = 512)]
    agent: String,
}

impl FromParams for AgentQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self { agent: params.required_id("agent")? })
    }
}

/// Lessons for an agent's next run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preamble)]
pub struct PreambleAnswer {
    /// Canonical id of the agent.
    agent_id: String,
    /// The lessons as Markdown; empty without lessons.
    markdown: String,
    /// Approximate length of the Markdown in tokens.
    tokens: usize,
    /// Lessons, most important first.
    items: Vec<RankedLesson>,
}

/// A lesson of a preamble.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HandedOut)]
pub struct RankedLesson {
    /// Importance from 0 to 1.
    score: f64,
    /// Lesson.
    lesson: Lesson,
}

/// Feedback on a lesson.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonOutcome)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct OutcomeBody {
    /// Key of the lesson that the agent was given.
    #[schema(min_length = 1, max_length = 512)]
    lesson_key: String,
    /// True if the lesson helped.
    helped: bool,
    /// Id of this outcome, such as the id of the agent's run. Outcomes with the same id count once.
    #[schema(nullable, min_length = 1, max_length = 512)]
    outcome_id: Option<String>,
    /// Note.
    #[schema(nullable, min_length = 1, max_length = 1000)]
    note: Option<String>,
}

/// Get the lessons for an agent's next run
///
/// Markdown to prepend to a prompt, or JSON if `Accept` prefers it. Lessons are ranked by how well they match the task,
/// how recent and severe they are, and whether they helped before. Contains active lessons only: the agent's own and
/// those shared by all agents.
#[utoipa::path(
    get, path = "/living-map/agents/{id}/preamble", tag = "lessons", operation_id = "preamble",
    params(("id" = String, Path, description = "Id or alias of the agent", example = "agent:sofia"), PreambleQuery),
    responses(
        (status = 200, description = "The lessons; empty Markdown without lessons", content(
            (String = "text/markdown"), (PreambleAnswer = "application/json"),
        )),
        DatabaseErrors,
    )
)]
pub async fn preamble(
    State(state): State<AppState>,
    PathId(id): PathId,
    Query(query): Query<PreambleQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    preamble_for(&state, &id, &query, &headers).await
}

/// Get the lessons for the next run of an agent with an id in the query
///
/// Like `/living-map/agents/{id}/preamble`, for ids with a slash behind proxies that decode the path.
#[utoipa::path(
    get, path = "/living-map/preamble", tag = "lessons", operation_id = "preamble_by_query",
    params(AgentQuery, PreambleQuery),
    responses(
        (status = 200, description = "The lessons; empty Markdown without lessons", content(
            (String = "text/markdown"), (PreambleAnswer = "application/json"),
        )),
        DatabaseErrors,
    )
)]
pub async fn preamble_by_query(
    State(state): State<AppState>,
    Query(AgentQuery { agent }): Query<AgentQuery>,
    Query(query): Query<PreambleQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    preamble_for(&state, &agent, &query, &headers).await
}

async fn preamble_for(
    state: &AppState,
    id: &str,
    query: &PreambleQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let agent_id = state.live.with(|map| map.resolve(id).map(str::to_owned));
    let agent_id = agent_id.unwrap_or_else(|| EntityType::Agent.prefixed(id));
    let wanted = LessonQuery {
        agents: agent_names(state, id),
        with_shared: true,
        statuses: vec![LessonStatus::Active],
        words: query.task.as_deref().and_then(SearchWords::any),
        unrelated: true,
        limit: MAX_RANKED,
        ..LessonQuery::default()
    };
    let page = state.lessons.list(&wanted).await.map_err(|error| state.problem(error))?;
    let Preamble { markdown, tokens, lessons } = render(&agent_id, rank(page.items, now()), query.max_tokens as usize);
    metrics::counter!("lessons_preambles_total").increment(1);
    let mut response = if prefers_json(headers) {
        let items =
            lessons.into_iter().map(|ranked| RankedLesson { score: ranked.score, lesson: ranked.lesson }).collect();
        Json(PreambleAnswer { agent_id, markdown, tokens, items }).into_response()
    } else {
        let content_type = HeaderValue::from_static("text/markdown; charset=utf-8");
        ([(header::CONTENT_TYPE, content_type)], markdown).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Report whether a lesson helped
///
/// A lesson that does not help is ranked lower and eventually proposed for retirement (`retirement_proposed`).
#[utoipa::path(
    post, path = "/living-map/agents/{id}/outcomes", tag = "lessons", operation_id = "lesson_outcome",
    params(("id" = String, Path, description = "Id or alias of the agent", example = "agent:sofia")),
    request_body(content = OutcomeBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The lesson, with the outcome counted", body = Lesson),
        (status = 404, description = "There is no lesson with this key, or it belongs to another agent"),
        DatabaseErrors,
    )
)]
pub async fn outcome(
    State(state): State<AppState>,
    PathId(id): PathId,
    fields: Fields,
) -> Result<Json<Lesson>, Problem> {
    record_outcome(&state, &id, &fields).await
}

/// Report whether a lesson helped an agent with an id in the query
///
/// Like `/living-map/agents/{id}/outcomes`, for ids with a slash behind proxies that decode the path.
#[utoipa::path(
    post, path = "/living-map/outcomes", tag = "lessons", operation_id = "lesson_outcome_by_query",
    params(AgentQuery),
    request_body(content = OutcomeBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The lesson, with the outcome counted", body = Lesson),
        (status = 404, description = "There is no lesson with this key, or it belongs to another agent"),
        DatabaseErrors,
    )
)]
pub async fn outcome_by_query(
    State(state): State<AppState>,
    Query(AgentQuery { agent }): Query<AgentQuery>,
    fields: Fields,
) -> Result<Json<Lesson>, Problem> {
    record_outcome(&state, &agent, &fields).await
}

async fn record_outcome(state: &AppState, id: &str, fields: &Fields) -> Result<Json<Lesson>, Problem> {
    let lesson_key = fields.required_text("lesson_key", MAX_ID_BYTES)?;
    let helped = fields.required_flag("helped")?;
    let agent = EntityType::Agent.prefixed(id);
    // an outcome id is unique per agent
    let outcome_id = fields.text("outcome_id", MAX_ID_BYTES)?.map(|outcome| format!("{agent}:{outcome}"));
    let note = fields.text("note", MAX_NOTE_BYTES)?;
    let delivered = state.lessons.version(&lesson_key).await.map_err(|error| state.problem(error))?;
    let own = |lesson: &Lesson| lesson.agent_id.as_ref().is_none_or(|of| agent_names(state, id).contains(of));
    if !delivered.as_ref().is_some_and(own) {
        return Err(not_found(&lesson_key));
    }
    let used = OutcomeReport { lesson_key, helped, outcome_id, note, at: now() };
    let lesson = state.lessons.record_outcome(&used).await.map_err(|error| state.problem(error))?;
    let helped = if helped { "true" } else { "false" };
    metrics::counter!("lessons_outcomes_total", "helped" => helped).increment(1);
    lesson.map(Json).ok_or_else(|| not_found(&used.lesson_key))
}
