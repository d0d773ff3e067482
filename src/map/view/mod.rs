//! Derives what clients see: the items of entities, and the answers to queries.

mod compare;
mod query;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::model::layers::{AgentItem, Balance, ChannelItem, CityItem, NodeItem, NodeMetrics, Planet, Position};
use crate::model::{Compatibility, EntityType, Status, time};

use super::fields::Field;
use super::names;
use super::state::State;
use super::state::entity::{Entity, Link, Reference};
use super::state::item::{Item, LiveFields, NodeLiveFields};
use super::state::status;
use super::usage::CallSource;

pub use compare::{ChangedEntity, Comparison, FieldChange};
pub use query::{EntityDetail, EntityFilter, EntityPage, EntitySummary, Relation};

impl LiveFields {
    /// The present live fields of an entity; none for a type without such a part. `calls` is the origin of the agents' calls.
    pub(super) fn of(entity: &Entity, compatibility: Compatibility, calls: CallSource) -> Option<Self> {
        let facts = &entity.facts;
        Some(match entity.kind {
            EntityType::Agent => Self::Agent {
                status: status::of_agent(entity, compatibility),
                usage: entity.counter.shown(calls),
                last_active: entity.last_active.or_else(|| record_updated_at(entity, compatibility)),
                current_run: entity.run.as_ref().map(|run| run.current.clone()),
                open_lessons: entity.lessons.shown(),
            },
            EntityType::Channel => {
                let messages_24h = entity.counter.messages();
                let status = if messages_24h > 0 { Status::Active } else { Status::Idle };
                Self::Channel { status, messages_24h, last_active: entity.last_active }
            }
            EntityType::Node => Self::Node(NodeLiveFields {
                status: status::of_node(entity),
                metrics: NodeMetrics {
                    cpu: facts.number(Field::Cpu),
                    gpu: facts.number(Field::Gpu),
                    ram: facts.number(Field::Ram),
                    disk: facts.number(Field::Disk),
                    net_in: facts.number(Field::NetIn),
                    net_out: facts.number(Field::NetOut),
                    temperature: facts.number(Field::Temperature),
                },
                uptime_seconds: facts.count(Field::UptimeSeconds),
                last_seen: entity.last_active,
                agents: facts.count(Field::Agents),
                latency_ms: facts.number(Field::LatencyMs),
            }),
            _ => return None,
        })
    }
}

impl State {
    /// The present item of an entity; none for a type that no layer lists.
    pub(super) fn view(&self, entity: &Entity) -> Option<Item> {
        let facts = &entity.facts;
        let text = |field| facts.text(field).map(str::to_owned);
        let id = entity.id.to_string();
        let compatibility = self.options.compatibility;
        let uuid = compatibility.is_prototype().then(|| uuid(entity));
        let name = text(Field::Name).unwrap_or_else(|| names::own_part(&id).to_owned());
        let microdao_id = |link| entity.reference(link).map(|reference| self.target_id(reference));
        Some(match (entity.kind, LiveFields::of(entity, compatibility, self.call_source())) {
            (EntityType::Microdao, _) => Item::Microdao(CityItem {
                id,
                slug: text(Field::Slug),
                name,
                status: status::of_microdao(entity),
                agents: facts.count(Field::Agents).unwrap_or_else(|| entity.inbound_count(Link::AgentOf)),
                nodes: entity.inbound_count(Link::NodeOf),
                members: facts.count(Field::Members),
                description: text(Field::Description),
                treasury: facts.balances(),
                uuid,
            }),
            (EntityType::Dao, _) => {
                let treasury = facts.balances();
                Item::Dao(Planet {
                    id,
                    name,
                    kind: EntityType::Dao.as_str().to_owned(),
                    status: status::of_dao(entity),
                    orbits: self.orbits(entity),
                    treasury_value: treasury_value(entity, &treasury),
                    active_proposals: facts.count(Field::ActiveProposals),
                    slug: text(Field::Slug),
                    microdao_id: microdao_id(Link::Governs),
                    members: facts.count(Field::Members),
                    treasury,
                    activity: facts.number(Field::Activity),
                    anomaly_score: facts.number(Field::AnomalyScore),
                    position: position(entity),
                    uuid,
                })
            }
            (_, Some(LiveFields::Channel { status, messages_24h, last_active })) => Item::Channel(ChannelItem {
                id,
                name,
                status,
                microdao_id: microdao_id(Link::ChannelOf),
                messages_24h,
                last_active,
            }),
            (_, Some(LiveFields::Node(node))) => Item::Node(NodeItem {
                id,
                name,
                microdao_id: microdao_id(Link::NodeOf),
                status: node.status,
                metrics: node.metrics,
                alerts: texts(facts.best(Field::Alerts)),
                uptime_seconds: node.uptime_seconds,
                last_seen: node.last_seen,
                agents: node.agents,
                latency_ms: node.latency_ms,
            }),
            (_, Some(LiveFields::Agent { status, usage, last_active, current_run, open_lessons })) => {
                Item::Agent(AgentItem {
                    id,
                    name,
                    kind: text(Field::Kind),
                    microdao_id: microdao_id(Link::AgentOf),
                    status,
                    usage,
                    model: text(Field::Model),
                    last_active,
                    description: text(Field::Description).or_else(|| text(Field::Role)),
                    current_run,
                    open_lessons,
                    uuid,
                })
            }
            (_, None) => return None,
        })
    }

    /// The canonical id of a reference's target, or the name while the target is unknown.
    fn target_id(&self, reference: &Reference) -> String {
        let target = reference.target.and_then(|key| self.entities.get(key));
        target.map_or(&*reference.name, |target| &*target.id).to_owned()
    }

    fn orbits(&self, entity: &Entity) -> Vec<String> {
        let orbited = entity.references.iter().filter(|reference| reference.link == Link::OrbitedBy);
        let mut ids: Vec<String> = orbited.map(|reference| self.target_id(reference)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// The first of its names that is a uuid, without the type's prefix.
fn uuid(entity: &Entity) -> Option<String> {
    entity.uuids().next().map(|name| names::own_part(name).to_owned())
}

/// Time of the last change of an agent's record in the registry, which the prototype showed as its last activity.
fn record_updated_at(entity: &Entity, compatibility: Compatibility) -> Option<DateTime<Utc>> {
    let recorded = entity.facts.best(Field::RecordUpdatedAt).filter(|_| compatibility.is_prototype())?;
    time::lenient(recorded)
}

fn treasury_value(entity: &Entity, treasury: &[Balance]) -> f64 {
    if treasury.is_empty() {
        return entity.facts.number(Field::TreasuryValue).unwrap_or(0.0);
    }
    let sum: f64 = treasury.iter().filter_map(|token| token.balance.parse::<f64>().ok()).sum();
    // a sum of negative zeros is negative zero, which normalized JSON does not have
    if sum.is_finite() { sum + 0.0 } else { 0.0 }
}

fn position(entity: &Entity) -> Option<Position> {
    let position = entity.facts.best(Field::Position)?;
    let axis = |name: &str| position.get(name)?.as_f64();
    Some(Position { x: axis("x")?, y: axis("y")?, z: axis("z")? })
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
