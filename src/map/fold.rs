//! One entry's way through the map: what reducers may do, and how what they did becomes changes.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

use crate::model::change::{self, Change};
use crate::model::{EntityType, Layer, LogEntry};

use super::entity::{Entity, Key};
use super::facts::{self, Field, Source};
use super::names::{Name, NameKind};
use super::totals::Shown;
use super::usage::Counts;
use super::view::{Item, Published, Vitals};
use super::{Index, State};

/// Entities that time alone changes, handled with one entry: a bound, so that no entry pays for many others.
const DUE_PER_ENTRY: usize = 8;

/// How sure an event makes it that its entity exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assertion {
    /// It is mentioned in passing: enough for one nobody has heard of, not for one that was deleted.
    Passing,
    /// It is said outright.
    Outright,
}

/// An entry on its way through the map.
pub(super) struct Fold<'a> {
    pub(super) state: &'a mut State,
    pub(super) seq: u64,
    /// Hour of the log.
    pub(super) hour: i64,
    /// The producer's time, at most the log's: a clock that runs ahead must not make later events look old.
    pub(super) time: DateTime<Utc>,
    /// Entities whose references or existence may have changed.
    pub(super) relink: Vec<Key>,
    /// Entities whose items may have changed.
    pub(super) refresh: Vec<Key>,
    /// Entities of whose items only the vitals may have changed.
    pulses: Vec<Key>,
    /// Names by which planets and DAOs may turn out to be one.
    pub(super) labels: BTreeSet<String>,
    /// Items of entities that were merged into others.
    pub(super) orphans: Vec<Published>,
    /// What the city service says of the layer as a whole.
    pub(super) city_patch: Map<String, Value>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(state: &'a mut State, entry: &LogEntry) -> Self {
        Self {
            seq: entry.cursor.seq,
            hour: hour_of(state.logged_at),
            time: entry.event.timestamp.min(state.logged_at),
            state,
            relink: Vec::new(),
            refresh: Vec::new(),
            pulses: Vec::new(),
            labels: BTreeSet::new(),
            orphans: Vec::new(),
            city_patch: Map::new(),
        }
    }

    /// Lets the log's time pass for the entities that are due.
    pub(super) fn expire(&mut self) {
        for _ in 0..DUE_PER_ENTRY {
            let Some((hour, key)) = self.state.index.deadlines.first().copied() else { break };
            if hour > self.hour {
                break;
            }
            self.state.index.deadlines.pop_first();
            let now = self.hour;
            let Some(entity) = self.state.entities.get_mut(key) else { continue };
            entity.deadline = None;
            if entity.expire(now) {
                self.forget(key);
            } else {
                self.touch(key);
            }
        }
        self.state.counted.expire(self.hour);
    }

    /// The entity of these names: known, or taken in as far as the assertion goes. None for one that was deleted.
    pub(super) fn ensure(&mut self, kind: EntityType, names: &[Name], assertion: Assertion) -> Option<Key> {
        let outright = assertion == Assertion::Outright;
        let known = match names {
            [name] => self.state.index.names.get(&name.text).copied().filter(|key| self.is_alive(*key)),
            _ => None,
        };
        let key = match known {
            Some(key) => key,
            None => self.claim(kind, names, outright)?,
        };
        let (seq, hour) = (self.seq, self.hour);
        let entity = self.state.entities.get_mut(key)?;
        if entity.death.is_some() {
            return None;
        }
        let appears = !entity.visible();
        let returns = entity.offline_since.is_some();
        entity.assert(seq, hour, outright);
        if appears || returns {
            self.touch_whole(key);
        }
        Some(key)
    }

    fn is_alive(&self, key: Key) -> bool {
        self.state.entities.get(key).is_some_and(|entity| entity.death.is_none())
    }

    /// The entity of one name, if it is on the map.
    pub(super) fn known(&self, kind: EntityType, raw: &str) -> Option<Key> {
        let name = Name::read(kind, raw, NameKind::External)?;
        let key = *self.state.index.names.get(&name.text)?;
        self.state.entities.get(key).filter(|entity| entity.visible()).map(|_| key)
    }

    pub(super) fn entity(&mut self, key: Key) -> Option<&mut Entity> {
        self.state.entities.get_mut(key)
    }

    /// The event says what a field is.
    pub(super) fn set(&mut self, key: Key, field: Field, value: Value) {
        let seq = self.seq;
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        let kind = entity.kind;
        if entity.facts.set(kind, field, Source::Event, seq, value) {
            self.changed(key, field);
        }
    }

    /// The event says what fields are, under their wire names; what is no field or of a wrong type is ignored.
    pub(super) fn set_all(&mut self, key: Key, fields: &Map<String, Value>) {
        let Some(kind) = self.state.entities.get(key).map(|entity| entity.kind) else { return };
        for (name, value) in fields {
            if let Some((field, value)) = facts::read(kind, name, value) {
                self.set(key, field, value);
            }
        }
    }

    /// The event mentions what a field may be; it counts while nobody says so outright.
    pub(super) fn hint(&mut self, key: Key, name: &str, value: Option<&Value>) {
        let (Some(value), Some(entity)) = (value, self.state.entities.get_mut(key)) else { return };
        let kind = entity.kind;
        let known = |field| entity.facts.get(field, Source::Hint).is_some();
        if facts::field_named(kind, name).is_none_or(known) {
            return;
        }
        let Some((field, value)) = facts::read(kind, name, value).filter(|(_, value)| !value.is_null()) else { return };
        if entity.facts.set(kind, field, Source::Hint, self.seq, value) {
            self.changed(key, field);
        }
    }

    /// A sign of life. The producers' clocks may run backwards; the last sign stays the latest.
    pub(super) fn active(&mut self, key: Key) {
        let time = self.time;
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.last_active = entity.last_active.max(Some(time));
        self.pulse(key);
    }

    /// Adds to the counts of the last 24 hours.
    pub(super) fn count(&mut self, key: Key, counts: Counts) {
        let hour = self.hour;
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.counter.add(hour, counts);
        self.pulse(key);
    }

    /// An event says that it was deleted.
    pub(super) fn delete(&mut self, key: Key) {
        let (seq, hour) = (self.seq, self.hour);
        let Some(entity) = self.state.entities.get_mut(key) else { return };
        entity.die(seq, hour);
        self.touch_whole(key);
    }

    fn changed(&mut self, key: Key, field: Field) {
        match field {
            Field::MicrodaoId | Field::Orbits => self.relink.push(key),
            Field::Name | Field::Slug => self.rename(key),
            _ => {}
        }
        if field.is_vital() {
            self.pulse(key);
        } else {
            self.touch(key);
        }
    }

    /// Of its item the vitals may have changed.
    pub(super) fn pulse(&mut self, key: Key) {
        self.pulses.push(key);
    }

    /// Its item may have changed.
    pub(super) fn touch(&mut self, key: Key) {
        self.refresh.push(key);
    }

    /// Anything about it may have changed.
    pub(super) fn touch_whole(&mut self, key: Key) {
        self.relink.push(key);
        self.rename(key);
        self.touch(key);
    }

    /// Brings references, items, totals and indexes up to date; the changes, in the order in which clients apply them.
    pub(super) fn settle(mut self, before: Shown) -> Vec<Change> {
        self.link_and_forget();
        let mut changes = Changes::default();
        for published in std::mem::take(&mut self.orphans) {
            self.unpublish(published, &mut changes);
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
        self.totals(before, &mut changes);
        changes.in_order()
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
            for layer in published.item.layers() {
                let patch = change::diff(&before.json(*layer), &now.json(*layer));
                changes.upsert(*layer, published.item.kind(), &published.id, patch);
            }
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
                    self.unpublish(old, changes);
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

    fn unpublish(&mut self, old: Published, changes: &mut Changes) {
        self.state.index.totals.subtract(&old.item);
        for layer in old.item.layers() {
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

    fn totals(&mut self, before: Shown, changes: &mut Changes) {
        let after = self.state.shown_totals();
        let mut city = std::mem::take(&mut self.city_patch);
        if before != after {
            city.append(&mut change::diff(&before.city(), &after.city()));
            changes.totals(Layer::Nodes, change::diff(&before.nodes(), &after.nodes()));
            changes.totals(Layer::Agents, change::diff(&before.agents(), &after.agents()));
        }
        changes.totals(Layer::City, city);
    }
}

/// The hour of the log's time, counted from the unix epoch.
pub(super) const fn hour_of(time: DateTime<Utc>) -> i64 {
    const SECONDS: i64 = 3_600;
    time.timestamp().div_euclid(SECONDS)
}

impl Index {
    pub(super) fn reschedule(&mut self, key: Key, from: Option<i64>, to: Option<i64>) {
        if let Some(hour) = from {
            self.deadlines.remove(&(hour, key));
        }
        if let Some(hour) = to {
            self.deadlines.insert((hour, key));
        }
    }
}

#[derive(Default)]
struct Changes {
    removed: Vec<Change>,
    upserted: Vec<Change>,
    totals: Vec<Change>,
}

impl Changes {
    fn patch(&mut self, id: &str, old: &Item, new: &Item) {
        for layer in new.layers() {
            let patch = change::diff(&old.json(*layer), &new.json(*layer));
            self.upsert(*layer, new.kind(), id, patch);
        }
    }

    fn patch_whole(&mut self, id: &str, item: &Item) {
        for layer in item.layers() {
            self.upsert(*layer, item.kind(), id, item.json(*layer));
        }
    }

    fn upsert(&mut self, layer: Layer, kind: EntityType, id: &str, patch: Map<String, Value>) {
        if !patch.is_empty() {
            self.upserted.push(Change::Upsert { layer, kind, id: id.to_owned(), patch });
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
