//! The item that shows an entity in the lists of its layers.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::json::encoded;
use crate::model::layers::{
    AgentItem, AgentUsage, ChannelItem, CityItem, CurrentRun, NodeItem, NodeMetrics, OpenLessons, Planet, SpaceNode,
};
use crate::model::{EntityType, Layer, Status};

/// An entity's item.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::map) enum Item {
    Microdao(CityItem),
    Channel(ChannelItem),
    Dao(Planet),
    Node(NodeItem),
    Agent(AgentItem),
}

/// The part of an item that changes with most events. An event that changes nothing else is folded without reading the
/// rest, which on a large map is in no CPU cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(in crate::map) enum LiveFields {
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
    Node(NodeLiveFields),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::map) struct NodeLiveFields {
    pub(in crate::map) status: Status,
    pub(in crate::map) metrics: NodeMetrics,
    pub(in crate::map) uptime_seconds: Option<u64>,
    pub(in crate::map) last_seen: Option<DateTime<Utc>>,
    pub(in crate::map) agents: Option<u64>,
    pub(in crate::map) latency_ms: Option<f64>,
}

/// The fields of [`NodeLiveFields`] that the space layer shows.
#[derive(Serialize)]
struct SatelliteLiveFields {
    status: Status,
    cpu: Option<f64>,
    gpu: Option<f64>,
    memory: Option<f64>,
}

/// An item as published to clients.
#[derive(Debug)]
pub(in crate::map) struct PublishedItem {
    pub(in crate::map) id: Arc<str>,
    pub(in crate::map) item: Item,
    /// JSON per layer, encoded when a snapshot first needs it: between two snapshots an item may change many times.
    encoded: OnceLock<Vec<Vec<u8>>>,
}

impl PublishedItem {
    pub(in crate::map) const fn new(id: Arc<str>, item: Item) -> Self {
        Self { id, item, encoded: OnceLock::new() }
    }

    pub(in crate::map) fn set_live_fields(&mut self, fields: LiveFields) {
        self.item.set_live_fields(fields);
        self.encoded.take();
    }

    /// The item's JSON in `layer`; none where it is not listed.
    pub(in crate::map) fn encoded(&self, layer: Layer) -> Option<&[u8]> {
        let at = self.item.layers().iter().position(|shown| *shown == layer)?;
        let all =
            self.encoded.get_or_init(|| self.item.layers().iter().map(|layer| self.item.encode(*layer)).collect());
        all.get(at).map(Vec::as_slice)
    }
}

impl Item {
    pub(in crate::map) const fn kind(&self) -> EntityType {
        match self {
            Self::Microdao(_) => EntityType::Microdao,
            Self::Channel(_) => EntityType::Channel,
            Self::Dao(_) => EntityType::Dao,
            Self::Node(_) => EntityType::Node,
            Self::Agent(_) => EntityType::Agent,
        }
    }

    /// The layers that list it, its home layer first.
    pub(in crate::map) const fn layers(&self) -> &'static [Layer] {
        match self {
            Self::Microdao(_) | Self::Channel(_) => &[Layer::City],
            Self::Dao(_) => &[Layer::Space],
            Self::Node(_) => &[Layer::Nodes, Layer::Space],
            Self::Agent(_) => &[Layer::Agents],
        }
    }

    pub(in crate::map) const fn status(&self) -> Status {
        match self {
            Self::Microdao(item) => item.status,
            Self::Channel(item) => item.status,
            Self::Dao(item) => item.status,
            Self::Node(item) => item.status,
            Self::Agent(item) => item.status,
        }
    }

    pub(in crate::map) fn label(&self) -> &str {
        match self {
            Self::Microdao(item) => &item.name,
            Self::Channel(item) => &item.name,
            Self::Dao(item) => &item.name,
            Self::Node(item) => &item.name,
            Self::Agent(item) => &item.name,
        }
    }

    /// The JSON object in one of its layers' lists.
    pub(in crate::map) fn json(&self, layer: Layer) -> Map<String, Value> {
        object(encoded(self.write(layer, serde_json::value::Serializer)))
    }

    /// [`Item::json`] as text.
    fn encode(&self, layer: Layer) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        encoded(self.write(layer, &mut serde_json::Serializer::new(&mut text)));
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

    /// The part that changes with most events; none for a type without such a part.
    pub(in crate::map) fn live_fields(&self) -> Option<LiveFields> {
        Some(match self {
            Self::Agent(item) => LiveFields::Agent {
                status: item.status,
                usage: item.usage.clone(),
                last_active: item.last_active,
                current_run: item.current_run.clone(),
                open_lessons: item.open_lessons.clone(),
            },
            Self::Channel(item) => LiveFields::Channel {
                status: item.status,
                messages_24h: item.messages_24h,
                last_active: item.last_active,
            },
            Self::Node(item) => LiveFields::Node(NodeLiveFields {
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

    fn set_live_fields(&mut self, fields: LiveFields) {
        match (self, fields) {
            (Self::Agent(item), LiveFields::Agent { status, usage, last_active, current_run, open_lessons }) => {
                (item.status, item.usage, item.open_lessons) = (status, usage, open_lessons);
                (item.last_active, item.current_run) = (last_active, current_run);
            }
            (Self::Channel(item), LiveFields::Channel { status, messages_24h, last_active }) => {
                (item.status, item.messages_24h, item.last_active) = (status, messages_24h, last_active);
            }
            (Self::Node(item), LiveFields::Node(node)) => {
                (item.status, item.metrics, item.uptime_seconds) = (node.status, node.metrics, node.uptime_seconds);
                (item.last_seen, item.agents, item.latency_ms) = (node.last_seen, node.agents, node.latency_ms);
            }
            _ => {}
        }
    }
}

impl LiveFields {
    /// The fields shown by the list of `layer`.
    pub(in crate::map) fn json(&self, layer: Layer) -> Map<String, Value> {
        object(encoded(match (self, layer) {
            (Self::Node(node), Layer::Space) => serde_json::to_value(SatelliteLiveFields {
                status: node.status,
                cpu: node.metrics.cpu,
                gpu: node.metrics.gpu,
                memory: node.metrics.ram,
            }),
            _ => serde_json::to_value(self),
        }))
    }
}

/// The members of an encoded struct.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
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
