//! The simulated microdao service.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error_response;
use crate::demo::SharedState;
use crate::demo::entities::Microdao;
use crate::demo::network_state::NetworkState;

pub(super) fn routes() -> Router<SharedState> {
    Router::new()
        .route("/microdao", get(list))
        .route("/microdao/{slug}", get(one))
        .route("/microdao/{slug}/treasury", get(treasury))
}

async fn list(State(state): State<SharedState>) -> Json<Value> {
    let state = state.lock();
    let microdaos = state.microdaos.iter().enumerate();
    // the real service joins the caller's own membership only, so it counts one member everywhere
    Json(microdaos.map(|(index, microdao)| body(&state, index, microdao, 1)).collect())
}

async fn one(State(state): State<SharedState>, Path(slug): Path<String>) -> Response {
    let state = state.lock();
    match state.microdaos.iter().enumerate().find(|(_, microdao)| microdao.slug == slug) {
        Some((index, microdao)) => Json(body(&state, index, microdao, microdao.members.len())).into_response(),
        None => not_found(&slug),
    }
}

async fn treasury(State(state): State<SharedState>, Path(slug): Path<String>) -> Response {
    let state = state.lock();
    match state.microdaos.iter().find(|microdao| microdao.slug == slug) {
        Some(microdao) => {
            Json(json!([{"token_symbol": "DCR", "balance": microdao.balance.to_string()}])).into_response()
        }
        None => not_found(&slug),
    }
}

fn not_found(slug: &str) -> Response {
    error_response(StatusCode::NOT_FOUND, &format!("MicroDAO '{slug}' not found"))
}

fn body(state: &NetworkState, index: usize, microdao: &Microdao, members: usize) -> Value {
    json!({
        "slug": microdao.slug,
        "name": microdao.name,
        "description": microdao.description,
        "id": microdao.uuid,
        "external_id": microdao.id,
        "owner_user_id": microdao.members[0],
        "is_active": true,
        "created_at": state.created_at,
        "updated_at": state.created_at,
        "member_count": members,
        "agent_count": state.agents_of(index),
    })
}
