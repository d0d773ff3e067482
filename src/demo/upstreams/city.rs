//! The simulated city service: a snapshot of the city for one of its users.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde_json::{Value, json};

use crate::demo::SharedState;
use crate::demo::entities::{Load, Presence};
use crate::demo::network_state::NetworkState;

pub(super) fn routes() -> Router<SharedState> {
    Router::new().route("/api/city/snapshot", get(snapshot))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn snapshot(State(state): State<SharedState>) -> Json<Value> {
    let state = state.lock();
    let microdao = &state.microdaos[0];
    let agents = state.agents_of(0);
    let present = state.agents().iter().filter(|agent| agent.presence != Presence::Offline).count();
    let body = json!({
        "user": {"id": "user:93", "handle": "@alice:daarion.city", "archetype": "Explorer", "microdaoId": microdao.id},
        "microdao": {
            "id": microdao.id,
            "name": microdao.name,
            "members": microdao.members.len(),
            "humans": microdao.members.len(),
            "agents": agents,
            "balanceDcr": microdao.balance.as_f64(),
            "activity24h": 0.84,
        },
        "metrics": metrics(&state, present as f64 / state.agents().len() as f64),
        "nodes": state.nodes.iter().enumerate().map(|(index, node)| json!({
            "id": node.id,
            "label": node.name,
            "gpuLoad": node.load.gpu,
            "latencyMs": node.load.latency_ms,
            "agents": state.agents_on(index),
            "status": node.condition.as_city(),
        })).collect::<Value>(),
        "agents": state.agents().iter().filter(|agent| agent.is_active).map(|agent| json!({
            "id": agent.id,
            "name": agent.name,
            "role": agent.kind,
            "status": agent.presence.as_str(),
            "lastAction": agent.last_action,
        })).collect::<Value>(),
        "quests": state.quests.iter().map(|quest| {
            json!({"id": quest.id, "label": quest.label, "progress": quest.progress})
        }).collect::<Value>(),
        "events": [],
    });
    Json(body)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn metrics(state: &NetworkState, present: f64) -> Value {
    let nodes = state.nodes.len() as f64;
    let mean = |value: fn(&Load) -> f64| state.nodes.iter().map(|node| value(&node.load)).sum::<f64>() / nodes;
    let age_seconds = (Utc::now() - state.created_at).as_seconds_f64().max(1.0);
    let active = state.agents().iter().filter(|agent| agent.is_active);
    let failing = active.filter(|agent| agent.presence == Presence::Offline).count() as f64;
    json!({
        "activityIndex": rounded(present),
        "avgAgentLatencyMs": rounded(mean(|load| load.latency_ms)),
        "natsTps": rounded(state.events as f64 / age_seconds),
        "nodeAvgLoad": rounded(mean(|load| load.cpu)),
        "errorRate": rounded(failing / state.agents().len() as f64),
        "questEngagement": rounded(state.quests.iter().map(|quest| quest.progress).sum::<f64>() / state.quests.len() as f64),
    })
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
