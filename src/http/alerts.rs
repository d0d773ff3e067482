//! Active alerts and their acknowledgement.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::decisions::{self, MAX_NOTE_BYTES, decided_by};
use super::error::Problem;
use super::fields::Fields;
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, IdQuery, Params, PathId, Query, shown};
use super::requester::Requester;
use super::responses::{LogItemErrors, MapErrors};
use super::state::AppState;
use crate::model::{Alert, AlertSeverity, Cursor, alert};

/// Maximum number of active alerts.
const MAX_LIMIT: u32 = 64;

/// Page of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// Maximum number of alerts on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 64, default = 64)]
    limit: u32,
    /// Number of alerts to skip.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page-of-alerts", pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<AlertPosition>,
}

impl FromParams for AlertsQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let limit = params.number("limit", 1..=MAX_LIMIT, MAX_LIMIT)?;
        let (offset, cursor) = paging::start(params, AlertPosition::decode)?;
        Ok(Self { limit, offset, cursor })
    }
}

/// Position of an alert in the list: by severity, most severe first, then by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct AlertPosition(Reverse<AlertSeverity>, String);

impl AlertPosition {
    fn of(alert: &Alert) -> Self {
        Self(Reverse(alert.severity), alert.id.clone())
    }

    fn encode(&self) -> String {
        paging::encode_id(&format!("{}/{}", self.0.0.as_str(), self.1))
    }

    fn decode(cursor: &str) -> Result<Self, Problem> {
        let text = paging::decode_id(cursor)?;
        let (severity, id) = text.split_once('/').ok_or_else(paging::invalid)?;
        Ok(Self(Reverse(severity.parse().map_err(|_| paging::invalid())?), id.to_owned()))
    }
}

/// A page of active alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertList {
    /// Alerts, at most 64 on all pages, ordered by severity, most severe first, then by id.
    #[schema(value_type = Vec<Alert>)]
    items: Items,
    /// True if there are further pages.
    has_more: bool,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
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
    params(AlertsQuery),
    responses((status = 200, body = AlertList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), MapErrors)
)]
pub async fn alerts(
    State(state): State<AppState>,
    Query(query): Query<AlertsQuery>,
) -> Result<Page<AlertList>, Problem> {
    let AlertsQuery { limit, offset, cursor: after } = query;
    let bounds = PageBounds::new(&state, limit, offset, after.as_ref());
    let (mut items, cursor) = state.map()?.with(|map| (map.alerts().cloned().collect::<Vec<_>>(), map.cursor()));
    items.retain(|alert| after.as_ref().is_none_or(|after| AlertPosition::of(alert) > *after));
    items.sort_by_cached_key(AlertPosition::of);
    items.drain(..items.len().min(offset as usize));
    let has_more = items.len() > limit as usize;
    let found = Found { items: items.into_iter().take(limit as usize), has_more };
    Page::new(
        found,
        bounds,
        |alert| AlertPosition::of(alert).encode(),
        move |next| AlertList {
            items: Items,
            has_more: next.has_more,
            next_cursor: next.cursor,
            next_offset: next.offset,
            cursor,
        },
    )
    .await
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
    acknowledge_with(&state, id, &requester, &fields).await
}

/// Acknowledge an alert with an id in the query
///
/// Like `/living-map/alerts/{id}/acknowledge`, for ids with a slash behind proxies that decode the path.
#[utoipa::path(
    post, path = "/living-map/alerts/acknowledge", tag = "alerts", operation_id = "acknowledge_alert_by_query",
    params(IdQuery),
    request_body(content = AcknowledgeBody, content_type = "application/json"),
    responses((status = 200, description = "The acknowledged alert", body = Alert), LogItemErrors)
)]
pub async fn acknowledge_by_query(
    State(state): State<AppState>,
    Query(IdQuery { id }): Query<IdQuery>,
    requester: Requester,
    fields: Fields,
) -> Result<Json<Alert>, Problem> {
    acknowledge_with(&state, id, &requester, &fields).await
}

async fn acknowledge_with(
    state: &AppState,
    id: String,
    requester: &Requester,
    fields: &Fields,
) -> Result<Json<Alert>, Problem> {
    let by = decided_by(requester, fields)?;
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
    decisions::append(state, alert::ACKNOWLEDGED, payload, Utc::now()).await?;
    find().map(Json).ok_or_else(not_found)
}
