//! Entities of the map and their relations.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::answer;
use super::error::Problem;
use super::paging::{self, Found, Items, Page, PageBounds};
use super::query::{FromParams, IdQuery, MAX_ID_BYTES, Params, PathId, Query, shown};
use super::responses::{MapErrors, MapItemErrors};
use super::state::AppState;
use crate::map::{EntityDetail, EntityFilter, EntitySummary, Relation};
use crate::model::{EntityType, Layer, Status};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;
const MAX_Q_BYTES: usize = 200;

/// Filters and page; an entity must match all filters.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntitiesQuery {
    /// Type of the entity.
    #[param(rename = "type")]
    kind: Option<EntityType>,
    /// Layer that shows the entity.
    layer: Option<Layer>,
    /// Status of the entity.
    status: Option<Status>,
    /// Id or alias of the microDAO to which the entity belongs.
    #[param(example = "microdao:7", max_length = 512)]
    microdao_id: Option<String>,
    /// Text that the id, label, or an alias contains; case-insensitive.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Maximum number of entities on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// Number of entities to skip. Use `cursor` to read many pages.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 100_000, default = 0)]
    offset: u32,
    /// `next_cursor` of the previous page.
    #[param(value_type = Option<String>, format = "page-of-entities", pattern = "^[A-Za-z0-9_-]*$")]
    cursor: Option<String>,
}

impl FromParams for EntitiesQuery {
    fn from_params(params: &Params) -> Result<Self, Problem> {
        let (offset, cursor) = paging::start(params, paging::decode_id)?;
        Ok(Self {
            kind: params.parsed("type")?,
            layer: params.parsed("layer")?,
            status: params.parsed("status")?,
            microdao_id: params.short_text("microdao_id", MAX_ID_BYTES)?,
            q: params.short_text("q", MAX_Q_BYTES)?,
            limit: params.number("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT)?,
            offset,
            cursor,
        })
    }
}

/// A page of entities.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "items": [{"id": "agent:sofia", "type": "agent", "label": "Sofia", "status": "online", "layer": "agents"}],
    "next_cursor": "YWdlbnQ6c29maWE", "has_more": true, "next_offset": 1,
}))]
pub struct EntityList {
    /// Entities, ordered by id.
    #[schema(value_type = Vec<EntitySummary>)]
    items: Items,
    /// Pass it as `cursor` to get the next page; null on the last page.
    next_cursor: Option<String>,
    /// True if there are further pages.
    has_more: bool,
    /// Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
    /// above the maximum.
    next_offset: Option<u32>,
}

/// Relations of an entity.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelationList {
    /// Canonical id of the entity.
    id: String,
    /// Relations, in a stable order.
    relations: Vec<Relation>,
}

/// List entities
///
/// Entities of all layers, ordered by id.
#[utoipa::path(
    get, path = "/living-map/entities", tag = "map", operation_id = "entities",
    params(EntitiesQuery),
    responses((status = 200, body = EntityList, headers(
            ("X-Living-Map-Cut" = bool, description = "`true` if the page ends before its `limit`, because of its size"),
        )), MapErrors)
)]
pub async fn entities(
    State(state): State<AppState>,
    Query(query): Query<EntitiesQuery>,
) -> Result<Page<EntityList>, Problem> {
    let EntitiesQuery { kind, layer, status, microdao_id, q, limit, offset, cursor } = query;
    let filter = EntityFilter { kind, layer, status, microdao_id, q };
    let bounds = PageBounds::new(&state, limit, offset, cursor.as_ref());
    // a filter may have to look at every entity
    let map = state.map()?.clone();
    answer::blocking(move || {
        let page = map.with(|map| map.entities(&filter, cursor.as_deref(), offset as usize, limit as usize));
        let found = Found { items: page.items, has_more: page.has_more };
        Page::encode(
            found,
            bounds,
            |entity| paging::encode_id(&entity.id),
            |next| EntityList {
                items: Items,
                next_cursor: next.cursor,
                has_more: next.has_more,
                next_offset: next.offset,
            },
        )
    })
    .await
}

/// Get an entity
///
/// All details of one entity.
#[utoipa::path(
    get, path = "/living-map/entities/{id}", tag = "map", operation_id = "entity",
    params(("id" = String, Path, description = "Canonical id or any alias, such as a UUID or slug", example = "agent:sofia")),
    responses((status = 200, body = EntityDetail), MapItemErrors)
)]
pub async fn entity(State(state): State<AppState>, PathId(id): PathId) -> Result<Json<EntityDetail>, Problem> {
    entity_with(&state, &id)
}

/// Get an entity by an id in the query
///
/// Like `/living-map/entities/{id}`, for ids with a slash behind proxies that decode the path.
#[utoipa::path(
    get, path = "/living-map/entity", tag = "map", operation_id = "entity_by_query",
    params(IdQuery),
    responses((status = 200, body = EntityDetail), MapItemErrors)
)]
pub async fn entity_by_query(
    State(state): State<AppState>,
    Query(IdQuery { id }): Query<IdQuery>,
) -> Result<Json<EntityDetail>, Problem> {
    entity_with(&state, &id)
}

fn entity_with(state: &AppState, id: &str) -> Result<Json<EntityDetail>, Problem> {
    state.map()?.with(|map| map.entity(id)).map(Json).ok_or_else(|| not_found(id))
}

/// List an entity's relations
#[utoipa::path(
    get, path = "/living-map/entities/{id}/relations", tag = "map", operation_id = "relations",
    params(("id" = String, Path, description = "Canonical id or any alias, such as a UUID or slug", example = "dao:aurora")),
    responses((status = 200, body = RelationList), MapItemErrors)
)]
pub async fn relations(State(state): State<AppState>, PathId(id): PathId) -> Result<Response, Problem> {
    relations_of(&state, id).await
}

/// List the relations of an entity with an id in the query
///
/// Like `/living-map/entities/{id}/relations`, for ids with a slash behind proxies that decode the path.
#[utoipa::path(
    get, path = "/living-map/entity/relations", tag = "map", operation_id = "relations_by_query",
    params(IdQuery),
    responses((status = 200, body = RelationList), MapItemErrors)
)]
pub async fn relations_by_query(
    State(state): State<AppState>,
    Query(IdQuery { id }): Query<IdQuery>,
) -> Result<Response, Problem> {
    relations_of(&state, id).await
}

async fn relations_of(state: &AppState, id: String) -> Result<Response, Problem> {
    let map = state.map()?.clone();
    answer::json_from(move || {
        map.with(|map| {
            let relations = map.relations(&id)?;
            Some(RelationList { id: map.resolve(&id).unwrap_or(&id).to_owned(), relations })
        })
        .ok_or_else(|| not_found(&id))
    })
    .await
}

fn not_found(id: &str) -> Problem {
    Problem::not_found(format!("there is no entity with the id or alias '{}'", shown(id))).parameter("id")
}
