//! The entity behind a set of names.

use std::sync::Arc;

use crate::map::names::{Name, NameKind};
use crate::map::state::State;
use crate::map::state::entity::Entity;
use crate::map::state::slab::EntityKey;

/// The consequences of names belonging to one entity.
#[derive(Debug, Default)]
pub(in crate::map) struct Resolution {
    /// The entity with these names; none when it is unknown.
    pub(in crate::map) target: Option<EntityKey>,
    /// Other entities that turn out to be the same.
    pub(super) merge: Vec<EntityKey>,
    /// Names that are new for the target.
    pub(super) learn: Vec<Name>,
}

impl Resolution {
    /// Returns `true` if the names change nothing.
    pub(in crate::map) fn is_known(&self) -> bool {
        self.target.is_some() && self.merge.is_empty() && self.learn.is_empty()
    }
}

impl State {
    /// Finds the entity with the `claimed` names.
    ///
    /// Two entities are the same when names of both are claimed for one entity, unless their uuids differ: then a
    /// shared slug is a coincidence, and stays with its present owner while that uses it.
    pub(in crate::map) fn resolve_names(&self, claimed: &[Name]) -> Resolution {
        let claims_uuid = claimed.iter().any(|name| name.kind == NameKind::Uuid);
        let differs = |entity: &Entity| {
            let shared = |uuid: &Arc<str>| claimed.iter().any(|name| name.text == *uuid);
            claims_uuid && entity.uuids().next().is_some() && !entity.uuids().any(shared)
        };
        let mut found: Vec<(EntityKey, &Entity)> = Vec::new();
        let by_uuid_first = |uuid: bool| claimed.iter().filter(move |name| (name.kind == NameKind::Uuid) == uuid);
        for name in by_uuid_first(true).chain(by_uuid_first(false)) {
            let Some(key) = self.index.names.get(&name.text).copied() else { continue };
            let Some(entity) = self.entities.get(key) else { continue };
            if !found.iter().any(|(other, _)| *other == key) {
                found.push((key, entity));
            }
        }
        let alive = found.iter().find(|(_, entity)| entity.tombstone.is_none() && !differs(entity));
        let target = alive.or_else(|| found.iter().find(|(_, entity)| entity.tombstone.is_some())).copied();
        let merge: Vec<EntityKey> = found
            .iter()
            .filter(|(key, entity)| {
                target.is_some_and(|(own, into)| {
                    own != *key && entity.tombstone.is_none() && !differs(entity) && !different(entity, into)
                })
            })
            .map(|(key, _)| *key)
            .collect();
        let learn = claimed
            .iter()
            .filter(|name| match self.index.names.get(&name.text) {
                None => true,
                Some(owner) if Some(*owner) == target.map(|(key, _)| key) || merge.contains(owner) => {
                    self.refines_kind(*owner, name)
                }
                Some(owner) => self.entities.get(*owner).is_none_or(|entity| entity.releases(&name.text)),
            })
            .cloned()
            .collect();
        Resolution { target: target.map(|(key, _)| key), merge, learn }
    }

    /// Returns `true` if the claim refines the kind of an owned name: that it is a slug.
    fn refines_kind(&self, owner: EntityKey, name: &Name) -> bool {
        let known = |entity: &Entity| {
            entity
                .names
                .iter()
                .any(|own| own.text == name.text && own.kind == NameKind::External && name.kind == NameKind::Slug)
        };
        self.entities.get(owner).is_some_and(known)
    }
}

/// Returns `true` if both have uuids and share none.
fn different(a: &Entity, b: &Entity) -> bool {
    let shared = |uuid: &Arc<str>| b.uuids().any(|other| other == uuid);
    a.uuids().next().is_some() && b.uuids().next().is_some() && !a.uuids().any(shared)
}
