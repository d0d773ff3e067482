//! The simulated space service: DAOs as planets, nodes as their satellites.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::demo::SharedState;
use crate::demo::entities::Condition;
use crate::demo::network_state::NetworkState;

pub(super) fn routes() -> Router<SharedState> {
    Router::new().route("/space/planets", get(planets)).route("/space/nodes", get(nodes))
}

async fn planets(State(state): State<SharedState>) -> Json<Value> {
    let state = state.lock();
    Json((0..state.daos.len()).map(|dao| planet(&state, dao)).collect())
}

fn planet(state: &NetworkState, index: usize) -> Value {
    let dao = &state.daos[index];
    let worst = state.nodes_of(index).map(|(_, node)| node.condition).fold(Condition::Healthy, worse);
    let (health, anomaly) = match worst {
        Condition::Healthy => ("good", 0.04),
        Condition::Warm => ("warn", 0.31),
        Condition::Critical | Condition::Offline => ("critical", 0.78),
    };
    let satellites: Vec<Value> = state
        .nodes_of(index)
        .map(|(number, node)| {
            json!({"node_id": node.id, "gpu_load": node.load.gpu, "latency": node.load.latency_ms,
                "agents": state.agents_on(number)})
        })
        .collect();
    let active = dao.proposals.iter().any(|proposal| proposal.status == "active");
    let [x, y, z] = dao.position;
    json!({
        "dao_id": format!("dao:{}", dao.number),
        "name": dao.name,
        "health": health,
        "treasury": dao.treasury.iter().map(|(_, _, balance)| balance.as_f64()).sum::<f64>(),
        "activity": if active { 0.84 } else { 0.4 },
        "governance_temperature": if active { 72.0 } else { 31.0 },
        "anomaly_score": anomaly,
        "position": {"x": x, "y": y, "z": z},
        "node_count": satellites.len(),
        "satellites": satellites,
    })
}

fn worse(one: Condition, other: Condition) -> Condition {
    let rank = |condition| match condition {
        Condition::Healthy => 0,
        Condition::Warm => 1,
        Condition::Critical => 2,
        Condition::Offline => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

async fn nodes(State(state): State<SharedState>) -> Json<Value> {
    let state = state.lock();
    let nodes = state.nodes.iter().enumerate().map(|(index, node)| {
        let load = node.load;
        json!({
            "node_id": node.id,
            "name": node.name,
            "microdao": state.microdaos[node.microdao].id,
            "gpu": {"load": load.gpu, "vram_used": 40.0 * load.gpu, "vram_total": 40.0,
                "temperature": load.temperature},
            "cpu": {"load": load.cpu, "temperature": load.temperature - 8.0},
            "memory": {"used": node.memory_total_gb * load.ram, "total": node.memory_total_gb},
            "network": {"latency": load.latency_ms, "bandwidth_in": load.net_in, "bandwidth_out": load.net_out,
                "packet_loss": 0.01},
            "agents": state.agents_on(index),
            "status": node.condition.as_space(),
        })
    });
    Json(nodes.collect())
}
