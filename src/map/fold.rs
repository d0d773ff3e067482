//! One entry's way through the map: what reducers may do, and how what they did becomes changes.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

use crate::model::{Alert, AlertChange, EntityType, LogEntry};

use super::alerts::Said;
use super::entity::{Entity, Key};
use super::facts::Source;
use super::fields::{self, Field};
use super::names::{Name, NameKind};
use super::usage::Counts;
use super::view::Published;
use super::{Index, SYNC_PREFIX, State};

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
    /// It is what a poll found.
    pub(super) polled: bool,
    /// Hour of the log.
    pub(super) hour: i64,
    /// The producer's time, at most the log's: a clock that runs ahead must not make later events look old.
    pub(super) time: DateTime<Utc>,
    /// Entities whose references or existence may have changed.
    pub(super) relink: Vec<Key>,
    /// Entities whose items may have changed.
    pub(super) refresh: Vec<Key>,
    /// Entities of whose items only the vitals may have changed.
    pub(super) pulses: Vec<Key>,
    /// Names by which planets and DAOs may turn out to be one.
    pub(super) labels: BTreeSet<String>,
    /// Items of entities that were merged into others.
    pub(super) orphans: Vec<Published>,
    /// What the city service says of the layer as a whole.
    pub(super) city_patch: Map<String, Value>,
    /// The alerts that were raised or cleared.
    pub(super) alerts: Vec<AlertChange>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(state: &'a mut State, entry: &LogEntry) -> Self {
        Self {
            seq: entry.cursor.seq,
            polled: entry.event.event_type.starts_with(SYNC_PREFIX),
            hour: hour_of(state.logged_at),
            time: entry.event.timestamp.min(state.logged_at),
            state,
            relink: Vec::new(),
            refresh: Vec::new(),
            pulses: Vec::new(),
            labels: BTreeSet::new(),
            orphans: Vec::new(),
            city_patch: Map::new(),
            alerts: Vec::new(),
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
        let ended = self.state.alerts.expire(self.state.logged_at);
        self.alerts_changed(ended);
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
            if let Some((field, value)) = fields::read(kind, name, value) {
                self.set(key, field, value);
            }
        }
    }

    /// The event mentions what a field may be; it counts while nobody says so outright.
    pub(super) fn hint(&mut self, key: Key, name: &str, value: Option<&Value>) {
        let (Some(value), Some(entity)) = (value, self.state.entities.get_mut(key)) else { return };
        let kind = entity.kind;
        let known = |field| entity.facts.get(kind, field, Source::Hint).is_some();
        if fields::field_named(kind, name).is_none_or(known) {
            return;
        }
        let Some((field, value)) = fields::read(kind, name, value).filter(|(_, value)| !value.is_null()) else {
            return;
        };
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

    /// Something is said of alerts.
    pub(super) fn hear_of_alerts(&mut self, said: Said) {
        let changes = self.state.alerts.hear(said, self.state.logged_at);
        self.alerts_changed(changes);
    }

    fn alerts_changed(&mut self, changes: Vec<AlertChange>) {
        if !changes.is_empty() {
            self.alerts.extend(changes);
            let list: Vec<&Alert> = self.state.alerts.list().collect();
            self.city_patch.insert("alerts".to_owned(), json!(list));
        }
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
