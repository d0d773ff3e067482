//! The simulated microdao service.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::refusal;
use crate::demo::SharedWorld;
use crate::demo::entities::Microdao;
use crate::demo::world::World;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/microdao", get(list))
        .route("/microdao/{slug}", get(one))
        .route("/microdao/{slug}/treasury", get(treasury))
}

async fn list(State(world): State<SharedWorld>) -> Json<Value> {
    let world = world.lock();
    let microdaos = world.microdaos.iter().enumerate();
    // the real service joins the caller's own membership only, so it counts one member everywhere
    Json(microdaos.map(|(index, microdao)| body(&world, index, microdao, 1)).collect())
}

async fn one(State(world): State<SharedWorld>, Path(slug): Path<String>) -> Response {
    let world = world.lock();
    match world.microdaos.iter().enumerate().find(|(_, microdao)| microdao.slug == slug) {
        Some((index, microdao)) => Json(body(&world, index, microdao, microdao.members.len())).into_response(),
        None => not_found(&slug),
    }
}

async fn treasury(State(world): State<SharedWorld>, Path(slug): Path<String>) -> Response {
    let world = world.lock();
    match world.microdaos.iter().find(|microdao| microdao.slug == slug) {
        Some(microdao) => {
            Json(json!([{"token_symbol": "DCR", "balance": microdao.balance.to_string()}])).into_response()
        }
        None => not_found(&slug),
    }
}

fn not_found(slug: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("MicroDAO '{slug}' not found"))
}

fn body(world: &World, index: usize, microdao: &Microdao, members: usize) -> Value {
    json!({
        "slug": microdao.slug,
        "name": microdao.name,
        "description": microdao.description,
        "id": microdao.uuid,
        "external_id": microdao.id,
        "owner_user_id": microdao.members[0],
        "is_active": true,
        "created_at": world.born,
        "updated_at": world.born,
        "member_count": members,
        "agent_count": world.agents_of(index),
    })
}
