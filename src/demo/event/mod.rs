//! One event of the simulated network: changes the network state and is published as one message.

use chrono::{DateTime, Utc};

use super::network_state::NetworkState;

mod agent;
mod dao;
mod message;
mod microdao;
mod network;
mod run;

pub(super) use agent::AgentEvent;
pub(super) use dao::DaoEvent;
pub(super) use message::PublishedMessage;
pub(super) use microdao::MicrodaoEvent;
pub(super) use network::NetworkEvent;
pub(super) use run::RunEvent;

/// An event that will happen. Agents are referred to by id, since one may be deleted by then; other entities are never
/// deleted and are referred to by index.
#[derive(Debug, Clone)]
pub(super) enum ScheduledEvent {
    Run(RunEvent),
    Agent(AgentEvent),
    Dao(DaoEvent),
    Microdao(MicrodaoEvent),
    Network(NetworkEvent),
}

impl ScheduledEvent {
    /// Applies the event at `now`. None when its entity no longer exists.
    pub fn apply(self, state: &mut NetworkState, now: DateTime<Utc>) -> Option<PublishedMessage> {
        let message = match self {
            Self::Run(event) => event.apply(state, now),
            Self::Agent(event) => event.apply(state, now),
            Self::Dao(event) => event.apply(state, now),
            Self::Microdao(event) => event.apply(state, now),
            Self::Network(event) => Some(event.apply(state, now)),
        };
        state.events += u64::from(message.is_some());
        message
    }
}

impl From<RunEvent> for ScheduledEvent {
    fn from(event: RunEvent) -> Self {
        Self::Run(event)
    }
}

impl From<AgentEvent> for ScheduledEvent {
    fn from(event: AgentEvent) -> Self {
        Self::Agent(event)
    }
}

impl From<DaoEvent> for ScheduledEvent {
    fn from(event: DaoEvent) -> Self {
        Self::Dao(event)
    }
}

impl From<MicrodaoEvent> for ScheduledEvent {
    fn from(event: MicrodaoEvent) -> Self {
        Self::Microdao(event)
    }
}

impl From<NetworkEvent> for ScheduledEvent {
    fn from(event: NetworkEvent) -> Self {
        Self::Network(event)
    }
}
