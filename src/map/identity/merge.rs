//! Merging entities that are the same, and forgetting entities.

use std::sync::Arc;

use crate::map::context::FoldContext;
use crate::map::state::entity::{LastSeen, Run};
use crate::map::state::slab::EntityKey;

impl FoldContext<'_> {
    /// Merges `other` into `key`.
    pub(super) fn merge(&mut self, key: EntityKey, other: EntityKey) {
        self.release_references(other);
        let Some(gone) = self.state.entities.remove(other) else { return };
        self.state.index.reschedule(other, gone.deadline, None);
        for label in &gone.labels {
            self.state.index.remove_label(other, label);
        }
        self.orphans.extend(gone.published);
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.facts.merge(gone.facts);
        entity.listed_by = entity.listed_by.union(gone.listed_by);
        entity.ever_listed_by = entity.ever_listed_by.union(gone.ever_listed_by);
        entity.last_seen = match (entity.last_seen, gone.last_seen) {
            (Some(own), Some(other)) => {
                let later = if other.seq > own.seq { other } else { own };
                Some(LastSeen { explicit: own.explicit || other.explicit, ..later })
            }
            (own, other) => own.or(other),
        };
        entity.offline_since = entity.offline_since.or(gone.offline_since);
        if entity.last_seen.is_some() || entity.is_listed() {
            entity.offline_since = None;
        }
        entity.last_active = entity.last_active.max(gone.last_active);
        entity.failed |= gone.failed;
        let started = |run: &Run| run.current.started_at;
        if gone.run.as_ref().map(started) > entity.run.as_ref().map(started) {
            entity.run = gone.run;
        }
        entity.counter.merge(gone.counter);
        entity.open_proposals.extend(gone.open_proposals);
        entity.lessons.merge(gone.lessons);
        for name in &gone.names {
            self.state.index.names.insert(Arc::clone(&name.text), key);
        }
        entity.names.extend(gone.names);
        self.redirect_references(key, other, gone.inbound);
        self.identity_changed(key);
    }

    /// Removes an entity and its names from the map.
    pub(in crate::map) fn forget(&mut self, key: EntityKey) {
        self.release_references(key);
        let Some(gone) = self.state.entities.remove(key) else { return };
        self.state.index.reschedule(key, gone.deadline, None);
        for label in &gone.labels {
            self.state.index.remove_label(key, label);
        }
        for name in &gone.names {
            if self.state.index.names.get(&name.text) == Some(&key) {
                self.state.index.names.remove(&name.text);
            }
        }
        self.orphans.extend(gone.published);
        self.relink.extend(gone.inbound.into_values().flatten());
    }

    /// Merges planets, which the space service numbers, with the DAOs that the DAO service lists: by label, where
    /// exactly one planet and exactly one DAO have it.
    pub(super) fn merge_planets(&mut self) {
        while let Some(label) = self.labels.pop_first() {
            let Some(keys) = self.state.index.labels.get(&label) else { continue };
            let unique = |registered: bool| {
                let mut found = keys.iter().copied().filter(|key| {
                    self.state.entities.get(*key).is_some_and(|entity| entity.is_registered_dao() == registered)
                });
                (found.next(), found.next())
            };
            if let ((Some(dao), None), (Some(planet), None)) = (unique(true), unique(false)) {
                self.merge(dao, planet);
            }
        }
    }
}
