//! Canonical ids, and the labels by which planets and DAOs are matched.

use crate::map::context::FoldContext;
use crate::map::fields::Field;
use crate::map::names::{self, NameKind};
use crate::map::state::entity::Entity;
use crate::map::state::slab::EntityKey;
use crate::model::EntityType;

impl FoldContext<'_> {
    /// Records that names, references and item of an entity may have changed.
    pub(in crate::map) fn identity_changed(&mut self, key: EntityKey) {
        self.relink.push(key);
        self.rename(key);
        self.item_changed(key);
    }

    /// Updates the canonical id and the labels after a change of names or display name.
    pub(in crate::map) fn rename(&mut self, key: EntityKey) {
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        if let Some(id) = entity.best_name().filter(|id| *id != entity.id) {
            entity.id = id;
            let referrers = entity.inbound.values().flatten();
            self.changed_items.extend(referrers);
            self.changed_items.push(key);
        }
        if entity.kind == EntityType::Dao {
            self.relabel(key);
        }
    }

    fn relabel(&mut self, key: EntityKey) {
        let Some(entity) = self.state.entities.get(key) else { return };
        let labels = entity.current_labels();
        if labels == entity.labels {
            self.labels.extend(labels);
            return;
        }
        let old = self.state.entities.get_mut(key).map(|entity| std::mem::replace(&mut entity.labels, labels.clone()));
        for label in old.unwrap_or_default() {
            self.state.index.remove_label(key, &label);
            // with one fewer, the rest may be unique
            self.labels.insert(label);
        }
        for label in labels {
            self.state.index.labels.entry(label.clone()).or_default().insert(key);
            self.labels.insert(label);
        }
    }
}

impl Entity {
    /// The labels of a DAO: its slugs and its display name, in the form of slugs.
    pub(in crate::map) fn current_labels(&self) -> Vec<String> {
        if self.kind != EntityType::Dao || !self.is_visible() {
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

    /// Returns `true` if it has a name from the DAO service; the space service has numbers only.
    pub(super) fn is_registered_dao(&self) -> bool {
        self.names.iter().any(|name| matches!(name.kind, NameKind::Slug | NameKind::Uuid))
    }
}
