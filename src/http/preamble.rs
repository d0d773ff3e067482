//! Handing lessons out, and hearing whether they helped.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::error::{Document, Problem};
use super::fields::Fields;
use super::lessons::{names_of, now, unknown};
use super::negotiate::prefers_json;
use super::query::{EntityId, FromParams, MAX_ID_BYTES, Params, Query};
use super::state::AppState;
use crate::history::lessons::{LessonQuery, Used, Words};
use crate::learner::preamble::{Preamble, rank, render};
use crate::model::{EntityType, Lesson, LessonStatus};

const DEFAULT_TOKENS: u32 = 800;
const MAX_TOKENS: u32 = 20_000;
/// Bytes of a task.
const MAX_TASK_BYTES: usize = 4_000;
/// Bytes of what is said of an outcome.
const MAX_NOTE_BYTES: usize = 1_000;
/// Lessons that are ranked: the newest, or those whose words match best.
const CONSIDERED: u32 = 200;

/// For what.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PreambleQuery {
    /// What the agent is about to do, in its own words.
    #[param(example = "answer a billing question", max_length = 4000)]
    task: Option<String>,
    /// About how many tokens the text may take (four characters each).
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

/// The lessons for a run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preamble)]
pub struct PreambleAnswer {
    /// The agent, by its canonical id.
    agent_id: String,
    /// The same as Markdown; empty without lessons.
    markdown: String,
    /// About how many tokens the Markdown takes.
    tokens: usize,
    /// The lessons, the most important first.
    items: Vec<HandedOut>,
}

/// A lesson that is handed out.
#[derive(Debug, Serialize, ToSchema)]
pub struct HandedOut {
    /// How much it matters, 0 to 1.
    score: f64,
    /// The lesson.
    lesson: Lesson,
}

/// Whether a lesson helped.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LessonOutcome)]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct OutcomeBody {
    /// The lesson that was handed out.
    #[schema(min_length = 1, max_length = 512)]
    lesson_key: String,
    /// Whether it helped.
    helped: bool,
    /// What the caller calls this outcome (its run's id): it counts once.
    #[schema(nullable, min_length = 1, max_length = 512)]
    outcome_id: Option<String>,
    /// What the caller says of it.
    #[schema(nullable, min_length = 1, max_length = 1000)]
    note: Option<String>,
}

/// The lessons that matter for an agent's next run
///
/// As Markdown to put before a prompt, or as JSON by `Accept`. Ranked by how well they fit the task, how recent and how
/// severe they are, and whether they helped before. Only confirmed lessons are handed out: the agent's own, and those that
/// hold for all.
#[utoipa::path(
    get, path = "/living-map/agents/{id}/preamble", tag = "lessons", operation_id = "preamble",
    params(("id" = String, Path, description = "The agent, by any of its names", example = "agent:sofia"), PreambleQuery),
    responses(
        (status = 200, description = "The lessons; an empty text without any", content(
            (String = "text/markdown"), (PreambleAnswer = "application/json"),
        )),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn preamble(
    State(state): State<AppState>,
    EntityId(id): EntityId,
    Query(query): Query<PreambleQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let agent_id = state.live.with(|map| map.resolve(&id).map(str::to_owned));
    let agent_id = agent_id.unwrap_or_else(|| EntityType::Agent.prefixed(&id));
    let wanted = LessonQuery {
        agents: names_of(&state, &id),
        with_shared: true,
        statuses: vec![LessonStatus::Active],
        words: query.task.as_deref().and_then(Words::any),
        unrelated: true,
        limit: CONSIDERED,
        ..LessonQuery::default()
    };
    let page = state.lessons.list(&wanted).await.map_err(|error| state.problem(error))?;
    let Preamble { markdown, tokens, lessons } = render(&agent_id, rank(page.items, now()), query.max_tokens as usize);
    metrics::counter!("lessons_preambles_total").increment(1);
    let mut response = if prefers_json(&headers) {
        let items = lessons.into_iter().map(|one| HandedOut { score: one.score, lesson: one.lesson }).collect();
        Json(PreambleAnswer { agent_id, markdown, tokens, items }).into_response()
    } else {
        let markdown_utf8 = HeaderValue::from_static("text/markdown; charset=utf-8");
        ([(header::CONTENT_TYPE, markdown_utf8)], markdown).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Say whether a lesson helped
///
/// What never helps sinks and is proposed for retirement (`retirement_proposed`).
#[utoipa::path(
    post, path = "/living-map/agents/{id}/outcomes", tag = "lessons", operation_id = "lesson_outcome",
    params(("id" = String, Path, description = "The agent, by any of its names", example = "agent:sofia")),
    request_body(content = OutcomeBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The lesson, with the outcome counted", body = Lesson),
        (status = 404, description = "There is no such lesson, or it is another agent's",
            body = Document, content_type = "application/problem+json"),
        (status = 422, body = Document, content_type = "application/problem+json"),
        (status = 503, body = Document, content_type = "application/problem+json",
            description = "The database is away", headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn outcome(
    State(state): State<AppState>,
    EntityId(id): EntityId,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Lesson>, Problem> {
    let config = &state.config;
    let fields = Fields::of(body::json(&headers, body, config.max_body_bytes, config.body_timeout).await?)?;
    let lesson_key = fields.required_text("lesson_key", MAX_ID_BYTES)?;
    let helped = fields.required_flag("helped")?;
    let agent = EntityType::Agent.prefixed(&id);
    // another agent's outcome of the same name is another outcome
    let outcome_id = fields.text("outcome_id", MAX_ID_BYTES)?.map(|outcome| format!("{agent}:{outcome}"));
    let note = fields.text("note", MAX_NOTE_BYTES)?;
    let versions = state.lessons.versions(&lesson_key).await.map_err(|error| state.problem(error))?;
    let own = |lesson: &Lesson| lesson.agent_id.as_ref().is_none_or(|of| names_of(&state, &id).contains(of));
    if !versions.iter().any(|lesson| lesson.lesson_key == lesson_key && own(lesson)) {
        return Err(unknown(&lesson_key));
    }
    let used = Used { lesson_key, helped, outcome_id, note, at: now() };
    let lesson = state.lessons.used(&used).await.map_err(|error| state.problem(error))?;
    let helped = if helped { "true" } else { "false" };
    metrics::counter!("lessons_outcomes_total", "helped" => helped).increment(1);
    lesson.map(Json).ok_or_else(|| unknown(&used.lesson_key))
}
