//! The map from its saved form: everything that is made from the rest is made again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::model::{Cursor, Epoch, Service};

use super::alerts::Alerts;
use super::diff::CityFigures;
use super::entity::{Key, Slab};
use super::runs::Runs;
use super::seen::Seen;
use super::usage::Counter;
use super::view::Published;
use super::{DEFAULT_MAX_ENTITIES, Index, State};

/// Which builds can read each other's saved states. To be raised whenever the saved form changes, or the fold makes
/// another map of the same events: a state of another version is not read, and the log is folded from before it.
pub const STATE_VERSION: i32 = 3;

/// A [`State`] as it is saved: the same fields in the same order, since they are told apart by their places.
#[derive(Deserialize)]
pub(super) struct Saved {
    cursor: Cursor,
    logged_at: DateTime<Utc>,
    seen: Seen,
    entities: Slab,
    counted: Counter,
    city: CityFigures,
    alerts: Alerts,
    marks: BTreeMap<Service, u64>,
    runs: Runs,
    pending_labels: BTreeSet<String>,
}

impl From<Saved> for State {
    fn from(saved: Saved) -> Self {
        let Saved { cursor, logged_at, seen, entities, counted, city, alerts, marks, pending_labels, runs } = saved;
        let mut state = Self {
            cursor,
            logged_at,
            seen,
            entities,
            counted,
            city,
            alerts,
            marks,
            pending_labels,
            runs,
            max_entities: DEFAULT_MAX_ENTITIES,
            turned_away: 0,
            index: Index::default(),
        };
        state.rebuild();
        state
    }
}

impl State {
    /// The same map as a fold of the log `epoch`: one that has the same entries under another identity.
    #[must_use]
    pub fn of_log(mut self, epoch: Epoch) -> Self {
        self.cursor.epoch = epoch;
        self
    }

    /// All of it, to be read by [`State::from_saved`] of a build with the same [`STATE_VERSION`]: as `MessagePack`, whose
    /// structs are arrays: of a map of 10,000 entities less than half of what JSON is.
    ///
    /// # Errors
    /// Never in practice: everything in it can be written.
    pub fn to_saved(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec(self)
    }

    /// What [`State::to_saved`] wrote: folding goes on from it exactly as from the original. Its bound is
    /// [`DEFAULT_MAX_ENTITIES`], see [`State::with_max_entities`].
    ///
    /// # Errors
    /// These bytes are no saved state of this build.
    pub fn from_saved(bytes: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }

    fn rebuild(&mut self) {
        let keys: Vec<Key> = self.entities.iter().map(|(key, _)| key).collect();
        for key in &keys {
            let Some(entity) = self.entities.get(*key) else { continue };
            for name in &entity.names {
                self.index.names.insert(Arc::clone(&name.text), *key);
            }
            let (due, labels) = (entity.due(), entity.current_labels());
            self.index.reschedule(*key, None, due);
            for label in &labels {
                self.index.labels.entry(label.clone()).or_default().insert(*key);
            }
            if let Some(entity) = self.entities.get_mut(*key) {
                entity.deadline = due;
                entity.labels = labels;
            }
        }
        for key in &keys {
            let Some(entity) = self.entities.get(*key) else { continue };
            let references = self.references_of(entity);
            for reference in &references {
                self.enter_reference(*key, reference);
            }
            if let Some(entity) = self.entities.get_mut(*key) {
                entity.references = references;
            }
        }
        for key in keys {
            let Some(entity) = self.entities.get(key).filter(|entity| entity.visible()) else { continue };
            let Some(item) = self.view(entity) else { continue };
            let id = Arc::clone(&entity.id);
            self.index.totals.add(&item);
            self.index.order.insert(Arc::clone(&id), key);
            if let Some(entity) = self.entities.get_mut(key) {
                entity.published = Some(Published::new(id, item));
            }
        }
    }
}
