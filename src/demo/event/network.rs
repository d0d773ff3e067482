//! Events of nodes, quests and other services.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::message::{PublishedMessage, with_offset};
use crate::demo::entities::{Condition, Load};
use crate::demo::network_state::NetworkState;

#[derive(Debug, Clone)]
pub(in crate::demo) enum NetworkEvent {
    /// A node reported its metrics.
    NodeMeasured { node: usize, load: Load, condition: Condition },
    /// A quest of the city progressed.
    QuestProgressed { quest: usize, progress: f64 },
    /// A message of another service: documents, memory, audit, health.
    Other { subject: String, entity: String, payload: Value },
}

impl NetworkEvent {
    pub(super) fn apply(self, state: &mut NetworkState, now: DateTime<Utc>) -> PublishedMessage {
        match self {
            Self::NodeMeasured { node, load, condition } => {
                let agents = state.agents_on(node);
                let node = &mut state.nodes[node];
                node.load = load;
                node.condition = condition;
                let payload = json!({
                    "node_id": node.id, "cpu": load.cpu, "gpu": load.gpu, "ram": load.ram, "disk": load.disk,
                    "net_in": load.net_in, "net_out": load.net_out, "temperature": load.temperature,
                    "latency_ms": load.latency_ms, "agents": agents, "status": condition.as_space(),
                    "uptime_seconds": (now - state.created_at).num_seconds(), "ts": with_offset(now),
                });
                PublishedMessage::flat(format!("node.metrics.{}", node.id.replace(':', "-")), payload)
            }
            Self::QuestProgressed { quest, progress } => {
                let quest = &mut state.quests[quest];
                quest.progress = progress;
                let payload = json!({"quest_id": quest.id, "label": quest.label, "progress": progress,
                    "ts": with_offset(now)});
                PublishedMessage::flat("city.event.quest_progress", payload)
            }
            Self::Other { subject, entity, payload } => PublishedMessage::enveloped(subject, entity, payload),
        }
    }
}
