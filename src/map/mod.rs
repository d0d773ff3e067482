//! The map: a pure fold over the log. No I/O, no clock.
//!
//! Each entity keeps what every source says of it, field by field (`facts`); one table says whose word counts. Names
//! that mean one thing lead to one entity (`identity`), references between entities follow (`links`). Reducers
//! (`reduce`) say what an event means, one file for each family of subjects; `settle` turns what they did into
//! changes.

mod alert_book;
mod alerts;
mod compare;
mod diff;
mod encode;
mod entity;
mod facts;
mod fields;
mod fold;
mod identity;
mod lessons;
mod links;
mod names;
mod persist;
mod query;
mod reduce;
mod runs;
mod seen;
mod settle;
mod status;
mod told;
mod totals;
mod usage;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::model::{
    Alert, AlertChange, Answer, Change, Cursor, EntityType, Epoch, Layer, LogEntry, Service, Silence, Status,
};

pub use alert_book::AlertBook;
pub use alerts::MAX_SILENCES;
pub use compare::{ChangedEntity, Comparison, FieldChange};
pub use persist::STATE_VERSION;

use alerts::Alerts;
use diff::CityFigures;
use entity::{Key, Slab};
use fold::Fold;
use runs::Runs;
use seen::Seen;
use totals::{Shown, Totals};
use usage::{Counter, Counts};

/// What one entry did to the map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The changes, in the order in which a client applies them.
    pub changes: Vec<Change>,
    /// The alerts that were raised or cleared, in this order; what clients show of them is among the changes.
    pub alerts: Vec<AlertChange>,
    /// The event was folded before: it changes nothing and is not shown to clients.
    pub duplicate: bool,
    /// Canonical id of the event's entity, when the map knows it.
    pub entity_id: Option<String>,
}

/// The map at one cursor. Serializing keeps all of it: folding goes on from the copy exactly as from the original.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "persist::Saved")]
pub struct State {
    cursor: Cursor,
    /// The log's time of the last entry.
    logged_at: DateTime<Utc>,
    seen: Seen,
    entities: Slab,
    /// Calls of language models by everybody.
    counted: Counter,
    city: CityFigures,
    alerts: Alerts,
    /// The mark of each upstream's last answer that said something.
    marks: BTreeMap<Service, u64>,
    /// Whose run is whose.
    runs: Runs,
    /// Names to join planets by, from parts of an answer of which more parts follow.
    pending_labels: BTreeSet<String>,
    /// Most entities that events may bring to the map. Not saved: it is the server's, not the log's.
    #[serde(skip)]
    max_entities: usize,
    /// Entities that were not taken in for that.
    #[serde(skip)]
    turned_away: u64,
    /// Made from the above.
    #[serde(skip)]
    index: Index,
}

/// Ways into the entities.
#[derive(Debug, Default)]
struct Index {
    /// By any name, with its type's prefix.
    names: HashMap<Arc<str>, Key>,
    /// What is on the map, by canonical id.
    order: BTreeMap<Arc<str>, Key>,
    /// Names that are referred to and not known yet, with who refers to them.
    waiting: HashMap<Arc<str>, BTreeSet<Key>>,
    /// DAOs by the names that planets are joined by.
    labels: HashMap<String, BTreeSet<Key>>,
    /// Entities that time alone will change, by hour of the log.
    deadlines: BTreeSet<(i64, Key)>,
    totals: Totals,
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
    /// Usage counted by then, by agent.
    usage: HashMap<Arc<str>, Counts>,
    /// Usage counted by then, by everybody.
    total: Counts,
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
        Self {
            cursor: Cursor { epoch, seq: 0 },
            logged_at: DateTime::UNIX_EPOCH,
            seen: Seen::default(),
            entities: Slab::default(),
            counted: Counter::default(),
            city: CityFigures::default(),
            alerts: Alerts::default(),
            marks: BTreeMap::new(),
            runs: Runs::default(),
            pending_labels: BTreeSet::new(),
            max_entities: DEFAULT_MAX_ENTITIES,
            turned_away: 0,
            index: Index::default(),
        }
    }

    /// The same with another bound in place of [`DEFAULT_MAX_ENTITIES`]: beyond it events about strangers change
    /// nothing, so that a flood of invented ids cannot fill the memory. What upstreams list is taken in all the same.
    /// It decides what is on the map: replicas of one map must have the same.
    #[must_use]
    pub fn with_max_entities(self, max_entities: usize) -> Self {
        Self { max_entities, ..self }
    }

    /// How many times an event was about a stranger that was not taken in, since this value was made.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Folds the next entry. Never fails: what it does not understand changes nothing.
    pub fn apply(&mut self, entry: &LogEntry) -> Outcome {
        let before = self.shown_totals();
        let folded = self.fold(entry, Some(&before));
        let duplicate = folded.is_none();
        let (changes, alerts) = folded.unwrap_or_default();
        Outcome { changes, alerts, duplicate, entity_id: self.entity_of(entry) }
    }

    /// [`State::apply`] where only the map counts and nobody is told what changed: that is not made out.
    pub fn advance(&mut self, entry: &LogEntry) {
        self.fold(entry, None);
    }

    /// None when the event was folded before. Without the totals `before`, the changes are not made out.
    fn fold(&mut self, entry: &LogEntry, before: Option<&Shown>) -> Option<(Vec<Change>, Vec<AlertChange>)> {
        self.cursor = entry.cursor;
        self.logged_at = self.logged_at.max(entry.logged_at);
        if !self.seen.insert(entry.event.id) {
            return None;
        }
        let mut fold = Fold::new(self, entry);
        fold.expire();
        let answer_complete = reduce::event(&mut fold, &entry.event);
        // joined by name only when all of an answer is known: the next part may have another DAO of the same name
        if answer_complete {
            if entry.event.event_type.starts_with(SYNC_PREFIX) {
                fold.labels.append(&mut fold.state.pending_labels);
            }
            fold.join_planets();
        } else {
            let labels = std::mem::take(&mut fold.labels);
            fold.state.pending_labels.extend(labels);
        }
        Some(fold.settle(before))
    }

    fn entity_of(&self, entry: &LogEntry) -> Option<String> {
        let (kind, id) = (entry.event.entity_type?, entry.event.entity_id.as_deref()?);
        let key = self.index.names.get(names::prefixed(kind, id)?.as_str())?;
        self.entities.get(*key).map(|entity| entity.id.to_string())
    }

    /// The position folded last.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The log's time of the last entry; the unix epoch before the first.
    #[must_use]
    pub const fn logged_at(&self) -> DateTime<Utc> {
        self.logged_at
    }

    /// The active alerts, ordered by id.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.list()
    }

    /// The silences, ordered by id. They end by the log's time: one that is over by the clock may still be there.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.alerts.silences()
    }

    fn shown_totals(&self) -> Shown {
        self.index.totals.shown(self.counted.shown().llm_calls_24h)
    }

    /// To be taken when a poll begins.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let counts = self.entities.iter().map(|(_, entity)| (&entity.id, entity.counter.counted()));
        let usage = counts.filter(|(_, counted)| !counted.is_zero()).map(|(id, counted)| (Arc::clone(id), counted));
        Mark { seq: self.cursor.seq, usage: usage.collect(), total: self.counted.counted() }
    }

    /// What a poll's answer says that the map does not: payloads of `living_map.sync.<service>` events, each at most
    /// about `max_bytes` of JSON; none when there is nothing new.
    #[must_use]
    pub fn diff(&self, mark: &Mark, answer: &Answer, max_bytes: usize) -> Vec<Value> {
        self.difference(mark, answer, max_bytes)
    }
}

/// Entities that events may bring to the map when nothing else was said.
pub const DEFAULT_MAX_ENTITIES: usize = 200_000;

/// Subjects of what polls found.
const SYNC_PREFIX: &str = "living_map.sync.";
