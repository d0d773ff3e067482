//! References between entities: resolved as soon as the name is known, counted where they point to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::EntityType;

use super::State;
use super::entity::{Entity, Key, Link, Reference};
use super::fields::Field;
use super::fold::Fold;
use super::names;

impl Entity {
    /// What it refers to now, by name.
    fn wanted_references(&self) -> Vec<(Link, String)> {
        if !self.visible() {
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
    /// What an entity refers to now, resolved as far as the names are known.
    pub(super) fn references_of(&self, entity: &Entity) -> Vec<Reference> {
        let resolve = |(link, name): (Link, String)| match self.index.names.get_key_value(name.as_str()) {
            Some((name, target)) => Reference { link, name: Arc::clone(name), target: Some(*target) },
            None => Reference { link, name: name.into(), target: None },
        };
        entity.wanted_references().into_iter().map(resolve).collect()
    }

    /// Enters a reference where it points to.
    pub(super) fn enter_reference(&mut self, key: Key, reference: &Reference) {
        match reference.target.and_then(|target| self.entities.get_mut(target)) {
            Some(target) => {
                target.inbound.entry(reference.link).or_default().insert(key);
            }
            None => {
                self.index.waiting.entry(Arc::clone(&reference.name)).or_default().insert(key);
            }
        }
    }

    fn leave_reference(&mut self, key: Key, reference: &Reference) {
        match reference.target {
            Some(target) => {
                if let Some(target) = self.entities.get_mut(target) {
                    drop_from(&mut target.inbound, reference.link, key);
                }
            }
            None => drop_from_waiting(self, &reference.name, key),
        }
    }
}

fn drop_from(inbound: &mut BTreeMap<Link, BTreeSet<Key>>, link: Link, key: Key) {
    if let Some(keys) = inbound.get_mut(&link) {
        keys.remove(&key);
        if keys.is_empty() {
            inbound.remove(&link);
        }
    }
}

fn drop_from_waiting(state: &mut State, name: &Arc<str>, key: Key) {
    if let Some(keys) = state.index.waiting.get_mut(name) {
        keys.remove(&key);
        if keys.is_empty() {
            state.index.waiting.remove(name);
        }
    }
}

impl Fold<'_> {
    /// Brings the references of everything that asked for it up to date.
    pub(super) fn link_all(&mut self) {
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
                self.state.enter_reference(key, reference);
                self.refresh.extend(reference.target);
            }
            if let Some(entity) = self.state.entities.get_mut(key) {
                entity.references = now;
            }
            self.refresh.push(key);
        }
    }

    /// An entity refers to nothing any more.
    pub(super) fn release_references(&mut self, key: Key) {
        let held = self.state.entities.get_mut(key).map(|entity| std::mem::take(&mut entity.references));
        for reference in held.unwrap_or_default() {
            self.state.leave_reference(key, &reference);
            self.refresh.extend(reference.target);
        }
    }

    /// A name is known now: whoever referred to it is connected at the next chance.
    pub(super) fn resolve_waiting(&mut self, key: Key, name: &Arc<str>) {
        if let Some(referrers) = self.state.index.waiting.get(name) {
            self.relink.extend(referrers);
            self.refresh.push(key);
        }
    }

    /// `key` takes over the references to `other`, which is the same thing.
    pub(super) fn adopt_references(&mut self, key: Key, other: Key, inbound: BTreeMap<Link, BTreeSet<Key>>) {
        for (link, referrers) in inbound {
            for referrer in referrers {
                let Some(entity) = self.state.entities.get_mut(referrer) else { continue };
                for reference in entity.references.iter_mut().filter(|held| held.target == Some(other)) {
                    reference.target = Some(key);
                }
                self.refresh.push(referrer);
                if let Some(entity) = self.state.entities.get_mut(key) {
                    entity.inbound.entry(link).or_default().insert(referrer);
                }
            }
        }
    }
}
