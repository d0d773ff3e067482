//! Working set of one entry: the state, and the entities that later stages must look at.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::model::{AlertChange, LogEntry};

use super::state::State;
use super::state::entity::Entity;
use super::state::facts::LogPosition;
use super::state::item::PublishedItem;
use super::state::slab::EntityKey;

/// One entry on its way through the stages of the fold.
pub(super) struct FoldContext<'a> {
    pub(super) state: &'a mut State,
    /// Position of the entry.
    pub(super) seq: u64,
    /// `true` if the entry is a part of an upstream's answer.
    pub(super) polled: bool,
    /// Hour of the log.
    pub(super) hour: i64,
    /// The producer's time, at most the log's: a clock that runs ahead must not make later events look old.
    pub(super) time: DateTime<Utc>,
    /// Entities whose references may have changed.
    pub(super) relink: Vec<EntityKey>,
    /// Entities whose items may have changed.
    pub(super) changed_items: Vec<EntityKey>,
    /// Entities of whose items only the live fields may have changed.
    pub(super) changed_live_fields: Vec<EntityKey>,
    /// Labels by which a planet and a DAO may turn out to be the same.
    pub(super) labels: BTreeSet<String>,
    /// Published items of entities that were merged or forgotten.
    pub(super) orphans: Vec<PublishedItem>,
    /// Changed fields of the city layer itself.
    pub(super) city_patch: Map<String, Value>,
    /// Alerts that were raised or cleared.
    pub(super) alerts: Vec<AlertChange>,
}

impl<'a> FoldContext<'a> {
    pub(super) fn new(state: &'a mut State, entry: &LogEntry, polled: bool) -> Self {
        Self {
            seq: entry.cursor.seq,
            polled,
            hour: hour_of(state.logged_at),
            time: entry.event.timestamp.min(state.logged_at),
            state,
            relink: Vec::new(),
            changed_items: Vec::new(),
            changed_live_fields: Vec::new(),
            labels: BTreeSet::new(),
            orphans: Vec::new(),
            city_patch: Map::new(),
            alerts: Vec::new(),
        }
    }

    /// Position and time of the entry.
    pub(super) const fn position(&self) -> LogPosition {
        LogPosition { seq: self.seq, second: self.state.logged_at.timestamp() }
    }

    pub(super) fn entity(&mut self, key: EntityKey) -> Option<&mut Entity> {
        self.state.entities.get_mut(key)
    }

    /// Records that the live fields of an entity's item may have changed.
    pub(super) fn live_fields_changed(&mut self, key: EntityKey) {
        self.changed_live_fields.push(key);
    }

    /// Records that an entity's item may have changed.
    pub(super) fn item_changed(&mut self, key: EntityKey) {
        self.changed_items.push(key);
    }
}

/// The hour of the log's time, counted from the unix epoch.
const fn hour_of(time: DateTime<Utc>) -> i64 {
    const SECONDS: i64 = 3_600;
    time.timestamp().div_euclid(SECONDS)
}
