//! The simulated dao service.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error_response;
use crate::demo::SharedState;
use crate::demo::entities::Dao;
use crate::demo::network_state::NetworkState;

pub(super) fn routes() -> Router<SharedState> {
    Router::new()
        .route("/dao", get(list))
        .route("/dao/{slug}", get(overview))
        .route("/dao/{slug}/proposals", get(proposals))
}

#[derive(Deserialize)]
struct ProposalsQuery {
    status: Option<String>,
}

async fn list(State(state): State<SharedState>) -> Json<Value> {
    let state = state.lock();
    Json(state.daos.iter().map(|dao| body(&state, dao)).collect())
}

async fn overview(State(state): State<SharedState>, Path(slug): Path<String>) -> Response {
    let state = state.lock();
    let Some(dao) = state.daos.iter().find(|dao| dao.slug == slug) else { return not_found(&slug) };
    let treasury = dao.treasury.iter().map(|(symbol, contract, balance)| {
        json!({"token_symbol": symbol, "contract_address": contract, "balance": balance.to_string()})
    });
    let overview = json!({
        "dao": body(&state, dao),
        "members_count": dao.members.len(),
        "active_proposals_count": dao.proposals.iter().filter(|proposal| proposal.status == "active").count(),
        "total_proposals_count": dao.proposals.len(),
        "treasury_items": treasury.collect::<Value>(),
    });
    Json(overview).into_response()
}

async fn proposals(
    State(state): State<SharedState>,
    Path(slug): Path<String>,
    Query(query): Query<ProposalsQuery>,
) -> Response {
    let state = state.lock();
    let Some(dao) = state.daos.iter().find(|dao| dao.slug == slug) else { return not_found(&slug) };
    let wanted = dao.proposals.iter().filter(|proposal| query.status.as_deref().is_none_or(|s| s == proposal.status));
    let proposals = wanted.map(|proposal| {
        json!({
            "slug": proposal.slug,
            "title": proposal.title,
            "description": null,
            "id": proposal.uuid,
            "dao_id": dao.uuid,
            "created_by_user_id": dao.members[0],
            "created_at": proposal.created_at,
            "start_at": proposal.created_at,
            "end_at": proposal.created_at + chrono::TimeDelta::days(3),
            "status": proposal.status,
            "governance_model_override": null,
            "quorum_percent_override": null,
        })
    });
    Json(proposals.collect::<Value>()).into_response()
}

fn not_found(slug: &str) -> Response {
    error_response(StatusCode::NOT_FOUND, &format!("DAO '{slug}' not found"))
}

fn body(state: &NetworkState, dao: &Dao) -> Value {
    json!({
        "slug": dao.slug,
        "name": dao.name,
        "description": dao.description,
        "id": dao.uuid,
        "microdao_id": state.microdaos[dao.microdao].uuid,
        "owner_user_id": dao.members[0],
        "governance_model": "simple",
        "voting_period_seconds": 259_200,
        "quorum_percent": 20,
        "is_active": true,
        "created_at": state.created_at,
        "updated_at": state.created_at,
    })
}
