//! References between entities: connected when the name becomes known, and counted at their target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::map::context::FoldContext;
use crate::map::fields::Field;
use crate::map::names;
use crate::map::state::State;
use crate::map::state::entity::{Entity, Link, Reference};
use crate::map::state::slab::EntityKey;
use crate::model::EntityType;

impl Entity {
    /// The references that its facts state, by name.
    fn wanted_references(&self) -> Vec<(Link, String)> {
        if !self.is_visible() {
            return Vec::new();
        }
        let microdao = |link| {
            let name = names::prefixed(EntityType::Microdao, self.facts.text(Field::MicrodaoId)?)?;
            Some((link, name))
        };
        match self.kind {
            EntityType::Agent => microdao(Link::AgentOf).into_iter().collect(),
            EntityType::Node => microdao(Link::NodeOf).into_iter().collect(),
            EntityType::Channel => microdao(Link::ChannelOf).into_iter().collect(),
            EntityType::Dao => {
                let orbits = self.facts.best(Field::Orbits).and_then(|ids| ids.as_array()).into_iter().flatten();
                let nodes = orbits.filter_map(|id| names::prefixed(EntityType::Node, id.as_str()?));
                microdao(Link::Governs).into_iter().chain(nodes.map(|node| (Link::OrbitedBy, node))).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl State {
    /// The references of an entity, connected with the targets that are known.
    pub(in crate::map) fn references_of(&self, entity: &Entity) -> Vec<Reference> {
        let resolve = |(link, name): (Link, String)| match self.index.names.get_key_value(name.as_str()) {
            Some((name, target)) => Reference { link, name: Arc::clone(name), target: Some(*target) },
            None => Reference { link, name: name.into(), target: None },
        };
        entity.wanted_references().into_iter().map(resolve).collect()
    }

    /// Registers a reference at its target, or as waiting for it.
    pub(in crate::map) fn register_reference(&mut self, key: EntityKey, reference: &Reference) {
        match reference.target.and_then(|target| self.entities.get_mut(target)) {
            Some(target) => {
                target.inbound.entry(reference.link).or_default().insert(key);
            }
            None => {
                self.index.waiting.entry(Arc::clone(&reference.name)).or_default().insert(key);
            }
        }
    }

    fn unregister_reference(&mut self, key: EntityKey, reference: &Reference) {
        match reference.target {
            Some(target) => {
                if let Some(target) = self.entities.get_mut(target) {
                    remove_inbound(&mut target.inbound, reference.link, key);
                }
            }
            None => remove_waiting(self, &reference.name, key),
        }
    }
}

fn remove_inbound(inbound: &mut BTreeMap<Link, BTreeSet<EntityKey>>, link: Link, key: EntityKey) {
    if let Some(keys) = inbound.get_mut(&link) {
        keys.remove(&key);
        if keys.is_empty() {
            inbound.remove(&link);
        }
    }
}

fn remove_waiting(state: &mut State, name: &Arc<str>, key: EntityKey) {
    if let Some(keys) = state.index.waiting.get_mut(name) {
        keys.remove(&key);
        if keys.is_empty() {
            state.index.waiting.remove(name);
        }
    }
}

impl FoldContext<'_> {
    /// Updates the references of all entities in `relink`.
    pub(super) fn update_references(&mut self) {
        self.relink.sort_unstable();
        self.relink.dedup();
        for key in std::mem::take(&mut self.relink) {
            let Some(entity) = self.state.entities.get(key) else { continue };
            let now = self.state.references_of(entity);
            if now == entity.references {
                continue;
            }
            self.release_references(key);
            for reference in &now {
                self.state.register_reference(key, reference);
                self.changed_items.extend(reference.target);
            }
            if let Some(entity) = self.state.entities.get_mut(key) {
                entity.references = now;
            }
            self.changed_items.push(key);
        }
    }

    /// Removes all references of an entity.
    pub(super) fn release_references(&mut self, key: EntityKey) {
        let held = self.state.entities.get_mut(key).map(|entity| std::mem::take(&mut entity.references));
        for reference in held.unwrap_or_default() {
            self.state.unregister_reference(key, &reference);
            self.changed_items.extend(reference.target);
        }
    }

    /// Schedules the entities that refer to a name that became known.
    pub(super) fn resolve_waiting(&mut self, key: EntityKey, name: &Arc<str>) {
        if let Some(referrers) = self.state.index.waiting.get(name) {
            self.relink.extend(referrers);
            self.changed_items.push(key);
        }
    }

    /// Redirects the references to a merged entity, `other`, to `key`.
    pub(super) fn redirect_references(
        &mut self,
        key: EntityKey,
        other: EntityKey,
        inbound: BTreeMap<Link, BTreeSet<EntityKey>>,
    ) {
        for (link, referrers) in inbound {
            for referrer in referrers {
                let Some(entity) = self.state.entities.get_mut(referrer) else { continue };
                for reference in entity.references.iter_mut().filter(|held| held.target == Some(other)) {
                    reference.target = Some(key);
                }
                self.changed_items.push(referrer);
                if let Some(entity) = self.state.entities.get_mut(key) {
                    entity.inbound.entry(link).or_default().insert(referrer);
                }
            }
        }
    }
}
