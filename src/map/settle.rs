//! How what an entry did to the map becomes changes for clients.

use serde_json::{Map, Value};

use crate::model::change::{self, Change};
use crate::model::{AlertChange, EntityType, Layer};

use super::State;
use super::entity::{Entity, Key};
use super::fold::Fold;
use super::totals::Shown;
use super::view::{Item, Published, Vitals};

impl Fold<'_> {
    /// Brings references, items, totals and indexes up to date; the changes, in the order in which clients apply them, and
    /// those of alerts. Without the totals `before`, nobody wants to know the changes, and they are not made out.
    pub(super) fn settle(mut self, before: Option<&Shown>) -> (Vec<Change>, Vec<AlertChange>) {
        self.link_and_forget();
        let mut changes = Changes { wanted: before.is_some(), ..Changes::default() };
        for published in std::mem::take(&mut self.orphans) {
            self.unpublish(&published, &mut changes);
        }
        self.pulses.sort_unstable();
        self.pulses.dedup();
        for key in std::mem::take(&mut self.pulses) {
            if self.refresh.binary_search(&key).is_err() && !self.publish_vitals(key, &mut changes) {
                self.refresh.push(key);
            }
        }
        for key in std::mem::take(&mut self.refresh) {
            self.publish(key, &mut changes);
        }
        if let Some(before) = before {
            self.totals(before, &mut changes);
        }
        (changes.in_order(), std::mem::take(&mut self.alerts))
    }

    /// Publishes an entity's vitals; false when it needs more than that.
    fn publish_vitals(&mut self, key: Key, changes: &mut Changes) -> bool {
        let State { entities, index, .. } = &mut *self.state;
        let Some(entity) = entities.get_mut(key) else { return true };
        let (now, due) = (Vitals::of(entity), entity.due());
        let Some((published, now)) = entity.published.as_mut().zip(now) else { return false };
        if due != entity.deadline {
            index.reschedule(key, entity.deadline, due);
            entity.deadline = due;
        }
        if let Some(before) = published.item.vitals().filter(|before| *before != now) {
            index.totals.subtract(&published.item);
            let (kind, id) = (published.item.kind(), &published.id);
            changes
                .upsert(published.item.layers(), kind, id, |layer| change::diff(&before.json(layer), &now.json(layer)));
            published.set_vitals(now);
            index.totals.add(&published.item);
        }
        true
    }

    fn publish(&mut self, key: Key, changes: &mut Changes) {
        let Some(entity) = self.state.entities.get(key) else { return };
        let item = if entity.visible() { self.state.view(entity) } else { None };
        let id = entity.id.clone();
        let due = entity.due();
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
                    entity.published = Some(Published::new(id, item));
                }
            }
            (old, item) => {
                if let Some(item) = item {
                    index.totals.add(&item);
                    index.order.insert(id.clone(), key);
                    changes.patch_whole(&id, &item);
                    entity.published = Some(Published::new(id, item));
                }
                if let Some(old) = old {
                    self.unpublish(&old, changes);
                }
            }
        }
    }

    /// Connects what can be connected and forgets what nobody vouches for any more; one may cause the other.
    fn link_and_forget(&mut self) {
        loop {
            self.link_all();
            self.refresh.sort_unstable();
            self.refresh.dedup();
            let forgettable = |key: &Key| self.state.entities.get(*key).is_some_and(Entity::forgettable);
            let forgotten: Vec<Key> = self.refresh.iter().copied().filter(forgettable).collect();
            for key in &forgotten {
                self.forget(*key);
            }
            if forgotten.is_empty() && self.relink.is_empty() {
                break;
            }
        }
    }

    fn unpublish(&mut self, old: &Published, changes: &mut Changes) {
        self.state.index.totals.subtract(&old.item);
        for layer in old.item.layers().iter().filter(|_| changes.wanted) {
            let kind = old.item.kind();
            changes.removed.push(Change::Remove { layer: *layer, kind, id: old.id.to_string() });
        }
        // another entity may have taken over the id
        let holder = self.state.index.order.get(&old.id).and_then(|key| self.state.entities.get(*key));
        let taken = holder.and_then(|holder| holder.published.as_ref()).is_some_and(|published| published.id == old.id);
        if !taken {
            self.state.index.order.remove(&old.id);
        }
    }

    fn totals(&mut self, before: &Shown, changes: &mut Changes) {
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
    /// Whether anybody wants to know.
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

    /// Removals first, since an id may pass from one entity to another; then by layer, type and id.
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
