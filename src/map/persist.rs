//! Saved states: encodes a state, and rebuilds from the encoded form everything that is derived.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::model::{Cursor, Epoch, Service};

use super::city::CityFigures;
use super::state::alerts::Alerts;
use super::state::counter::Counter;
use super::state::entity::Entity;
use super::state::item::PublishedItem;
use super::state::runs::Runs;
use super::state::seen::SeenEvents;
use super::state::slab::{EntityKey, Slab};
use super::state::totals::Totals;
use super::state::{Index, MapOptions, State};

/// Version of the saved form. To be raised whenever the form changes, or the fold computes a different map from the
/// same events.
pub const STATE_VERSION: i32 = 5;

/// Versions of the saved form that can be loaded. A state of another version is not used, and the log is folded from
/// the beginning. Version 3 lacks the times of facts, which has no effect on the fold; version 4 the measurements of alerts,
/// which events of its time do not have.
pub const READABLE_VERSIONS: RangeInclusive<i32> = 3..=STATE_VERSION;

/// The saved fields of a [`State`] in the same order, because they are identified by position.
#[derive(Deserialize)]
struct SavedState {
    cursor: Cursor,
    logged_at: DateTime<Utc>,
    seen: SeenEvents,
    entities: Slab<Entity>,
    network_usage: Counter,
    city: CityFigures,
    alerts: Alerts,
    marks: BTreeMap<Service, u64>,
    runs: Runs,
    pending_labels: BTreeSet<String>,
}

impl From<SavedState> for State {
    fn from(saved: SavedState) -> Self {
        let mut state = Self {
            cursor: saved.cursor,
            logged_at: saved.logged_at,
            seen: saved.seen,
            entities: saved.entities,
            network_usage: saved.network_usage,
            city: saved.city,
            alerts: saved.alerts,
            marks: saved.marks,
            runs: saved.runs,
            pending_labels: saved.pending_labels,
            options: MapOptions::default(),
            turned_away: 0,
            index: Index::default(),
        };
        state.rebuild();
        state
    }
}

impl State {
    /// The same map as a fold of the log `epoch`, which has the same entries under another identity.
    #[must_use]
    pub fn of_log(mut self, epoch: Epoch) -> Self {
        self.cursor.epoch = epoch;
        self
    }

    /// Moves the map to `cursor`, in a log that lost the entries of which it is the fold. Positions that the map contains are
    /// limited to that of `cursor`, so that every later entry of the log is newer.
    #[must_use]
    pub fn carried_to(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self.network_usage.limit_positions(cursor.seq);
        for entity in self.entities.values_mut() {
            entity.limit_positions(cursor.seq);
        }
        for mark in self.marks.values_mut() {
            *mark = (*mark).min(cursor.seq);
        }
        self
    }

    /// Encodes the state for [`State::from_saved`] of a build that reads this [`STATE_VERSION`]. The format is
    /// `MessagePack` with structs as arrays: for a map of 10,000 entities less than half the size of JSON.
    ///
    /// # Errors
    /// Never in practice: every value can be encoded.
    pub fn to_saved(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec(self)
    }

    /// Loads a state written by [`State::to_saved`]; it folds on exactly as the original. It has the default
    /// options, see [`State::with_options`].
    ///
    /// # Errors
    /// The bytes are not a saved state of one of the [`READABLE_VERSIONS`].
    pub fn from_saved(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice::<SavedState>(bytes).map(Self::from)
    }

    fn rebuild(&mut self) {
        let keys: Vec<EntityKey> = self.entities.iter().map(|(key, _)| key).collect();
        self.rebuild_names(&keys);
        self.rebuild_references(&keys);
        self.rebuild_items();
    }

    fn rebuild_names(&mut self, keys: &[EntityKey]) {
        for key in keys {
            let Some(entity) = self.entities.get(*key) else { continue };
            for name in &entity.names {
                self.index.names.insert(Arc::clone(&name.text), *key);
            }
            let (deadline, labels) = (entity.next_deadline(), entity.current_labels());
            self.index.reschedule(*key, None, deadline);
            for label in &labels {
                self.index.labels.entry(label.clone()).or_default().insert(*key);
            }
            if let Some(entity) = self.entities.get_mut(*key) {
                entity.deadline = deadline;
                entity.labels = labels;
            }
        }
    }

    fn rebuild_references(&mut self, keys: &[EntityKey]) {
        for key in keys {
            let Some(entity) = self.entities.get(*key) else { continue };
            let references = self.references_of(entity);
            for reference in &references {
                self.register_reference(*key, reference);
            }
            if let Some(entity) = self.entities.get_mut(*key) {
                entity.references = references;
            }
        }
    }

    /// Derives all items again.
    pub(super) fn rebuild_items(&mut self) {
        let keys: Vec<EntityKey> = self.entities.iter().map(|(key, _)| key).collect();
        self.index.totals = Totals::default();
        for key in keys {
            let Some(entity) = self.entities.get(key).filter(|entity| entity.is_visible()) else { continue };
            let Some(item) = self.view(entity) else { continue };
            let id = Arc::clone(&entity.id);
            self.index.totals.add(&item);
            self.index.order.insert(Arc::clone(&id), key);
            if let Some(entity) = self.entities.get_mut(key) {
                entity.published = Some(PublishedItem::new(id, item));
            }
        }
    }
}
