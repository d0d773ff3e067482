//! What wants a look.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Document, Problem};
use super::state::AppState;
use crate::model::{Alert, Cursor};

/// The active alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertList {
    /// At most 64, the most urgent first, then by id.
    items: Vec<Alert>,
    /// The position at which they are so.
    #[schema(value_type = String)]
    cursor: Cursor,
}

/// The active alerts, the most urgent first
///
/// Raised by `ops.alert.{critical|warning|info}` and `living_map.alert.raised`; over when they are cleared or their time is
/// up. The snapshot has them too, in its city layer.
#[utoipa::path(
    get, path = "/living-map/alerts", tag = "map", operation_id = "alerts",
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
