//! The simulated agents service.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error_response;
use crate::demo::SharedState;
use crate::demo::entities::Agent;
use crate::demo::names;
use crate::demo::network_state::NetworkState;

pub(super) fn routes() -> Router<SharedState> {
    Router::new().route("/agents", get(list)).route("/agents/{id}", get(one))
}

#[derive(Deserialize)]
struct ListQuery {
    #[serde(default = "default_is_active")]
    is_active: bool,
}

/// The real service's default: it lists active agents.
const fn default_is_active() -> bool {
    true
}

async fn list(State(state): State<SharedState>, Query(query): Query<ListQuery>) -> Json<Value> {
    let state = state.lock();
    let wanted = state.agents().iter().filter(|agent| agent.is_active == query.is_active);
    Json(wanted.map(|agent| body(&state, agent)).collect())
}

async fn one(State(state): State<SharedState>, Path(id): Path<String>) -> Response {
    let state = state.lock();
    let agent = state.agents().iter().find(|agent| agent.id == id || agent.uuid.to_string() == id);
    match agent {
        Some(agent) => Json(body(&state, agent)).into_response(),
        None => error_response(StatusCode::NOT_FOUND, &format!("Agent '{id}' not found")),
    }
}

fn body(state: &NetworkState, agent: &Agent) -> Value {
    json!({
        "id": agent.uuid,
        "external_id": agent.id,
        "name": agent.name,
        "kind": agent.kind,
        "description": agent.description,
        "microdao_id": state.microdaos[agent.microdao].uuid,
        "owner_user_id": null,
        "blueprint_id": null,
        "model": names::MODELS[agent.model].0,
        "tools_enabled": [names::TOOLS[agent.model].0],
        "system_prompt": null,
        "avatar_url": null,
        "is_active": agent.is_active,
        "created_at": agent.created_at,
        "updated_at": agent.updated_at,
    })
}
