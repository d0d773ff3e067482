//! The city service: metrics and activity of the city. It adds fields to entities that other services list. An entity that
//! it no longer mentions loses these fields but is not deleted.

use serde_json::Value;

use super::client::{Call, UpstreamClient};
use super::read::{self, Fields, Item};
use super::{AdapterError, ErrorKind, PollContext};
use crate::model::{Answer, Compatibility, EntityType, Facts, Layer, Service};

#[derive(Debug)]
pub(super) struct City {
    client: UpstreamClient,
    compatibility: Compatibility,
}

impl City {
    pub const fn new(client: UpstreamClient, compatibility: Compatibility) -> Self {
        Self { client, compatibility }
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const SNAPSHOT: Call<'_> = Call::main(&["api", "city", "snapshot"]);
        let answer = self.client.get(SNAPSHOT, context.deadline).await?;
        snapshot(&answer, self.compatibility).map_err(|kind| self.client.error(SNAPSHOT, kind))
    }
}

fn snapshot(answer: &Value, compatibility: Compatibility) -> Result<Answer, ErrorKind> {
    const SECTIONS: [&str; 5] = ["microdao", "metrics", "nodes", "agents", "quests"];
    let city = read::as_object(answer)?;
    if !SECTIONS.iter().any(|section| city.contains_key(*section)) {
        return Err(ErrorKind::shape(format!("an object with some of {}", SECTIONS.join(", "))));
    }
    let (home, nodes, agents) = (read::object(city, "microdao"), read::list(city, "nodes"), read::list(city, "agents"));
    let mut entities: Vec<Facts> = home.and_then(microdao).into_iter().collect();
    entities.extend(read::each(Service::City, nodes.unwrap_or_default(), node)?);
    entities.extend(read::each(Service::City, agents.unwrap_or_default(), agent)?);
    // a missing section is no statement about its entities
    let sections =
        [home.map(|_| EntityType::Microdao), nodes.map(|_| EntityType::Node), agents.map(|_| EntityType::Agent)];
    let complete = sections.into_iter().flatten().collect();
    let layer = Fields::default()
        .put("metrics", read::object(city, "metrics").map(metrics))
        .put("quests", read::list(city, "quests").map(<[Value]>::to_vec))
        .put("sections", compatibility.is_prototype().then(|| passed_on(city)))
        .into_map();
    let layers = if layer.is_empty() { vec![] } else { vec![(Layer::City, layer)] };
    Ok(Answer { service: Service::City, entities, complete, layers })
}

/// The sections that the prototype passed on to clients, as the service has them.
fn passed_on(city: &Item) -> Item {
    const SECTIONS: [&str; 5] = ["user", "microdao", "nodes", "agents", "events"];
    SECTIONS.iter().filter_map(|name| Some(((*name).to_owned(), city.get(*name)?.clone()))).collect()
}

/// The microDAO of the city's owner.
fn microdao(item: &Item) -> Option<Facts> {
    Fields::default()
        .text(item, "name")
        .count(item, "members")
        .count(item, "humans")
        .count(item, "agents")
        .put("balance", read::number(item, "balanceDcr"))
        .put("activity_24h", read::number(item, "activity24h"))
        .facts(EntityType::Microdao, [read::name(item, "id")])
}

fn node(item: &Item) -> Option<Facts> {
    Fields::default()
        .put("name", read::text(item, "label"))
        .put("gpu", read::number(item, "gpuLoad"))
        .put("latency_ms", read::number(item, "latencyMs"))
        .count(item, "agents")
        .text(item, "status")
        .facts(EntityType::Node, [read::name(item, "id")])
}

fn agent(item: &Item) -> Option<Facts> {
    Fields::default()
        .text(item, "name")
        .text(item, "role")
        .text(item, "status")
        .put("last_action", read::text(item, "lastAction"))
        .facts(EntityType::Agent, [read::name(item, "id")])
}

fn metrics(item: &Item) -> Item {
    Fields::default()
        .put("activity_index", read::number(item, "activityIndex"))
        .put("avg_agent_latency_ms", read::number(item, "avgAgentLatencyMs"))
        .put("nats_tps", read::number(item, "natsTps"))
        .put("node_avg_load", read::number(item, "nodeAvgLoad"))
        .put("error_rate", read::number(item, "errorRate"))
        .put("quest_engagement", read::number(item, "questEngagement"))
        .into_map()
}
