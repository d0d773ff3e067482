//! The state of the fold: entities with their facts, counters, alerts, and the indexes derived from them.
//!
//! Only data and its invariants. The stages of the fold (`identity`, `apply`, `view`, `emit`) change and read it.

pub(super) mod alerts;
pub(super) mod counter;
pub(super) mod entity;
pub(super) mod facts;
pub(super) mod item;
pub(super) mod lessons;
pub(super) mod runs;
pub(super) mod seen;
pub(super) mod slab;
pub(super) mod status;
pub(super) mod totals;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{Alert, Compatibility, Cursor, Epoch, Service, Silence};

use super::city::CityFigures;
use super::usage::CallSource;

use alerts::Alerts;
use counter::Counter;
use entity::Entity;
use runs::Runs;
use seen::SeenEvents;
use slab::{EntityKey, Slab};
use totals::{ShownTotals, Totals};

/// Default limit of the entities that events may add to the map.
pub const DEFAULT_MAX_ENTITIES: usize = 200_000;

/// Settings that decide the content of the map and how it is shown: all replicas must have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapOptions {
    /// Beyond this limit, events about unknown entities change nothing, so that a flood of invented ids cannot fill the
    /// memory; entities listed by upstreams are added nevertheless.
    pub max_entities: usize,
    /// Fields and names that the views have. The facts are the same.
    pub compatibility: Compatibility,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { max_entities: DEFAULT_MAX_ENTITIES, compatibility: Compatibility::None }
    }
}

/// The map at one cursor. A state saved by [`State::to_saved`] and loaded again folds on exactly as the original.
///
/// Saved by position: the order of the fields is the saved format, see `persist`.
#[derive(Debug, Serialize)]
pub struct State {
    pub(super) cursor: Cursor,
    /// The log's time of the last entry.
    pub(super) logged_at: DateTime<Utc>,
    pub(super) seen: SeenEvents,
    pub(super) entities: Slab<Entity>,
    /// Model calls of the whole network.
    pub(super) network_usage: Counter,
    pub(super) city: CityFigures,
    pub(super) alerts: Alerts,
    /// For each upstream, the position of the log when its latest folded poll began.
    pub(super) marks: BTreeMap<Service, u64>,
    pub(super) runs: Runs,
    /// Labels to match planets by, from parts of an answer that is not complete yet.
    pub(super) pending_labels: BTreeSet<String>,
    /// Not saved: settings of the server.
    #[serde(skip)]
    pub(super) options: MapOptions,
    /// Entities that were rejected for the limit.
    #[serde(skip)]
    pub(super) turned_away: u64,
    /// Derived from the fields above.
    #[serde(skip)]
    pub(super) index: Index,
}

/// Indexes of the entities.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By any name, with its type's prefix.
    pub(super) names: HashMap<Arc<str>, EntityKey>,
    /// Entities on the map, by canonical id.
    pub(super) order: BTreeMap<Arc<str>, EntityKey>,
    /// Names that are referred to and not known yet, with the entities that refer to them.
    pub(super) waiting: HashMap<Arc<str>, BTreeSet<EntityKey>>,
    /// DAOs by the labels that planets are matched by.
    pub(super) labels: HashMap<String, BTreeSet<EntityKey>>,
    /// Entities that expire or change with time, by hour of the log.
    pub(super) deadlines: BTreeSet<(i64, EntityKey)>,
    pub(super) totals: Totals,
}

impl Index {
    /// Moves the deadline of an entity.
    pub(super) fn reschedule(&mut self, key: EntityKey, from: Option<i64>, to: Option<i64>) {
        if let Some(hour) = from {
            self.deadlines.remove(&(hour, key));
        }
        if let Some(hour) = to {
            self.deadlines.insert((hour, key));
        }
    }

    /// Removes a label of an entity.
    pub(super) fn remove_label(&mut self, key: EntityKey, label: &str) {
        if let Some(keys) = self.labels.get_mut(label) {
            keys.remove(&key);
            if keys.is_empty() {
                self.labels.remove(label);
            }
        }
    }
}

impl State {
    /// The empty map before the first entry of a log.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            cursor: Cursor { epoch, seq: 0 },
            logged_at: DateTime::UNIX_EPOCH,
            seen: SeenEvents::default(),
            entities: Slab::default(),
            network_usage: Counter::default(),
            city: CityFigures::default(),
            alerts: Alerts::default(),
            marks: BTreeMap::new(),
            runs: Runs::default(),
            pending_labels: BTreeSet::new(),
            options: MapOptions::default(),
            turned_away: 0,
            index: Index::default(),
        }
    }

    /// Replaces the default options.
    #[must_use]
    pub fn with_options(mut self, options: MapOptions) -> Self {
        let shows_same = self.options.compatibility == options.compatibility;
        self.options = options;
        if !shows_same {
            self.rebuild_items();
        }
        self
    }

    /// Fields and names that the map shows.
    #[must_use]
    pub const fn compatibility(&self) -> Compatibility {
        self.options.compatibility
    }

    /// Number of events about unknown entities rejected for the limit since this value was created.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Position of the last folded entry.
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

    /// The silences, ordered by id. They end by the log's time: the list may contain one that is over by the clock.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.alerts.silences()
    }

    /// The upstreams that have contributed data.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        self.marks.keys().copied().collect()
    }

    pub(super) fn shown_totals(&self) -> ShownTotals {
        self.index.totals.shown(self.network_usage.llm_calls())
    }

    /// The origin of the agents' calls and tokens: the same as that of the network's total.
    pub(super) fn call_source(&self) -> CallSource {
        if self.network_usage.base_mark().is_some() { CallSource::Service } else { CallSource::Events }
    }
}
