//! `POST /living-map/events`: publishing events.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Received;
use super::error::Problem;
use super::requester::Requester;
use super::spans;
use super::state::AppState;
use crate::journal::Journal;
use cloud_events::Events;
use publish::{ItemResult, ItemStatus, RequestContext};
use schema::{CloudEventListSchema, CloudEventSchema, EnvelopesSchema};

mod cloud_events;
mod publish;
mod schema;

/// Results of publishing the events of a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"results": [{
    "index": 0, "status": "accepted", "id": "5b0d7c0e-3c43-5f5e-9d4e-0f8f7f1f5f10", "cursor": "5f3a9c.1042",
    "error": null, "field": null,
}]}))]
pub struct Published {
    /// One result for each event, in the order of the request.
    results: Vec<ItemResult>,
}

/// Publish events
///
/// Takes one event or an array of them. `accepted` means that the event is stored durably. An event with an
/// `idempotency_key` or `event_id` can be sent any number of times and is stored once.
///
/// Each event of an array is accepted or rejected by itself. What is not strict JSON is repaired where its meaning is plain
/// (`NaN` becomes `null`), which the `notes` of its result say.
///
/// Also takes CloudEvents 1.0 over HTTP, whose `type` is the event type: structured, in batches, or binary, with the
/// attributes in headers such as `ce-type` and any body. One with the same `source` and `id` is stored once.
#[utoipa::path(
    post, path = "/living-map/events", tag = "events", operation_id = "publish",
    request_body(content(
        (EnvelopesSchema = "application/json"),
        (CloudEventSchema = "application/cloudevents+json"),
        (CloudEventListSchema = "application/cloudevents-batch+json"),
    )),
    responses(
        (status = 200, description = "At least one event was accepted or is a duplicate; see each result", body = Published),
        (status = 413, description = "The body is too large or has too many events"),
        (status = 422, description = "All events were rejected; `results` in the problem has the reasons"),
        (status = 503, description = "The event log is unavailable and no event was appended; send the request again"),
    )
)]
pub async fn events(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let config = &state.config;
    let (requester, trace) = (Requester::of(request.extensions()), spans::of(request.headers()));
    // the memory is held until the log has the events
    let Received { content: Events { parsed, form }, memory: _memory } = cloud_events::read(&state, request).await?;
    if parsed.is_empty() {
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "expected an event, or an array of at least one").field("body")
        );
    }
    state.limits.count_events(&requester, parsed.len())?;
    let context = RequestContext { now: Utc::now(), trace, form };
    let results = publish::publish(&*state.log, &*state.history, parsed, &context, config.probe_timeout)
        .await
        .map_err(|problem| state.problem(problem))?;
    count(&results);
    record_repairs(&results, &state.journal);
    Ok(respond(results))
}

/// Counts and records what was repaired in the appended events.
fn record_repairs(results: &[ItemResult], journal: &Journal) {
    for result in results.iter().filter(|result| result.status == ItemStatus::Accepted && !result.notes.is_empty()) {
        for (kind, places) in result.notes.counts() {
            metrics::counter!("living_map_notes_total", "kind" => kind.as_str()).increment(places);
        }
        let id = result.id.map(|id| id.to_string()).unwrap_or_default();
        journal.record_rescued("read", "http", &id, &result.notes);
    }
}

fn count(results: &[ItemResult]) {
    for status in [ItemStatus::Accepted, ItemStatus::Duplicate, ItemStatus::Rejected] {
        let number = results.iter().filter(|result| result.status == status).count() as u64;
        metrics::counter!("living_map_http_published_events_total", "status" => status.as_str()).increment(number);
    }
}

fn respond(results: Vec<ItemResult>) -> Response {
    let all_rejected = results.iter().all(|result| result.status == ItemStatus::Rejected);
    match results.first() {
        Some(first) if all_rejected => {
            let reason = first.error.as_deref().unwrap_or_default();
            let detail = match results.len() {
                1 => format!("the event was rejected: {reason}"),
                count => format!("all {count} events were rejected, the first one: {reason}"),
            };
            let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
            if let Some(field) = first.field {
                problem = problem.field(field);
            }
            match serde_json::to_value(&results) {
                Ok(results) => problem.with("results", results).into_response(),
                Err(error) => Problem::internal(error).into_response(),
            }
        }
        _ => Json(Published { results }).into_response(),
    }
}

#[cfg(test)]
mod tests;
