//! Claiming names: adds and restores entities, and assigns names to them.

use std::sync::Arc;

use crate::map::context::FoldContext;
use crate::map::names::{Name, NameKind};
use crate::map::state::entity::Entity;
use crate::map::state::slab::EntityKey;
use crate::model::EntityType;

/// Limit of entities that upstreams list, where it is larger than that of events: answers are bounded themselves, and
/// trusted more than events.
const MAX_POLLED_ENTITIES: usize = 1_000_000;

/// Most names of one entity; further ones are ignored.
const MAX_NAMES: usize = 64;

impl FoldContext<'_> {
    /// The entity with these names, added when it is unknown; assigns it all the names. A deleted entity is restored
    /// only if `restore` is set.
    pub(in crate::map) fn claim(&mut self, kind: EntityType, claimed: &[Name], restore: bool) -> Option<EntityKey> {
        let first = claimed.first()?;
        let resolution = self.state.resolve_names(claimed);
        let key = match resolution.target {
            Some(key) => key,
            None if self.state.entities.len() >= self.max_entities() => {
                self.state.turned_away += 1;
                return None;
            }
            None => self.state.entities.insert(Entity::new(kind, Arc::clone(&first.text)))?,
        };
        let deleted = self.state.entities.get(key)?.tombstone.is_some();
        if deleted && !restore {
            return Some(key);
        }
        if deleted {
            self.restore(key, claimed);
        }
        for other in &resolution.merge {
            self.merge(key, *other);
        }
        let changed = deleted || resolution.target.is_none() || !resolution.is_known();
        for name in resolution.learn {
            self.add_name(key, name);
        }
        if changed {
            self.identity_changed(key);
        }
        Some(key)
    }

    fn max_entities(&self) -> usize {
        let of_events = self.state.options.max_entities;
        if self.polled { of_events.max(MAX_POLLED_ENTITIES) } else { of_events }
    }

    /// Restores a deleted entity. If it has another uuid now, the old one is no longer its name.
    fn restore(&mut self, key: EntityKey, claimed: &[Name]) {
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.tombstone = None;
        if claimed.iter().any(|name| name.kind == NameKind::Uuid) {
            let keeps = |name: &Name| name.kind != NameKind::Uuid || claimed.iter().any(|own| own.text == name.text);
            let (kept, lost): (Vec<Name>, Vec<Name>) = std::mem::take(&mut entity.names).into_iter().partition(keeps);
            entity.names = kept;
            for name in lost {
                self.release_name(key, &name.text);
            }
        }
    }

    fn add_name(&mut self, key: EntityKey, name: Name) {
        let owner = self.state.index.names.get(&name.text).copied();
        if let Some(owner) = owner.filter(|owner| *owner != key) {
            if let Some(entity) = self.state.entities.get_mut(owner) {
                entity.names.retain(|own| own.text != name.text);
            }
            self.release_name(owner, &name.text);
            self.identity_changed(owner);
        }
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        if let Some(own) = entity.names.iter_mut().find(|own| own.text == name.text) {
            own.kind = name.kind;
            return;
        }
        if entity.names.len() >= MAX_NAMES {
            return;
        }
        self.state.index.names.insert(Arc::clone(&name.text), key);
        self.resolve_waiting(key, &name.text);
        if let Some(entity) = self.state.entities.get_mut(key) {
            entity.names.push(name);
        }
    }

    /// Removes a name of `key` from the index.
    fn release_name(&mut self, key: EntityKey, name: &Arc<str>) {
        if self.state.index.names.get(name) == Some(&key) {
            self.state.index.names.remove(name);
        }
        if let Some(entity) = self.state.entities.get(key) {
            self.relink.extend(entity.inbound.values().flatten());
        }
    }
}
