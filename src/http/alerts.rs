//! What wants a look, and who looks after it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body;
use super::error::{Document, Problem};
use super::fields::Fields;
use super::limits::Visitor;
use super::query::{EntityId, shown};
use super::state::AppState;
use crate::log::LogError;
use crate::model::{Alert, Cursor, alert, envelope, time};

/// The longest name of somebody, in bytes.
pub(super) const MAX_BY_BYTES: usize = 128;
/// The longest note, in bytes.
pub(super) const MAX_NOTE_BYTES: usize = 400;

/// The active alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertList {
    /// At most 64, the most urgent first, then by id.
    items: Vec<Alert>,
    /// The position at which they are so.
    #[schema(value_type = String)]
    cursor: Cursor,
}

/// Who looks after an alert.
#[derive(Debug, ToSchema)]
#[schema(as = Acknowledge, example = json!({"by": "olena", "note": "restarting it"}))]
#[expect(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct AcknowledgeBody {
    /// Who; with a token it is whoever has the token. At most 128 bytes.
    #[schema(min_length = 1, max_length = 128)]
    by: Option<String>,
    /// What they say of it, at most 400 bytes.
    #[schema(min_length = 1, max_length = 400)]
    note: Option<String>,
}

/// The active alerts, the most urgent first
///
/// Raised by rules, by `ops.alert.{critical|warning|info}` and `living_map.alert.raised`; over when they are cleared or their
/// time is up. The snapshot has them too, in its city layer.
#[utoipa::path(
    get, path = "/living-map/alerts", tag = "alerts", operation_id = "alerts",
    responses(
        (status = 200, body = AlertList),
        (status = 503, body = Document, content_type = "application/problem+json", description = "The map is not complete yet"),
    )
)]
pub async fn alerts(State(state): State<AppState>) -> Result<Json<AlertList>, Problem> {
    let (mut items, cursor) = state.map()?.with(|map| (map.alerts().cloned().collect::<Vec<_>>(), map.cursor()));
    items.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    Ok(Json(AlertList { items, cursor }))
}

/// Say who looks after an alert
///
/// It stays on the map, for all to see by whom. Who said it last counts; the same once more changes nothing.
#[utoipa::path(
    post, path = "/living-map/alerts/{id}/acknowledge", tag = "alerts", operation_id = "acknowledge_alert",
    params(("id" = String, Path, description = "As in the list", example = "agent-errors:agent:sofia")),
    request_body(content = AcknowledgeBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The alert, acknowledged", body = Alert),
        (status = 404, description = "It is not active", body = Document, content_type = "application/problem+json"),
        (status = 422, body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is away, or the map is not complete yet",
            body = Document, content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "Seconds"))),
    )
)]
pub async fn acknowledge(
    State(state): State<AppState>,
    EntityId(id): EntityId,
    request: Request,
) -> Result<Json<Alert>, Problem> {
    let (fields, by) = read(&state, request).await?;
    let note = fields.text("note", MAX_NOTE_BYTES)?;
    let find = || state.live.with(|map| map.alerts().find(|alert| alert.id == id).cloned());
    let unknown = || Problem::not_found(format!("there is no active alert '{}'", shown(&id))).parameter("id");
    state.map()?;
    let active = find().ok_or_else(unknown)?;
    let by = by.unwrap_or_else(|| "somebody".to_owned());
    if active.acknowledged_by.as_ref() == Some(&by) && active.note == note {
        return Ok(Json(active));
    }
    tell(&state, alert::ACKNOWLEDGED, json!({"alert_id": id, "by": by, "note": note}), Utc::now()).await?;
    find().map(Json).ok_or_else(unknown)
}

/// The fields of a body, and who sends them: whoever has the token, else who they say they are.
pub(super) async fn read(state: &AppState, request: Request) -> Result<(Fields, Option<String>), Problem> {
    let (Parts { headers, extensions, .. }, body): (_, Body) = request.into_parts();
    let config = &state.config;
    let fields = Fields::of(body::json(&headers, body, config.max_body_bytes, config.body_timeout).await?)?;
    let said = fields.text("by", MAX_BY_BYTES)?;
    let by = Visitor::of(&extensions).identity().map(|identity| identity.name.to_string()).or(said);
    Ok((fields, by))
}

/// Puts into the log what somebody decided, and waits until the map shows it, as far as it does so in time.
pub(super) async fn tell(
    state: &AppState,
    event_type: &str,
    payload: Value,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let event = json!({
        "event_type": event_type, "source": "living-map", "timestamp": time::text(now), "payload": payload,
    });
    let new = envelope::publish(event, now).map_err(Problem::internal)?;
    let outcome = state.log.append(vec![new]).await.pop();
    let outcome = outcome.unwrap_or_else(|| Err(LogError::Unavailable("the log gave no answer".to_owned())));
    let appended = outcome.map_err(|error| state.problem(error))?;
    if let Some(cursor) = appended.cursor {
        // it is in the log; a map that is late shows it later
        let _ = tokio::time::timeout(state.config.catch_up_timeout, state.live.folded(cursor)).await;
    }
    Ok(())
}
