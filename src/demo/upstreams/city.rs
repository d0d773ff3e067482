//! The simulated city service: the city as one of its users sees it.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde_json::{Value, json};

use crate::demo::SharedWorld;
use crate::demo::entities::{Load, Presence};
use crate::demo::world::World;

pub(super) fn routes() -> Router<SharedWorld> {
    Router::new().route("/api/city/snapshot", get(snapshot))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
async fn snapshot(State(world): State<SharedWorld>) -> Json<Value> {
    let world = world.lock();
    let microdao = &world.microdaos[0];
    let agents = world.agents_of(0);
    let present = world.agents().iter().filter(|agent| agent.presence != Presence::Offline).count();
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
        "metrics": metrics(&world, present as f64 / world.agents().len() as f64),
        "nodes": world.nodes.iter().enumerate().map(|(index, node)| json!({
            "id": node.id,
            "label": node.name,
            "gpuLoad": node.load.gpu,
            "latencyMs": node.load.latency_ms,
            "agents": world.agents_on(index),
            "status": node.condition.as_city(),
        })).collect::<Value>(),
        "agents": world.agents().iter().filter(|agent| agent.is_active).map(|agent| json!({
            "id": agent.id,
            "name": agent.name,
            "role": agent.kind,
            "status": agent.presence.as_str(),
            "lastAction": agent.last_action,
        })).collect::<Value>(),
        "quests": world.quests.iter().map(|quest| {
            json!({"id": quest.id, "label": quest.label, "progress": quest.progress})
        }).collect::<Value>(),
        "events": [],
    });
    Json(body)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn metrics(world: &World, present: f64) -> Value {
    let nodes = world.nodes.len() as f64;
    let mean = |of: fn(&Load) -> f64| world.nodes.iter().map(|node| of(&node.load)).sum::<f64>() / nodes;
    let age_seconds = (Utc::now() - world.born).as_seconds_f64().max(1.0);
    let active = world.agents().iter().filter(|agent| agent.is_active);
    let failing = active.filter(|agent| agent.presence == Presence::Offline).count() as f64;
    json!({
        "activityIndex": rounded(present),
        "avgAgentLatencyMs": rounded(mean(|load| load.latency_ms)),
        "natsTps": rounded(world.events as f64 / age_seconds),
        "nodeAvgLoad": rounded(mean(|load| load.cpu)),
        "errorRate": rounded(failing / world.agents().len() as f64),
        "questEngagement": rounded(world.quests.iter().map(|quest| quest.progress).sum::<f64>() / world.quests.len() as f64),
    })
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
