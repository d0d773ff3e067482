//! The simulated dao service.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal;
use crate::demo::SharedWorld;
use crate::demo::entities::Dao;
use crate::demo::world::World;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new()
        .route("/dao", get(list))
        .route("/dao/{slug}", get(overview))
        .route("/dao/{slug}/proposals", get(proposals))
}

#[derive(Deserialize)]
struct ProposalsQuery {
    status: Option<String>,
}

async fn list(State(world): State<SharedWorld>) -> Json<Value> {
    let world = world.lock();
    Json(world.daos.iter().map(|dao| body(&world, dao)).collect())
}

async fn overview(State(world): State<SharedWorld>, Path(slug): Path<String>) -> Response {
    let world = world.lock();
    let Some(dao) = world.daos.iter().find(|dao| dao.slug == slug) else { return not_found(&slug) };
    let treasury = dao.treasury.iter().map(|(symbol, contract, balance)| {
        json!({"token_symbol": symbol, "contract_address": contract, "balance": balance.to_string()})
    });
    let overview = json!({
        "dao": body(&world, dao),
        "members_count": dao.members.len(),
        "active_proposals_count": dao.proposals.iter().filter(|proposal| proposal.status == "active").count(),
        "total_proposals_count": dao.proposals.len(),
        "treasury_items": treasury.collect::<Value>(),
    });
    Json(overview).into_response()
}

async fn proposals(
    State(world): State<SharedWorld>,
    Path(slug): Path<String>,
    Query(query): Query<ProposalsQuery>,
) -> Response {
    let world = world.lock();
    let Some(dao) = world.daos.iter().find(|dao| dao.slug == slug) else { return not_found(&slug) };
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
    refusal(StatusCode::NOT_FOUND, &format!("DAO '{slug}' not found"))
}

fn body(world: &World, dao: &Dao) -> Value {
    json!({
        "slug": dao.slug,
        "name": dao.name,
        "description": dao.description,
        "id": dao.uuid,
        "microdao_id": world.microdaos[dao.microdao].uuid,
        "owner_user_id": dao.members[0],
        "governance_model": "simple",
        "voting_period_seconds": 259_200,
        "quorum_percent": 20,
        "is_active": true,
        "created_at": world.born,
        "updated_at": world.born,
    })
}
