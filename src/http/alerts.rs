//! Active alerts and their acknowledgement.

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::decisions::{self, MAX_NOTE_BYTES, decided_by};
use super::error::Problem;
use super::fields::Fields;
use super::query::{PathId, shown};
use super::requester::Requester;
use super::responses::{LogItemErrors, MapErrors};
use super::state::AppState;
use crate::model::{Alert, Cursor, alert};

/// Active alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertList {
    /// At most 64 alerts, ordered by severity, most severe first, then by id.
    items: Vec<Alert>,
    /// Log position of the map that the list was read from.
    #[schema(value_type = String)]
    cursor: Cursor,
}

/// Acknowledgement of an alert.
#[derive(Debug, ToSchema)]
#[schema(as = Acknowledge, example = json!({"by": "olena", "note": "restarting it"}))]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct AcknowledgeBody {
    /// Name of the person who handles the alert, at most 128 bytes. Ignored if the request has a token: then the token's
    /// name is used.
    #[schema(min_length = 1, max_length = 128)]
    by: Option<String>,
    /// Note, at most 400 bytes.
    #[schema(min_length = 1, max_length = 400)]
    note: Option<String>,
}

/// List active alerts
///
/// Alerts are raised by the server's alert rules and by events with the subjects `ops.alert.{critical|warning|info}` and
/// `living_map.alert.raised`. They end when they are cleared or expire. The snapshot contains them too, in its city
/// layer.
#[utoipa::path(
    get, path = "/living-map/alerts", tag = "alerts", operation_id = "alerts",
    responses((status = 200, body = AlertList), MapErrors)
)]
pub async fn alerts(State(state): State<AppState>) -> Result<Json<AlertList>, Problem> {
    let (mut items, cursor) = state.map()?.with(|map| (map.alerts().cloned().collect::<Vec<_>>(), map.cursor()));
    items.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    Ok(Json(AlertList { items, cursor }))
}

/// Acknowledge an alert
///
/// The alert stays active and shows who acknowledged it. A later acknowledgement replaces an earlier one; repeating the
/// same request changes nothing.
#[utoipa::path(
    post, path = "/living-map/alerts/{id}/acknowledge", tag = "alerts", operation_id = "acknowledge_alert",
    params(("id" = String, Path, description = "Id of the alert", example = "agent-errors:agent:sofia")),
    request_body(content = AcknowledgeBody, content_type = "application/json"),
    responses((status = 200, description = "The acknowledged alert", body = Alert), LogItemErrors)
)]
pub async fn acknowledge(
    State(state): State<AppState>,
    PathId(id): PathId,
    requester: Requester,
    fields: Fields,
) -> Result<Json<Alert>, Problem> {
    let by = decided_by(&requester, &fields)?;
    let note = fields.text("note", MAX_NOTE_BYTES)?;
    let find = || state.live.with(|map| map.alerts().find(|alert| alert.id == id).cloned());
    let not_found = || Problem::not_found(format!("there is no active alert '{}'", shown(&id))).parameter("id");
    state.map()?;
    let active = find().ok_or_else(not_found)?;
    let by = by.unwrap_or_else(|| "somebody".to_owned());
    if active.acknowledged_by.as_ref() == Some(&by) && active.note == note {
        return Ok(Json(active));
    }
    let payload = json!({"alert_id": id, "by": by, "note": note});
    decisions::append(&state, alert::ACKNOWLEDGED, payload, Utc::now()).await?;
    find().map(Json).ok_or_else(not_found)
}
