//! Entities of all layers.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::error::{Document, Problem};
use super::paging;
use super::query::{EntityId, FromParams, MAX_ID_BYTES, Params, Query, shown};
use super::state::AppState;
use crate::map::{EntityDetail, EntityFilter, EntitySummary, Relation};
use crate::model::{EntityType, Layer, Status};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;
const MAX_Q_BYTES: usize = 200;

/// Which entities are wanted; all filters must hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntitiesQuery {
    /// Of this type.
    #[param(rename = "type")]
    kind: Option<EntityType>,
    /// Shown in this layer.
    layer: Option<Layer>,
    /// In this status.
    status: Option<Status>,
    /// Belonging to this microDAO, by any of its names.
    #[param(example = "microdao:7", max_length = 512)]
    microdao_id: Option<String>,
    /// Whose id, label or alias contains this text, in any case.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Entities on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>, format = "page-of-entities", pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
}

impl FromParams for EntitiesQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        Ok(Self {
            kind: params.parsed("type")?,
            layer: params.parsed("layer")?,
            status: params.parsed("status")?,
            microdao_id: params.short_text("microdao_id", MAX_ID_BYTES)?,
            q: params.short_text("q", MAX_Q_BYTES)?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            cursor: params.text("cursor")?.map(paging::read_id).transpose()?,
        })
    }
}

/// A page of entities.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "items": [{"id": "agent:sofia", "type": "agent", "label": "Sofia", "status": "online", "layer": "agents"}],
    "next_cursor": "YWdlbnQ6c29maWE", "has_more": true,
}))]
pub struct EntityList {
    /// The entities, ordered by id.
    items: Vec<EntitySummary>,
    /// For `cursor`, to get the next page; null on the last one.
    next_cursor: Option<String>,
    /// Whether there are more.
    has_more: bool,
}

/// What an entity is connected with.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelationList {
    /// The entity's canonical id.
    id: String,
    /// Its relations, ordered.
    relations: Vec<Relation>,
}

/// Entities of all layers
///
/// Ordered by id, page by page.
#[utoipa::path(
    get, path = "/living-map/entities", tag = "map", operation_id = "entities",
    params(EntitiesQuery),
    responses(
        (status = 200, body = EntityList),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is still being read for the first time",
            body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn entities(
    State(state): State<AppState>,
    Query(query): Query<EntitiesQuery>,
) -> Result<Json<EntityList>, Problem> {
    let EntitiesQuery { kind, layer, status, microdao_id, q, limit, cursor } = query;
    let filter = EntityFilter { kind, layer, status, microdao_id, q };
    let page = state.map()?.with(|map| map.entities(&filter, cursor.as_deref(), limit as usize));
    let last = page.items.last().filter(|_| page.has_more);
    let next_cursor = last.map(|entity| paging::write_id(&entity.id));
    Ok(Json(EntityList { has_more: page.has_more, next_cursor, items: page.items }))
}

/// One entity, whole
#[utoipa::path(
    get, path = "/living-map/entities/{id}", tag = "map", operation_id = "entity",
    params(("id" = String, Path, description = "Canonical id, or any alias: a uuid, a slug", example = "agent:sofia")),
    responses(
        (status = 200, body = EntityDetail),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is still being read for the first time",
            body = Document, content_type = "application/problem+json"),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn entity(State(state): State<AppState>, EntityId(id): EntityId) -> Result<Json<EntityDetail>, Problem> {
    state.map()?.with(|map| map.entity(&id)).map(Json).ok_or_else(|| unknown(&id))
}

/// What an entity is connected with
#[utoipa::path(
    get, path = "/living-map/entities/{id}/relations", tag = "map", operation_id = "relations",
    params(("id" = String, Path, description = "Canonical id, or any alias: a uuid, a slug", example = "dao:aurora")),
    responses(
        (status = 200, body = RelationList),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 503, description = "The log is still being read for the first time",
            body = Document, content_type = "application/problem+json"),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
pub async fn relations(State(state): State<AppState>, EntityId(id): EntityId) -> Result<Json<RelationList>, Problem> {
    state
        .map()?
        .with(|map| {
            let relations = map.relations(&id)?;
            Some(RelationList { id: map.resolve(&id).unwrap_or(&id).to_owned(), relations })
        })
        .map(Json)
        .ok_or_else(|| unknown(&id))
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("no entity is called '{}'", shown(id))).parameter("id")
}
