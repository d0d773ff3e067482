//! The map: a pure fold over the log. No I/O, no clock.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::model::{Answer, Change, Cursor, EntityType, Epoch, Layer, LogEntry, Service, Status};

/// What one entry did to the map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The changes, in the order in which a client applies them.
    pub changes: Vec<Change>,
    /// The event was folded before: it changes nothing and is not shown to clients.
    pub duplicate: bool,
    /// Canonical id of the event's entity, when the map knows it.
    pub entity_id: Option<String>,
}

/// The map at one cursor.
#[derive(Debug)]
pub struct State {
    cursor: Cursor,
}

/// Which entities are wanted; all filters must hold.
#[derive(Debug, Clone, Default)]
pub struct EntityFilter {
    /// Of this type.
    pub kind: Option<EntityType>,
    /// Shown in this layer.
    pub layer: Option<Layer>,
    /// In this status.
    pub status: Option<Status>,
    /// Belonging to this microDAO (any of its names).
    pub microdao_id: Option<String>,
    /// Whose id, label or alias contains this, in any case.
    pub q: Option<String>,
}

/// An entity in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntitySummary {
    /// Canonical id.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Its name.
    pub label: String,
    /// How it is doing.
    pub status: Status,
    /// The layer it shows in.
    pub layer: Layer,
}

/// One entity, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntityDetail {
    /// Canonical id.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// The layer it is at home in.
    pub layer: Layer,
    /// The item as its layer's list shows it.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
    /// Its other names, ordered.
    pub aliases: Vec<String>,
}

/// How two entities are connected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Relation {
    /// `belongs_to`, `has`, `governs`, `governed_by`, `orbits`, `orbited_by`.
    pub relation: String,
    /// The other entity, canonical.
    pub id: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Its name.
    pub label: String,
}

/// One page of entities, ordered by id.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityPage {
    /// The entities.
    pub items: Vec<EntitySummary>,
    /// Whether there are more behind the last one.
    pub has_more: bool,
}

/// What the map knew when a poll began, so that the poll's answer does not undo what happened while it was under way.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    /// The position folded by then.
    pub seq: u64,
    /// Private to the fold: usage counted by then, by agent.
    pub(crate) usage: BTreeMap<String, Value>,
}

/// The four layers as JSON objects, each encoded by itself.
#[derive(Debug, Clone)]
pub struct EncodedLayers {
    /// The position they are exact at.
    pub cursor: Cursor,
    /// The log's time of the last entry; the unix epoch before the first.
    pub generated_at: DateTime<Utc>,
    /// JSON objects, in the order of [`Layer::ALL`].
    pub layers: [Bytes; 4],
    /// The upstreams that have contributed data.
    pub services: Vec<Service>,
}

impl State {
    /// The empty map before the first entry of a log.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self { cursor: Cursor { epoch, seq: 0 } }
    }

    /// Folds the next entry. Never fails: what it does not understand changes nothing.
    pub fn apply(&mut self, entry: &LogEntry) -> Outcome {
        self.cursor = entry.cursor;
        todo!()
    }

    /// The position folded last.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The canonical id of an entity, by any of its names, with or without the type's prefix.
    #[must_use]
    pub fn resolve(&self, _name: &str) -> Option<&str> {
        todo!()
    }

    /// Every name under which events about an entity may be stored: the canonical id and its aliases, each with and
    /// without prefix. `name` itself when the map does not know it.
    #[must_use]
    pub fn names(&self, _name: &str) -> Vec<String> {
        todo!()
    }

    /// An entity, by any of its names.
    #[must_use]
    pub fn entity(&self, _name: &str) -> Option<EntityDetail> {
        todo!()
    }

    /// Entities in the order of their ids, from behind `after`.
    #[must_use]
    pub fn entities(&self, _filter: &EntityFilter, _after: Option<&str>, _limit: usize) -> EntityPage {
        todo!()
    }

    /// What an entity is connected with, ordered; none when the entity is unknown.
    #[must_use]
    pub fn relations(&self, _name: &str) -> Option<Vec<Relation>> {
        todo!()
    }

    /// Number of entities.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The layers, encoded. Proportional to the size of the map.
    #[must_use]
    pub fn encode(&self) -> EncodedLayers {
        todo!()
    }

    /// Every agent's canonical id, ordered: the usage service is asked about them one by one.
    #[must_use]
    pub fn agent_ids(&self) -> Vec<String> {
        todo!()
    }

    /// To be taken when a poll begins.
    #[must_use]
    pub fn mark(&self) -> Mark {
        todo!()
    }

    /// What a poll's answer says that the map does not: payloads of `living_map.sync.<service>` events, each at most
    /// about `max_bytes` of JSON; none when there is nothing new.
    #[must_use]
    pub fn diff(&self, _mark: &Mark, _answer: &Answer, _max_bytes: usize) -> Vec<Value> {
        todo!()
    }
}
