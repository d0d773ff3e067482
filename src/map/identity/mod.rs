//! Identity resolution: the entity behind the names of an assertion.
//!
//! An entity has several names. An unknown one is added, entities that turn out to be the same are merged, and
//! references by name are connected with their targets.

mod claim;
mod merge;
mod naming;
pub(super) mod references;
pub(super) mod resolution;

use crate::model::EntityType;

use super::context::FoldContext;
use super::decode::assertion::{Certainty, EntitySelector};
use super::names::{Name, NameKind};
use super::state::entity::Entity;
use super::state::slab::EntityKey;

impl FoldContext<'_> {
    /// The entity that an assertion is about. None for an unknown entity that is not to be added, and for a deleted
    /// one.
    pub(super) fn resolve(&mut self, selector: EntitySelector) -> Option<EntityKey> {
        match selector {
            EntitySelector::Named { kind, names, certainty } => self.assert_exists(kind, &names, certainty),
            EntitySelector::Known(names) => names.iter().find_map(|name| self.visible(name)),
            EntitySelector::AgentOfRun(runs) => {
                let agent = runs.iter().find_map(|run| self.state.runs.agent(run))?;
                let name = Name::read(EntityType::Agent, agent, NameKind::External);
                self.assert_exists(EntityType::Agent, name.as_slice(), Certainty::Mentioned)
            }
        }
    }

    /// Finds or adds the entity and records that it was seen.
    fn assert_exists(&mut self, kind: EntityType, names: &[Name], certainty: Certainty) -> Option<EntityKey> {
        let explicit = certainty == Certainty::Explicit;
        let known = match names {
            [name] => self.state.index.names.get(&name.text).copied().filter(|key| !self.is_deleted(*key)),
            _ => None,
        };
        let key = match known {
            Some(key) => key,
            None => self.claim(kind, names, explicit)?,
        };
        let (seq, hour) = (self.seq, self.hour);
        let entity = self.state.entities.get_mut(key)?;
        if entity.tombstone.is_some() {
            return None;
        }
        let appears = !entity.is_visible();
        let returns = entity.offline_since.is_some();
        entity.mark_seen(seq, hour, explicit);
        if appears || returns {
            self.identity_changed(key);
        }
        Some(key)
    }

    fn is_deleted(&self, key: EntityKey) -> bool {
        self.state.entities.get(key).is_none_or(|entity| entity.tombstone.is_some())
    }

    fn visible(&self, name: &Name) -> Option<EntityKey> {
        let key = *self.state.index.names.get(&name.text)?;
        self.state.entities.get(key).filter(|entity| entity.is_visible()).map(|_| key)
    }

    /// Merges planets with DAOs of the same name. Only when all parts of an answer are folded: the next part may
    /// contain another DAO of that name.
    pub(super) fn match_planets(&mut self, answer_complete: bool) {
        if !answer_complete {
            let labels = std::mem::take(&mut self.labels);
            self.state.pending_labels.extend(labels);
            return;
        }
        if self.polled {
            self.labels.append(&mut self.state.pending_labels);
        }
        self.merge_planets();
    }

    /// Connects references and forgets entities without a reason to exist; each may cause the other.
    pub(super) fn link_and_forget(&mut self) {
        loop {
            self.update_references();
            self.changed_items.sort_unstable();
            self.changed_items.dedup();
            let is_forgettable = |key: &EntityKey| self.state.entities.get(*key).is_some_and(Entity::is_forgettable);
            let forgotten: Vec<EntityKey> = self.changed_items.iter().copied().filter(is_forgettable).collect();
            for key in &forgotten {
                self.forget(*key);
            }
            if forgotten.is_empty() && self.relink.is_empty() {
                break;
            }
        }
    }
}
