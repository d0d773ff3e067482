//! What clients see of an entity: its item in the layers' lists, made from what is said about it.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::layers::{
    AgentItem, AgentUsage, Balance, ChannelItem, CityItem, CurrentRun, NodeItem, NodeMetrics, OpenLessons, Planet,
    Position, SpaceNode,
};
use crate::model::{EntityType, Layer, Status};

use super::State;
use super::entity::{Entity, Link, Reference};
use super::fields::Field;
use super::{names, status};

/// The token in which the city service gives a microDAO's balance (`balanceDcr`).
const CITY_TOKEN: &str = "DCR";

/// An entity's item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Microdao(CityItem),
    Channel(ChannelItem),
    Dao(Planet),
    Node(NodeItem),
    Agent(AgentItem),
}

/// The part of an item that changes all the time. An event that touches nothing else is folded without looking at the
/// rest: on a large map that is memory no cache holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Vitals {
    Agent {
        status: Status,
        usage: AgentUsage,
        last_active: Option<DateTime<Utc>>,
        current_run: Option<CurrentRun>,
        open_lessons: Option<OpenLessons>,
    },
    Channel {
        status: Status,
        messages_24h: u64,
        last_active: Option<DateTime<Utc>>,
    },
    Node(NodeVitals),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct NodeVitals {
    status: Status,
    metrics: NodeMetrics,
    uptime_seconds: Option<u64>,
    last_seen: Option<DateTime<Utc>>,
    agents: Option<u64>,
    latency_ms: Option<f64>,
}

/// [`NodeVitals`] as far as the space layer shows them.
#[derive(Serialize)]
struct SatelliteVitals {
    status: Status,
    cpu: Option<f64>,
    gpu: Option<f64>,
    memory: Option<f64>,
}

/// An item as clients have it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) id: Arc<str>,
    pub(super) item: Item,
    /// Encoded when a snapshot first wants it: between two snapshots an item may change many times.
    encoded: OnceLock<Vec<Vec<u8>>>,
}

impl Published {
    pub(super) const fn new(id: Arc<str>, item: Item) -> Self {
        Self { id, item, encoded: OnceLock::new() }
    }

    pub(super) fn set_vitals(&mut self, vitals: Vitals) {
        self.item.set_vitals(vitals);
        self.encoded.take();
    }

    /// The item's JSON in `layer`; none where it does not show.
    pub(super) fn encoded(&self, layer: Layer) -> Option<&[u8]> {
        let at = self.item.layers().iter().position(|shown| *shown == layer)?;
        let all =
            self.encoded.get_or_init(|| self.item.layers().iter().map(|layer| self.item.encode(*layer)).collect());
        all.get(at).map(Vec::as_slice)
    }
}

impl Item {
    pub(super) const fn kind(&self) -> EntityType {
        match self {
            Self::Microdao(_) => EntityType::Microdao,
            Self::Channel(_) => EntityType::Channel,
            Self::Dao(_) => EntityType::Dao,
            Self::Node(_) => EntityType::Node,
            Self::Agent(_) => EntityType::Agent,
        }
    }

    /// The layers it shows in, its home first.
    pub(super) const fn layers(&self) -> &'static [Layer] {
        match self {
            Self::Microdao(_) | Self::Channel(_) => &[Layer::City],
            Self::Dao(_) => &[Layer::Space],
            Self::Node(_) => &[Layer::Nodes, Layer::Space],
            Self::Agent(_) => &[Layer::Agents],
        }
    }

    pub(super) const fn status(&self) -> Status {
        match self {
            Self::Microdao(item) => item.status,
            Self::Channel(item) => item.status,
            Self::Dao(item) => item.status,
            Self::Node(item) => item.status,
            Self::Agent(item) => item.status,
        }
    }

    pub(super) fn label(&self) -> &str {
        match self {
            Self::Microdao(item) => &item.name,
            Self::Channel(item) => &item.name,
            Self::Dao(item) => &item.name,
            Self::Node(item) => &item.name,
            Self::Agent(item) => &item.name,
        }
    }

    /// The JSON object in one of its layers' lists.
    pub(super) fn json(&self, layer: Layer) -> Map<String, Value> {
        object(self.write(layer, serde_json::value::Serializer))
    }

    /// [`Item::json`] as text.
    fn encode(&self, layer: Layer) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        // plain data, for which writing to memory has no way to fail
        let _ = self.write(layer, &mut serde_json::Serializer::new(&mut text));
        text
    }

    fn write<S: Serializer>(&self, layer: Layer, serializer: S) -> Result<S::Ok, S::Error> {
        match (self, layer) {
            (Self::Node(item), Layer::Space) => satellite(item).serialize(serializer),
            (Self::Node(item), _) => item.serialize(serializer),
            (Self::Microdao(item), _) => item.serialize(serializer),
            (Self::Channel(item), _) => item.serialize(serializer),
            (Self::Dao(item), _) => item.serialize(serializer),
            (Self::Agent(item), _) => item.serialize(serializer),
        }
    }

    /// The part that changes all the time; none where there is no such part.
    pub(super) fn vitals(&self) -> Option<Vitals> {
        Some(match self {
            Self::Agent(item) => Vitals::Agent {
                status: item.status,
                usage: item.usage.clone(),
                last_active: item.last_active,
                current_run: item.current_run.clone(),
                open_lessons: item.open_lessons.clone(),
            },
            Self::Channel(item) => {
                Vitals::Channel { status: item.status, messages_24h: item.messages_24h, last_active: item.last_active }
            }
            Self::Node(item) => Vitals::Node(NodeVitals {
                status: item.status,
                metrics: item.metrics.clone(),
                uptime_seconds: item.uptime_seconds,
                last_seen: item.last_seen,
                agents: item.agents,
                latency_ms: item.latency_ms,
            }),
            Self::Microdao(_) | Self::Dao(_) => return None,
        })
    }

    fn set_vitals(&mut self, vitals: Vitals) {
        match (self, vitals) {
            (Self::Agent(item), Vitals::Agent { status, usage, last_active, current_run, open_lessons }) => {
                (item.status, item.usage, item.open_lessons) = (status, usage, open_lessons);
                (item.last_active, item.current_run) = (last_active, current_run);
            }
            (Self::Channel(item), Vitals::Channel { status, messages_24h, last_active }) => {
                (item.status, item.messages_24h, item.last_active) = (status, messages_24h, last_active);
            }
            (Self::Node(item), Vitals::Node(node)) => {
                (item.status, item.metrics, item.uptime_seconds) = (node.status, node.metrics, node.uptime_seconds);
                (item.last_seen, item.agents, item.latency_ms) = (node.last_seen, node.agents, node.latency_ms);
            }
            _ => {}
        }
    }
}

impl Vitals {
    /// The vitals of an entity as it is now; none for types that have no such part.
    pub(super) fn of(entity: &Entity) -> Option<Self> {
        let facts = &entity.facts;
        Some(match entity.kind {
            EntityType::Agent => Self::Agent {
                status: status::of_agent(entity),
                usage: entity.counter.shown(),
                last_active: entity.last_active,
                current_run: entity.run.as_ref().map(|run| run.shown.clone()),
                open_lessons: entity.lessons.shown(),
            },
            EntityType::Channel => {
                let messages_24h = entity.counter.shown().messages_24h;
                let status = if messages_24h > 0 { Status::Active } else { Status::Idle };
                Self::Channel { status, messages_24h, last_active: entity.last_active }
            }
            EntityType::Node => Self::Node(NodeVitals {
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

    /// The fields that one of its layers' lists shows.
    pub(super) fn json(&self, layer: Layer) -> Map<String, Value> {
        object(match (self, layer) {
            (Self::Node(node), Layer::Space) => serde_json::to_value(SatelliteVitals {
                status: node.status,
                cpu: node.metrics.cpu,
                gpu: node.metrics.gpu,
                memory: node.metrics.ram,
            }),
            _ => serde_json::to_value(self),
        })
    }
}

/// Items are plain data, for which encoding has no way to fail.
fn object(value: serde_json::Result<Value>) -> Map<String, Value> {
    if let Ok(Value::Object(map)) = value { map } else { Map::new() }
}

fn satellite(node: &NodeItem) -> SpaceNode {
    SpaceNode {
        id: node.id.clone(),
        name: node.name.clone(),
        status: node.status,
        cpu: node.metrics.cpu,
        gpu: node.metrics.gpu,
        memory: node.metrics.ram,
        alerts: node.alerts.clone(),
    }
}

impl State {
    /// The item of an entity as it is now; none for types that have no list.
    pub(super) fn view(&self, entity: &Entity) -> Option<Item> {
        let facts = &entity.facts;
        let text = |field| facts.text(field).map(str::to_owned);
        let id = entity.id.to_string();
        let name = text(Field::Name).unwrap_or_else(|| names::own_part(&id).to_owned());
        let microdao_id = |link| entity.reference(link).map(|reference| self.target_id(reference));
        Some(match (entity.kind, Vitals::of(entity)) {
            (EntityType::Microdao, _) => Item::Microdao(CityItem {
                id,
                slug: text(Field::Slug),
                name,
                status: status::of_microdao(entity),
                agents: facts.count(Field::Agents).unwrap_or_else(|| entity.inbound_count(Link::AgentOf)),
                nodes: entity.inbound_count(Link::NodeOf),
                members: facts.count(Field::Members).unwrap_or(0),
                description: text(Field::Description),
                treasury: balances(entity),
            }),
            (EntityType::Dao, _) => {
                let treasury = balances(entity);
                Item::Dao(Planet {
                    id,
                    name,
                    kind: EntityType::Dao.as_str().to_owned(),
                    status: status::of_dao(entity),
                    orbits: self.orbits(entity),
                    treasury_value: treasury_value(entity, &treasury),
                    active_proposals: facts.count(Field::ActiveProposals).unwrap_or(0),
                    slug: text(Field::Slug),
                    microdao_id: microdao_id(Link::Governs),
                    members: facts.count(Field::Members),
                    treasury,
                    activity: facts.number(Field::Activity),
                    anomaly_score: facts.number(Field::AnomalyScore),
                    position: position(entity),
                })
            }
            (_, Some(Vitals::Channel { status, messages_24h, last_active })) => Item::Channel(ChannelItem {
                id,
                name,
                status,
                microdao_id: microdao_id(Link::ChannelOf),
                messages_24h,
                last_active,
            }),
            (_, Some(Vitals::Node(node))) => Item::Node(NodeItem {
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
            (_, Some(Vitals::Agent { status, usage, last_active, current_run, open_lessons })) => {
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
                })
            }
            (_, None) => return None,
        })
    }

    /// The canonical id of what is referred to, or the name as given while that is unknown.
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

/// The balances to show: the DAO or microDAO service's, else the one figure of the city service.
pub(super) fn balances(entity: &Entity) -> Vec<Balance> {
    let listed = entity.facts.best(Field::Treasury).and_then(Value::as_array);
    let Some(listed) = listed else {
        let city = entity.facts.text(Field::Balance);
        return city
            .map(|balance| Balance { token_symbol: CITY_TOKEN.to_owned(), balance: balance.to_owned() })
            .into_iter()
            .collect();
    };
    let balance = |item: &Value| {
        let text = |name: &str| item.get(name)?.as_str().map(str::to_owned);
        Some(Balance { token_symbol: text("token_symbol")?, balance: text("balance")? })
    };
    listed.iter().filter_map(balance).collect()
}

fn treasury_value(entity: &Entity, treasury: &[Balance]) -> f64 {
    if treasury.is_empty() {
        return entity.facts.number(Field::TreasuryValue).unwrap_or(0.0);
    }
    let sum: f64 = treasury.iter().filter_map(|token| token.balance.parse::<f64>().ok()).sum();
    // a sum of nothing but negative zeros is one, and JSON's normal form has none
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
