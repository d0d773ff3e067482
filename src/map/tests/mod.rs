//! Tests of the whole module: a log, its map, and a client that applies the changes.

mod alerts;
mod clocks;
mod compatibility;
mod generate;
mod identity;
mod lifecycle;
mod polls;
mod properties;
mod reducers;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value, json};

use super::{AlertProjection, MapOptions, Outcome, State};
use crate::model::envelope::{self, Message};
use crate::model::facts::Facts;
use crate::model::layers::Layers;
use crate::model::{Answer, Compatibility, Cursor, EntityType, Epoch, Layer, LogEntry, Service, change};

/// The map is shared between threads.
const _: fn() = || {
    const fn shared<T: Send + Sync>() {}
    shared::<State>();
};

/// A log with its map, and a client that applies every change.
pub(super) struct Log {
    pub(super) state: State,
    pub(super) client: Map<String, Value>,
    pub(super) now: DateTime<Utc>,
    /// Alerts folded alone, always the same as those of the map.
    projection: AlertProjection,
    seq: u64,
    /// The folded entries.
    entries: Vec<LogEntry>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self::showing(Compatibility::None)
    }

    /// With the fields and names that clients of another service expect.
    pub(super) fn showing(compatibility: Compatibility) -> Self {
        let state = State::new(Epoch(1)).with_options(MapOptions { compatibility, ..MapOptions::default() });
        let client = layers_of(&state);
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        Self { state, client, now, projection: AlertProjection::default(), seq: 0, entries: Vec::new() }
    }

    /// Folds the next entry and applies its changes.
    pub(super) fn push(&mut self, subject: &str, body: &Value) -> Outcome {
        self.push_bytes(subject, body.to_string().as_bytes())
    }

    pub(super) fn push_bytes(&mut self, subject: &str, body: &[u8]) -> Outcome {
        self.seq += 1;
        let cursor = Cursor { epoch: Epoch(1), seq: self.seq };
        let entry = envelope::read(&Message { subject, headers: &[], body, cursor, logged_at: self.now });
        let outcome = self.state.apply(&entry);
        // duplicates do not advance the time of the map
        if !outcome.duplicate {
            assert_eq!(self.projection.apply(&entry), outcome.alerts);
            assert!(self.projection.alerts().eq(self.state.alerts()));
        }
        for change in &outcome.changes {
            change::apply(&mut self.client, change);
        }
        self.entries.push(entry);
        outcome
    }

    /// A poll with an immediate answer.
    pub(super) fn poll(&mut self, answer: &Answer) -> Vec<Outcome> {
        let mark = self.state.mark().at(self.now);
        let payloads = self.state.diff(&mark, answer, 100_000);
        self.push_all(answer.service, &payloads)
    }

    pub(super) fn push_all(&mut self, service: Service, payloads: &[Value]) -> Vec<Outcome> {
        let subject = format!("living_map.sync.{service}");
        payloads.iter().map(|payload| self.push(&subject, payload)).collect()
    }

    pub(super) fn pass_hours(&mut self, hours: i64) {
        self.now += Duration::hours(hours);
    }

    /// An entity's item.
    pub(super) fn item(&self, name: &str) -> Value {
        self.state.entity(name).map_or(Value::Null, |entity| Value::Object(entity.data))
    }

    pub(super) fn layer(&self, layer: Layer) -> Value {
        layers_of(&self.state)[layer.as_str()].clone()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let page = self.state.entities(&super::EntityFilter::default(), None, 0, usize::MAX);
        page.items.into_iter().map(|item| item.id).collect()
    }
}

/// The `layers` of a snapshot, as a client parses them.
pub(super) fn layers_of(state: &State) -> Map<String, Value> {
    let encoded = state.encode();
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let names = Layer::ALL.iter().map(|layer| layer.as_str().to_owned());
    names.zip(encoded.layers.iter().map(|bytes| parse(bytes))).collect()
}

/// Fails unless the map's JSON equals that of the typed layers.
pub(super) fn assert_typed(layers: &Map<String, Value>) {
    let value = Value::Object(layers.clone());
    let typed: Layers = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), value);
}

pub(super) fn facts(kind: EntityType, id: &str, aliases: &[&str], fields: Value) -> Facts {
    let Value::Object(fields) = fields else { panic!("not an object: {fields}") };
    let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
    Facts { kind, id: id.to_owned(), aliases, fields, partial: false }
}

/// The types that a service lists in full.
pub(super) fn listed(service: Service) -> Vec<EntityType> {
    match service {
        Service::Agents => vec![EntityType::Agent],
        Service::Microdao => vec![EntityType::Microdao],
        Service::Dao => vec![EntityType::Dao],
        Service::Usage => vec![],
        Service::City => vec![EntityType::Agent, EntityType::Node, EntityType::Microdao],
        Service::Space => vec![EntityType::Dao, EntityType::Node],
    }
}

pub(super) fn answer(service: Service, entities: Vec<Facts>) -> Answer {
    Answer { service, entities, complete: listed(service), layers: Vec::new() }
}

/// The recorded network: uuids, external ids and slugs of the six services.
pub(super) mod recorded {
    use super::*;

    pub(crate) const SOFIA: &str = "afd7ae6d-0000-4000-8000-000000000001";
    pub(crate) const GARDEN: &str = "1ce95e3b-e40c-44ae-b355-0988e3f07bf7";
    pub(crate) const AURORA: &str = "710f0dc1-4c22-4afc-a85f-af13634be32a";

    pub(crate) fn agents() -> Answer {
        let fields = json!({"name": "Sofia", "kind": "assistant", "model": "gpt-4.1-mini", "microdao_id": GARDEN,
            "is_active": true});
        answer(Service::Agents, vec![facts(EntityType::Agent, "agent:sofia", &[SOFIA], fields)])
    }

    pub(crate) fn microdaos() -> Answer {
        let fields = json!({"name": "Quantum Garden", "slug": "quantum-garden", "is_active": true, "members": 5,
            "description": "Permaculture and compute co-op", "agents": 2});
        let garden = facts(EntityType::Microdao, "microdao:7", &[GARDEN, "quantum-garden"], fields);
        answer(Service::Microdao, vec![garden])
    }

    pub(crate) fn daos() -> Answer {
        let fields = json!({"name": "Aurora Circle", "slug": "aurora-circle", "microdao_id": GARDEN, "is_active": true,
            "members": 2, "active_proposals": 1,
            "treasury": [{"token_symbol": "DAAR", "balance": "513200.12345678"},
                {"token_symbol": "USDT", "balance": "2501.50000000"}]});
        answer(Service::Dao, vec![facts(EntityType::Dao, "dao:aurora-circle", &[AURORA, "aurora-circle"], fields)])
    }

    pub(crate) fn space() -> Answer {
        let planet = json!({"name": "Aurora Circle", "health": "good", "treasury_value": 513_200.0, "activity": 0.84,
            "anomaly_score": 0.04, "position": {"x": 120.0, "y": 40.0, "z": -300.0}, "orbits": ["node:03"]});
        let node = json!({"name": "Quantum Relay", "microdao_id": "microdao:7", "status": "healthy", "cpu": 0.44,
            "gpu": 0.72, "ram": 0.35, "temperature": 71.0, "agents": 14});
        let entities =
            vec![facts(EntityType::Dao, "dao:3", &[], planet), facts(EntityType::Node, "node:03", &[], node)];
        answer(Service::Space, entities)
    }

    pub(crate) fn usage() -> Answer {
        let figures = json!({"usage": {"llm_calls_24h": 44, "tokens_24h": 7500, "messages_24h": 16,
            "avg_response_time_ms": 709.5}});
        let mut answer = answer(Service::Usage, vec![facts(EntityType::Agent, "agent:sofia", &[], figures)]);
        let Value::Object(total) = json!({"total_llm_calls_24h": 123}) else { unreachable!() };
        answer.layers.push((Layer::Agents, total));
        answer
    }

    pub(crate) fn city() -> Answer {
        let sofia = json!({"name": "Sofia-Prime", "role": "System Architect", "status": "online"});
        let node = json!({"name": "Relay of the city", "status": "healthy", "gpu": 0.7, "latency_ms": 14.0});
        let entities =
            vec![facts(EntityType::Agent, "agent:sofia", &[], sofia), facts(EntityType::Node, "node:03", &[], node)];
        let mut answer = answer(Service::City, entities);
        let Value::Object(layer) = json!({"metrics": {"activity_index": 0.71, "nats_tps": 48200},
            "quests": [{"id": "q1", "label": "Visit Space Map", "progress": 0.4}]})
        else {
            unreachable!()
        };
        answer.layers.push((Layer::City, layer));
        answer
    }
}
