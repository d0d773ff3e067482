//! One thing has several names. This is where entities are found by them, and where two turn out to be one.

use std::sync::Arc;

use crate::model::EntityType;

use super::State;
use super::entity::{Entity, Key};
use super::fields::Field;
use super::fold::Fold;
use super::names::{self, Name, NameKind};

/// Most entities of the map that upstreams list; what they answer is bounded by itself, and trusted more than events.
const MAX_POLLED_ENTITIES: usize = 1_000_000;
/// Most names of one entity; more are not learnt.
const MAX_NAMES: usize = 64;

/// What it means that some names belong to one thing.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The entity they name; none when it is unknown.
    pub(super) target: Option<Key>,
    /// Entities that turn out to be the same one.
    merge: Vec<Key>,
    /// Names that are news for the target.
    learn: Vec<Name>,
}

impl Plan {
    /// Whether the map knew all of it.
    pub(super) fn is_known(&self) -> bool {
        self.target.is_some() && self.merge.is_empty() && self.learn.is_empty()
    }
}

impl State {
    /// Finds out which entity goes by `claimed` names.
    ///
    /// Two entities are one when somebody calls one thing by names of both, unless their uuids differ: then a shared
    /// slug is a coincidence, and it stays with whom it belongs to, as long as that one goes by it.
    pub(super) fn plan(&self, claimed: &[Name]) -> Plan {
        let claims_uuid = claimed.iter().any(|name| name.kind == NameKind::Uuid);
        let differs = |entity: &Entity| {
            let shared = |uuid: &Arc<str>| claimed.iter().any(|name| name.text == *uuid);
            claims_uuid && entity.uuids().next().is_some() && !entity.uuids().any(shared)
        };
        let mut found: Vec<(Key, &Entity)> = Vec::new();
        let by_uuid_first = |uuid: bool| claimed.iter().filter(move |name| (name.kind == NameKind::Uuid) == uuid);
        for name in by_uuid_first(true).chain(by_uuid_first(false)) {
            let Some(key) = self.index.names.get(&name.text).copied() else { continue };
            let Some(entity) = self.entities.get(key) else { continue };
            if !found.iter().any(|(other, _)| *other == key) {
                found.push((key, entity));
            }
        }
        let alive = found.iter().find(|(_, entity)| entity.death.is_none() && !differs(entity));
        let target = alive.or_else(|| found.iter().find(|(_, entity)| entity.death.is_some())).copied();
        let merge: Vec<Key> = found
            .iter()
            .filter(|(key, entity)| {
                target.is_some_and(|(own, into)| {
                    own != *key && entity.death.is_none() && !differs(entity) && !different(entity, into)
                })
            })
            .map(|(key, _)| *key)
            .collect();
        let learn = claimed
            .iter()
            .filter(|name| match self.index.names.get(&name.text) {
                None => true,
                Some(owner) if Some(*owner) == target.map(|(key, _)| key) || merge.contains(owner) => {
                    self.is_better_known_as(*owner, name)
                }
                Some(owner) => self.entities.get(*owner).is_none_or(|entity| entity.gives_up(&name.text)),
            })
            .cloned()
            .collect();
        Plan { target: target.map(|(key, _)| key), merge, learn }
    }

    /// Whether the claim knows more of the name than its owner: that it is a slug.
    fn is_better_known_as(&self, owner: Key, name: &Name) -> bool {
        let known = |entity: &Entity| {
            entity
                .names
                .iter()
                .any(|own| own.text == name.text && own.kind == NameKind::External && name.kind == NameKind::Slug)
        };
        self.entities.get(owner).is_some_and(known)
    }
}

/// Whether both have uuids, and none in common.
fn different(a: &Entity, b: &Entity) -> bool {
    let shared = |uuid: &Arc<str>| b.uuids().any(|other| other == uuid);
    a.uuids().next().is_some() && b.uuids().next().is_some() && !a.uuids().any(shared)
}

impl Fold<'_> {
    /// The entity of these names, taken in when it is unknown; the map learns which names belong together. One that
    /// was deleted is brought back when `revive` says so.
    pub(super) fn claim(&mut self, kind: EntityType, claimed: &[Name], revive: bool) -> Option<Key> {
        let first = claimed.first()?;
        let plan = self.state.plan(claimed);
        let key = match plan.target {
            Some(key) => key,
            None if self.state.entities.len() >= self.max_entities() => {
                self.state.turned_away += 1;
                return None;
            }
            None => self.state.entities.insert(Entity::new(kind, Arc::clone(&first.text)))?,
        };
        let dead = self.state.entities.get(key)?.death.is_some();
        if dead && !revive {
            return Some(key);
        }
        if dead {
            self.revive(key, claimed);
        }
        for other in &plan.merge {
            self.unify(key, *other);
        }
        let news = dead || plan.target.is_none() || !plan.is_known();
        for name in plan.learn {
            self.learn(key, name);
        }
        if news {
            self.touch_whole(key);
        }
        Some(key)
    }

    fn max_entities(&self) -> usize {
        let of_events = self.state.max_entities;
        if self.polled { of_events.max(MAX_POLLED_ENTITIES) } else { of_events }
    }

    /// Brings back a deleted entity. When it comes back under another uuid, its old one is not its name any more.
    fn revive(&mut self, key: Key, claimed: &[Name]) {
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.death = None;
        if claimed.iter().any(|name| name.kind == NameKind::Uuid) {
            let keeps = |name: &Name| name.kind != NameKind::Uuid || claimed.iter().any(|own| own.text == name.text);
            let (kept, lost): (Vec<Name>, Vec<Name>) = std::mem::take(&mut entity.names).into_iter().partition(keeps);
            entity.names = kept;
            for name in lost {
                self.unlearn(key, &name.text);
            }
        }
    }

    fn learn(&mut self, key: Key, name: Name) {
        let owner = self.state.index.names.get(&name.text).copied();
        if let Some(owner) = owner.filter(|owner| *owner != key) {
            if let Some(entity) = self.state.entities.get_mut(owner) {
                entity.names.retain(|own| own.text != name.text);
            }
            self.unlearn(owner, &name.text);
            self.touch_whole(owner);
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

    /// The name does not stand for `key` any more.
    fn unlearn(&mut self, key: Key, name: &Arc<str>) {
        if self.state.index.names.get(name) == Some(&key) {
            self.state.index.names.remove(name);
        }
        let referrers =
            self.state.entities.get(key).map(|entity| entity.inbound.values().flatten().copied().collect::<Vec<Key>>());
        self.relink.extend(referrers.unwrap_or_default());
    }

    /// `other` is `key`: everything known about it is now known about `key`.
    fn unify(&mut self, key: Key, other: Key) {
        self.release_references(other);
        let Some(gone) = self.state.entities.remove(other) else { return };
        self.state.index.reschedule(other, gone.deadline, None);
        for label in &gone.labels {
            self.state.unlabel(other, label);
        }
        self.orphans.extend(gone.published);
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.facts.absorb(gone.facts);
        entity.named = entity.named.union(gone.named);
        entity.ever = entity.ever.union(gone.ever);
        entity.sign = match (entity.sign, gone.sign) {
            (Some(own), Some(sign)) => {
                let later = if sign.seq > own.seq { sign } else { own };
                Some(super::entity::Sign { outright: own.outright || sign.outright, ..later })
            }
            (own, sign) => own.or(sign),
        };
        entity.offline_since = entity.offline_since.or(gone.offline_since);
        if entity.sign.is_some() || entity.vouched() {
            entity.offline_since = None;
        }
        entity.last_active = entity.last_active.max(gone.last_active);
        entity.failed |= gone.failed;
        let began = |run: &super::entity::Run| run.shown.started_at;
        if gone.run.as_ref().map(began) > entity.run.as_ref().map(began) {
            entity.run = gone.run;
        }
        entity.counter.absorb(gone.counter);
        entity.open_proposals.extend(gone.open_proposals);
        entity.lessons.absorb(gone.lessons);
        for name in &gone.names {
            self.state.index.names.insert(Arc::clone(&name.text), key);
        }
        entity.names.extend(gone.names);
        self.adopt_references(key, other, gone.inbound);
        self.touch_whole(key);
    }

    /// The map forgets an entity and its names.
    pub(super) fn forget(&mut self, key: Key) {
        self.release_references(key);
        let Some(gone) = self.state.entities.remove(key) else { return };
        self.state.index.reschedule(key, gone.deadline, None);
        for label in &gone.labels {
            self.state.unlabel(key, label);
        }
        for name in &gone.names {
            if self.state.index.names.get(&name.text) == Some(&key) {
                self.state.index.names.remove(&name.text);
            }
        }
        self.orphans.extend(gone.published);
        self.relink.extend(gone.inbound.into_values().flatten());
    }

    /// Its names or its display name may have changed: which one is its id, and what a planet may be joined by.
    pub(super) fn rename(&mut self, key: Key) {
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        if let Some(id) = entity.best_name().filter(|id| *id != entity.id) {
            entity.id = id;
            let referrers = entity.inbound.values().flatten();
            self.refresh.extend(referrers);
            self.refresh.push(key);
        }
        if entity.kind == EntityType::Dao {
            self.relabel(key);
        }
    }

    fn relabel(&mut self, key: Key) {
        let Some(entity) = self.state.entities.get(key) else { return };
        let labels = entity.current_labels();
        if labels == entity.labels {
            self.labels.extend(labels);
            return;
        }
        let old = self.state.entities.get_mut(key).map(|entity| std::mem::replace(&mut entity.labels, labels.clone()));
        for label in old.unwrap_or_default() {
            self.state.unlabel(key, &label);
            // one fewer of this name may make the rest unmistakable
            self.labels.insert(label);
        }
        for label in labels {
            self.state.index.labels.entry(label.clone()).or_default().insert(key);
            self.labels.insert(label);
        }
    }

    /// Joins planets that the space service numbers with the DAOs that the DAO service lists, by name, where exactly
    /// one fits exactly one.
    pub(super) fn join_planets(&mut self) {
        while let Some(label) = self.labels.pop_first() {
            let Some(keys) = self.state.index.labels.get(&label) else { continue };
            let of_sort = |registered: bool| {
                let mut found = keys.iter().copied().filter(|key| {
                    self.state.entities.get(*key).is_some_and(|entity| entity.is_registered_dao() == registered)
                });
                (found.next(), found.next())
            };
            if let ((Some(dao), None), (Some(planet), None)) = (of_sort(true), of_sort(false)) {
                self.unify(dao, planet);
            }
        }
    }
}

impl Entity {
    /// The names by which a DAO may be joined with a planet: its slug and its display name, as slugs.
    pub(super) fn current_labels(&self) -> Vec<String> {
        if self.kind != EntityType::Dao || !self.visible() {
            return Vec::new();
        }
        let slugs = self.facts.text(Field::Slug).into_iter().chain(
            self.names.iter().filter(|name| name.kind == NameKind::Slug).map(|name| names::own_part(&name.text)),
        );
        let mut labels: Vec<String> =
            self.facts.text(Field::Name).into_iter().chain(slugs).map(names::slugified).collect();
        labels.retain(|label| !label.is_empty());
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Whether the DAO service's names are known for it; the space service has numbers only.
    fn is_registered_dao(&self) -> bool {
        self.names.iter().any(|name| matches!(name.kind, NameKind::Slug | NameKind::Uuid))
    }
}

impl State {
    pub(super) fn unlabel(&mut self, key: Key, label: &str) {
        if let Some(keys) = self.index.labels.get_mut(label) {
            keys.remove(&key);
            if keys.is_empty() {
                self.index.labels.remove(label);
            }
        }
    }
}
