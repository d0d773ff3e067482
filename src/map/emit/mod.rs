//! Emits changes: compares items and totals with those published before, and encodes snapshots.

mod snapshot;

use serde_json::{Map, Value};

use crate::model::change::{self, Change};
use crate::model::{AlertChange, EntityType, Layer};

use super::context::FoldContext;
use super::state::State;
use super::state::item::{Item, LiveFields, PublishedItem};
use super::state::slab::EntityKey;
use super::state::totals::ShownTotals;

pub use snapshot::EncodedLayers;

impl FoldContext<'_> {
    /// Updates items, totals and indexes. Returns the changes, in the order in which clients apply them, and the
    /// changes of alerts. Without the totals `before`, changes of the map are not computed.
    pub(super) fn finalize_changes(mut self, before: Option<&ShownTotals>) -> (Vec<Change>, Vec<AlertChange>) {
        let mut changes = Changes { wanted: before.is_some(), ..Changes::default() };
        for published in std::mem::take(&mut self.orphans) {
            self.unpublish(&published, &mut changes);
        }
        self.changed_live_fields.sort_unstable();
        self.changed_live_fields.dedup();
        for key in std::mem::take(&mut self.changed_live_fields) {
            if self.changed_items.binary_search(&key).is_err() && !self.publish_live_fields(key, &mut changes) {
                self.changed_items.push(key);
            }
        }
        for key in std::mem::take(&mut self.changed_items) {
            self.publish(key, &mut changes);
        }
        if let Some(before) = before {
            self.totals(before, &mut changes);
        }
        (changes.in_order(), std::mem::take(&mut self.alerts))
    }

    /// Publishes an entity's live fields; false when the whole item must be published.
    fn publish_live_fields(&mut self, key: EntityKey, changes: &mut Changes) -> bool {
        let calls = self.state.call_source();
        let State { entities, index, options, .. } = &mut *self.state;
        let Some(entity) = entities.get_mut(key) else { return true };
        let (now, due) = (LiveFields::of(entity, options.compatibility, calls), entity.next_deadline());
        let Some((published, now)) = entity.published.as_mut().zip(now) else { return false };
        if due != entity.deadline {
            index.reschedule(key, entity.deadline, due);
            entity.deadline = due;
        }
        if let Some(before) = published.item.live_fields().filter(|before| *before != now) {
            index.totals.subtract(&published.item);
            let (kind, id) = (published.item.kind(), &published.id);
            changes
                .upsert(published.item.layers(), kind, id, |layer| change::diff(&before.json(layer), &now.json(layer)));
            published.set_live_fields(now);
            index.totals.add(&published.item);
        }
        true
    }

    fn publish(&mut self, key: EntityKey, changes: &mut Changes) {
        let Some(entity) = self.state.entities.get(key) else { return };
        let item = if entity.is_visible() { self.state.view(entity) } else { None };
        let id = entity.id.clone();
        let due = entity.next_deadline();
        let State { entities, index, .. } = &mut *self.state;
        let Some(entity) = entities.get_mut(key) else { return };
        if due != entity.deadline {
            index.reschedule(key, entity.deadline, due);
            entity.deadline = due;
        }
        match (entity.published.take(), item) {
            (Some(old), Some(item)) if old.id == id => {
                if old.item == item {
                    entity.published = Some(old);
                } else {
                    index.totals.subtract(&old.item);
                    index.totals.add(&item);
                    changes.patch(&id, &old.item, &item);
                    entity.published = Some(PublishedItem::new(id, item));
                }
            }
            (old, item) => {
                if let Some(item) = item {
                    index.totals.add(&item);
                    index.order.insert(id.clone(), key);
                    changes.patch_whole(&id, &item);
                    entity.published = Some(PublishedItem::new(id, item));
                }
                if let Some(old) = old {
                    self.unpublish(&old, changes);
                }
            }
        }
    }

    fn unpublish(&mut self, old: &PublishedItem, changes: &mut Changes) {
        self.state.index.totals.subtract(&old.item);
        for layer in old.item.layers().iter().filter(|_| changes.wanted) {
            let kind = old.item.kind();
            changes.removed.push(Change::Remove { layer: *layer, kind, id: old.id.to_string() });
        }
        // another entity may have taken over the id
        let owner = self.state.index.order.get(&old.id).and_then(|key| self.state.entities.get(*key));
        let taken = owner.and_then(|owner| owner.published.as_ref()).is_some_and(|published| published.id == old.id);
        if !taken {
            self.state.index.order.remove(&old.id);
        }
    }

    fn totals(&mut self, before: &ShownTotals, changes: &mut Changes) {
        let after = self.state.shown_totals();
        let mut city = std::mem::take(&mut self.city_patch);
        if *before != after {
            city.append(&mut change::diff(&before.city(), &after.city()));
            changes.totals(Layer::Nodes, change::diff(&before.nodes(), &after.nodes()));
            changes.totals(Layer::Agents, change::diff(&before.agents(), &after.agents()));
        }
        changes.totals(Layer::City, city);
    }
}

#[derive(Default)]
struct Changes {
    /// `true` if changes are to be computed.
    wanted: bool,
    removed: Vec<Change>,
    upserted: Vec<Change>,
    totals: Vec<Change>,
}

impl Changes {
    fn patch(&mut self, id: &str, old: &Item, new: &Item) {
        self.upsert(new.layers(), new.kind(), id, |layer| change::diff(&old.json(layer), &new.json(layer)));
    }

    fn patch_whole(&mut self, id: &str, item: &Item) {
        self.upsert(item.layers(), item.kind(), id, |layer| item.json(layer));
    }

    fn upsert(&mut self, layers: &[Layer], kind: EntityType, id: &str, patch: impl Fn(Layer) -> Map<String, Value>) {
        for layer in layers.iter().copied().filter(|_| self.wanted) {
            let patch = patch(layer);
            if !patch.is_empty() {
                self.upserted.push(Change::Upsert { layer, kind, id: id.to_owned(), patch });
            }
        }
    }

    fn totals(&mut self, layer: Layer, patch: Map<String, Value>) {
        if !patch.is_empty() {
            self.totals.push(Change::Totals { layer, patch });
        }
    }

    /// Removals first, because an id may pass from one entity to another; then by layer, type and id.
    fn in_order(mut self) -> Vec<Change> {
        let order = |change: &Change| match change {
            Change::Upsert { layer, kind, id, .. } | Change::Remove { layer, kind, id } => {
                (*layer, Some(*kind), id.clone())
            }
            Change::Totals { layer, .. } => (*layer, None, String::new()),
        };
        for changes in [&mut self.removed, &mut self.upserted, &mut self.totals] {
            if changes.len() > 1 {
                changes.sort_by_cached_key(order);
            }
        }
        self.removed.append(&mut self.upserted);
        self.removed.append(&mut self.totals);
        self.removed
    }
}
