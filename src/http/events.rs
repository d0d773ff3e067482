//! Publishing events over HTTP.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, Type};
use utoipa::openapi::{ObjectBuilder, Schema, SchemaFormat};
use uuid::Uuid;

use super::body;
use super::error::{Document, Problem};
use super::limits::Visitor;
use super::spans;
use super::state::AppState;
use crate::history::History;
use crate::log::{EventLog, LogError};
use crate::model::envelope::{self, FieldError};
use crate::model::{Cursor, NewEvent, Traceparent};

/// Subjects under which this server alone writes: an event there would be taken for what an upstream said.
const RESERVED: &str = "living_map";

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemStatus {
    /// It is in the log, durably.
    Accepted,
    /// It was there already; nothing was changed.
    Duplicate,
    /// It is not in the log; `error` says why.
    Rejected,
}

impl ItemStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        }
    }
}

/// What became of one event of a request.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ItemResult {
    /// Its place in the request, from 0.
    index: usize,
    /// What became of it.
    status: ItemStatus,
    /// Its id, made from the `idempotency_key`, else from the `event_id`; null when it could not be read.
    id: Option<Uuid>,
    /// Its position in the log, for a duplicate that of the first one, if it is still known.
    #[schema(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Why it was rejected.
    error: Option<String>,
    /// The field that was wrong.
    #[schema(value_type = Option<String>)]
    field: Option<&'static str>,
}

impl ItemResult {
    fn rejected(index: usize, id: Option<Uuid>, field: Option<&'static str>, error: String) -> Self {
        Self { index, status: ItemStatus::Rejected, id, cursor: None, error: Some(error), field }
    }

    fn taken(index: usize, status: ItemStatus, id: Uuid, cursor: Option<Cursor>) -> Self {
        Self { index, status, id: Some(id), cursor, error: None, field: None }
    }
}

/// What became of the events of a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"results": [{
    "index": 0, "status": "accepted", "id": "5b0d7c0e-3c43-5f5e-9d4e-0f8f7f1f5f10", "cursor": "5f3a9c.1042",
    "error": null, "field": null,
}]}))]
pub struct Published {
    /// One for each event, in the request's order.
    results: Vec<ItemResult>,
}

/// An event as `POST /living-map/events` takes it; more fields are kept.
#[derive(Debug, ToSchema)]
#[schema(as = Envelope, example = json!({
    "event_type": "agent.event.status",
    "idempotency_key": "gateway:agent:sofia:status:2026011912",
    "timestamp": "2026-01-19T12:00:00Z",
    "source": "gateway",
    "payload": {"agent_id": "agent:sofia", "status": "online"},
}))]
#[expect(dead_code, reason = "its shape is for the OpenAPI document; `model::envelope::publish` reads it")]
pub struct EnvelopeSchema {
    /// The NATS subject, without wildcards; not under `living_map.`.
    #[schema(
        format = "subject",
        max_length = 256,
        pattern = r"^[^\s\u0000-\u001f\u007f-\u009f.*>]+([.][^\s\u0000-\u001f\u007f-\u009f.*>]+)*$"
    )]
    event_type: String,
    /// Says which events are the same, before `event_id`.
    #[schema(min_length = 1, max_length = 512)]
    idempotency_key: Option<String>,
    /// Says which events are the same.
    #[schema(min_length = 1, max_length = 512)]
    event_id: Option<String>,
    #[schema(schema_with = time_of_event, required = false)]
    timestamp: Option<DateTime<Utc>>,
    /// Who sends it.
    #[schema(min_length = 1, max_length = 512)]
    source: Option<String>,
    /// The trace it belongs to; that of the request's `traceparent` when absent.
    #[schema(min_length = 1, max_length = 512)]
    trace_id: Option<String>,
    /// The agent it is about, when the payload does not say.
    #[schema(min_length = 1, max_length = 512)]
    agent_id: Option<String>,
    /// The user it is about.
    #[schema(min_length = 1, max_length = 512)]
    user_id: Option<String>,
    /// What happened: any JSON value.
    #[schema(required = false)]
    payload: Value,
}

/// The earliest and the latest time of an event in unix seconds, years 1 to 9999; a number from 1e11 on is milliseconds.
const UNIX: [f64; 2] = [-62_135_596_800.0, 253_402_300_799_999.0];

fn time_of_event() -> Schema {
    let of = |kind| ObjectBuilder::new().schema_type(kind);
    let forms = AnyOfBuilder::new()
        .item(of(Type::String).format(Some(SchemaFormat::Custom("iso8601".to_owned()))))
        .item(of(Type::Number).minimum(Some(UNIX[0])).maximum(Some(UNIX[1])))
        .item(of(Type::Null))
        .description(Some("RFC 3339, or unix seconds or milliseconds; the server's time when absent."));
    Schema::AnyOf(forms.build())
}

/// One event, or many.
#[derive(Debug, ToSchema)]
#[schema(as = Envelopes)]
#[serde(untagged)]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum EnvelopesSchema {
    /// One.
    One(EnvelopeSchema),
    /// Many.
    Many(EnvelopeListSchema),
}

/// Up to 1,000 events, taken in this order.
#[derive(Debug, ToSchema)]
#[schema(as = EnvelopeList, min_items = 1)]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct EnvelopeListSchema(Vec<EnvelopeSchema>);

/// Publish events
///
/// One network envelope or an array of them. `accepted` means durable. Send the same event again as often as you like:
/// with an `idempotency_key` (or an `event_id`) it is taken once.
#[utoipa::path(
    post, path = "/living-map/events", tag = "events", operation_id = "publish",
    request_body(content = EnvelopesSchema, content_type = "application/json"),
    responses(
        (status = 200, description = "At least one was accepted or there already; see each", body = Published),
        (status = 400, description = "No JSON", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time",
            body = Document, content_type = "application/problem+json"),
        (status = 413, description = "Too many bytes or too many events",
            body = Document, content_type = "application/problem+json"),
        (status = 415, description = "Not declared as JSON",
            body = Document, content_type = "application/problem+json"),
        (status = 422, description = "All were rejected; the problem also has `results`",
            body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is away and nothing was taken; send it again",
            body = Document, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn events(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let config = &state.config;
    let (Parts { headers, extensions, .. }, body) = request.into_parts();
    let values = match body::json(&headers, body, config.max_body_bytes, config.body_timeout).await? {
        Value::Array(values) => values,
        one => vec![one],
    };
    if values.is_empty() {
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "expected an event, or an array of at least one").field("body")
        );
    }
    if values.len() > config.max_batch {
        return Err(Problem::too_large(format_args!("{} events", config.max_batch)));
    }
    state.limits.events(&Visitor::of(&extensions), values.len())?;
    let origin = Origin { now: Utc::now(), trace: spans::of(&headers) };
    let results = publish(&*state.log, &*state.history, values, &origin, config.probe_timeout)
        .await
        .map_err(|problem| problem.retry_after(config.retry_after))?;
    count(&results);
    Ok(answer(results))
}

fn count(results: &[ItemResult]) {
    for status in [ItemStatus::Accepted, ItemStatus::Duplicate, ItemStatus::Rejected] {
        let number = results.iter().filter(|result| result.status == status).count() as u64;
        metrics::counter!("living_map_http_published_events_total", "status" => status.as_str()).increment(number);
    }
}

fn answer(results: Vec<ItemResult>) -> Response {
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
            let results = serde_json::to_value(&results).unwrap_or_default();
            problem.with("results", results).into_response()
        }
        _ => Json(Published { results }).into_response(),
    }
}

/// Appends what can be appended.
async fn publish(
    log: &dyn EventLog,
    history: &dyn History,
    values: Vec<Value>,
    origin: &Origin,
    patience: Duration,
) -> Result<Vec<ItemResult>, Problem> {
    let mut results: Vec<Option<ItemResult>> = Vec::with_capacity(values.len());
    let mut firsts: HashMap<Uuid, usize> = HashMap::new();
    let mut repeats: Vec<(usize, usize)> = Vec::new();
    let mut pending: Vec<(usize, NewEvent)> = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match read(value, origin) {
            Err(error) => {
                results.push(Some(ItemResult::rejected(index, None, Some(error.field), error.to_string())));
                continue;
            }
            Ok(new) => match firsts.entry(new.event.id) {
                Entry::Occupied(first) => repeats.push((index, *first.get())),
                Entry::Vacant(place) => {
                    place.insert(index);
                    pending.push((index, new));
                }
            },
        }
        results.push(None);
    }

    let pending = without_known(history, pending, &mut results, patience).await;
    append(log, pending, &mut results).await?;
    for (index, first) in repeats {
        results[index] = results[first].clone().map(|result| match result.status {
            ItemStatus::Rejected => ItemResult { index, ..result },
            ItemStatus::Accepted | ItemStatus::Duplicate => {
                ItemResult { index, status: ItemStatus::Duplicate, ..result }
            }
        });
    }
    Ok(results.into_iter().flatten().collect())
}

/// The request that events came with.
struct Origin {
    now: DateTime<Utc>,
    trace: Option<Traceparent>,
}

fn read(value: Value, origin: &Origin) -> Result<NewEvent, FieldError> {
    let mut new = envelope::publish(value, origin.now)?;
    if let Some(trace) = origin.trace {
        new.event.traced(trace);
    }
    if new.event.event_type.split('.').next() == Some(RESERVED) {
        let problem = format!("subjects under '{RESERVED}.' are written by this server alone");
        return Err(FieldError { field: "event_type", problem });
    }
    Ok(new)
}

/// Settles what the record has already, as far as it answers in time: a log that works is not to wait for a database that
/// does not. The log only remembers the events of the last minutes.
async fn without_known(
    history: &dyn History,
    pending: Vec<(usize, NewEvent)>,
    results: &mut [Option<ItemResult>],
    patience: Duration,
) -> Vec<(usize, NewEvent)> {
    if pending.is_empty() {
        return pending;
    }
    let ids: Vec<Uuid> = pending.iter().map(|(_, new)| new.event.id).collect();
    // what is appended twice for want of an answer is recorded once all the same: the record has a unique key
    let known = match timeout(patience, history.known(&ids)).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => {
            tracing::debug!(%error, "published events are not checked against the record");
            HashMap::new()
        }
        Err(_) => {
            tracing::debug!("published events are not checked against the record: it is too slow");
            HashMap::new()
        }
    };
    let mut unknown = Vec::with_capacity(pending.len());
    for (index, new) in pending {
        match known.get(&new.event.id) {
            Some(cursor) => {
                results[index] = Some(ItemResult::taken(index, ItemStatus::Duplicate, new.event.id, *cursor));
            }
            None => unknown.push((index, new)),
        }
    }
    unknown
}

async fn append(
    log: &dyn EventLog,
    pending: Vec<(usize, NewEvent)>,
    results: &mut [Option<ItemResult>],
) -> Result<(), Problem> {
    if pending.is_empty() {
        return Ok(());
    }
    let (places, events): (Vec<_>, Vec<_>) =
        pending.into_iter().map(|(index, new)| ((index, new.event.id), new)).unzip();
    let mut away = None;
    let mut any_taken = false;
    for ((index, id), appended) in places.into_iter().zip(log.append(events).await) {
        results[index] = Some(match appended {
            Ok(appended) => {
                any_taken = true;
                let status = if appended.duplicate { ItemStatus::Duplicate } else { ItemStatus::Accepted };
                ItemResult::taken(index, status, id, appended.cursor)
            }
            Err(error) => {
                let (field, reason) = reason_of(&error);
                if is_passing(&error) {
                    away = Some(error);
                }
                ItemResult::rejected(index, Some(id), field, reason)
            }
        });
    }
    match away {
        Some(error) if !any_taken => Err(Problem::from(error)),
        Some(error) => {
            tracing::warn!(%error, "the log took only a part of the events of a request");
            Ok(())
        }
        None => Ok(()),
    }
}

/// Whether the same event may be taken later.
const fn is_passing(error: &LogError) -> bool {
    match error {
        LogError::Unavailable(_) | LogError::Truncated { .. } | LogError::EpochChanged(_) => true,
        LogError::NotRecorded(_) | LogError::TooLarge { .. } | LogError::Refused(_) => false,
    }
}

/// What an event's sender is told about its failure, and the field that is to blame.
fn reason_of(error: &LogError) -> (Option<&'static str>, String) {
    match error {
        LogError::NotRecorded(_) => (Some("event_type"), format!("event_type: {error}")),
        LogError::TooLarge { .. } => (Some("payload"), format!("payload: {error}")),
        LogError::Refused(_) => {
            // in the database's words, which are not the sender's business
            tracing::warn!(%error, "the log refused a published event");
            (None, "the database behind the log cannot hold this event".to_owned())
        }
        LogError::Unavailable(_) | LogError::Truncated { .. } | LogError::EpochChanged(_) => {
            (None, "the log is not available right now; send this event again".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
