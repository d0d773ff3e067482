//! Events of an agent's lifecycle.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::message::{PublishedMessage, with_offset};
use crate::demo::entities::{Agent, Presence};
use crate::demo::names;
use crate::demo::network_state::NetworkState;

#[derive(Debug, Clone)]
pub(in crate::demo) enum AgentEvent {
    /// The agent's presence changed.
    PresenceChanged { agent: String, presence: Presence, action: &'static str },
    /// The agent failed.
    Failed { agent: String, error: usize },
    /// The agent got another model.
    ModelChanged { agent: String, model: usize },
    /// The agent was created.
    Created { agent: Box<Agent> },
    /// The agent was deleted.
    Deleted { agent: String },
}

impl AgentEvent {
    pub(super) fn apply(self, state: &mut NetworkState, now: DateTime<Utc>) -> Option<PublishedMessage> {
        match self {
            Self::PresenceChanged { agent, presence, action } => {
                let changed = state.agent_mut(&agent)?;
                changed.presence = presence;
                changed.last_action = action;
                let payload = json!({"agent_id": agent, "status": presence.as_str(), "ts": with_offset(now)});
                Some(PublishedMessage::flat("agent.event.status", payload))
            }
            Self::Failed { agent, error } => {
                state.agent_mut(&agent)?.presence = Presence::Offline;
                let (kind, message) = names::ERRORS[error];
                let payload = json!({"agent_id": agent, "error_type": kind, "error_message": message,
                    "ts": with_offset(now)});
                Some(PublishedMessage::flat("agent.event.error", payload))
            }
            Self::ModelChanged { agent, model } => {
                let changed = state.agent_mut(&agent)?;
                changed.model = model;
                changed.updated_at = now;
                let payload = json!({"agent_id": agent, "model": names::MODELS[model].0, "ts": with_offset(now)});
                Some(PublishedMessage::flat("agent.event.model_changed", payload))
            }
            Self::Created { agent } => {
                let agent = Agent { created_at: now, updated_at: now, ..*agent };
                let payload = json!({
                    "agent_id": agent.id, "name": agent.name, "kind": agent.kind, "is_active": true,
                    "model": names::MODELS[agent.model].0, "microdao_id": state.microdaos[agent.microdao].uuid,
                    "description": agent.description, "ts": with_offset(now),
                });
                state.insert(agent);
                Some(PublishedMessage::flat("agent.event.created", payload))
            }
            Self::Deleted { agent } => {
                // keeps the last agent: several deletions may be scheduled at once
                if state.agents().len() <= 1 {
                    return None;
                }
                state.remove(&agent)?;
                let payload = json!({"agent_id": agent, "ts": with_offset(now)});
                Some(PublishedMessage::flat("agent.event.deleted", payload))
            }
        }
    }
}
