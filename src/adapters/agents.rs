//! The agents service: identity and description of agents.

use serde_json::Value;

use super::client::{Call, UpstreamClient};
use super::read::{self, Fields, Item};
use super::{AdapterError, ErrorKind, PollContext};
use crate::model::{Answer, Compatibility, EntityType, Facts, Service};

#[derive(Debug)]
pub(super) struct Agents {
    client: UpstreamClient,
    compatibility: Compatibility,
}

impl Agents {
    pub const fn new(client: UpstreamClient, compatibility: Compatibility) -> Self {
        Self { client, compatibility }
    }

    /// One list has the active, the other the inactive agents. Both must succeed: without one of them its agents would count
    /// as deleted.
    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const ACTIVE: Call<'_> = Call::main(&["agents"]);
        const INACTIVE: Call<'_> = Call::main(&["agents"]).query(&[("is_active", "false")]);
        let (active, inactive) =
            tokio::try_join!(self.client.get(ACTIVE, context.deadline), self.client.get(INACTIVE, context.deadline))?;
        let read = |list| agents(list, self.compatibility);
        let mut entities = read(&active).map_err(|kind| self.client.error(ACTIVE, kind))?;
        let inactive = read(&inactive).map_err(|kind| self.client.error(INACTIVE, kind))?;
        // an agent is in both when it was switched between the two requests, or when the service ignores the filter
        let seen: std::collections::HashSet<String> = entities.iter().map(|agent| agent.id.clone()).collect();
        entities.extend(inactive.into_iter().filter(|agent| !seen.contains(&agent.id)));
        Ok(Answer { service: Service::Agents, entities, complete: vec![EntityType::Agent], layers: vec![] })
    }
}

fn agents(answer: &Value, compatibility: Compatibility) -> Result<Vec<Facts>, ErrorKind> {
    read::each(Service::Agents, read::as_list(answer)?, |item| agent(item, compatibility))
}

fn agent(item: &Item, compatibility: Compatibility) -> Option<Facts> {
    let updated_at = read::text(item, "updated_at").filter(|_| compatibility.is_prototype());
    Fields::default()
        .text(item, "name")
        .text(item, "kind")
        .text(item, "description")
        .text(item, "model")
        .text(item, "microdao_id")
        .flag(item, "is_active")
        .put("record_updated_at", updated_at)
        .facts(EntityType::Agent, [read::name(item, "external_id"), read::name(item, "id")])
}
