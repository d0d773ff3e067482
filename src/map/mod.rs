//! The map: a pure fold over the event log, without I/O and without a clock.
//!
//! An entry passes through stages, each of which uses only those before it:
//!
//! 1. `decode` turns the event into assertions (names, facts, references, operations) without access to the state.
//! 2. `identity` finds or adds the entity behind the names, merges entities and connects references.
//! 3. `apply` changes the state: facts with their origin, counters, runs, alerts, lessons, polls, expiry.
//! 4. `view` derives the items that clients see from the state.
//! 5. `emit` compares them with the items published before, and emits the changes.
//!
//! `names`, `fields`, `usage`, `city` and `status` define the values that the stages exchange, `state` the data that
//! they change, and `context` the working set of one entry. Beside the stages, `poll` turns an upstream's answer into
//! events, `persist` saves and loads states, and `alert_projection` folds the alerts alone.

mod alert_projection;
mod apply;
mod city;
mod context;
mod decode;
mod emit;
mod fields;
mod identity;
mod names;
mod persist;
mod poll;
mod state;
mod status;
mod usage;
mod view;

#[cfg(test)]
mod tests;

use crate::model::{AlertChange, Change, LogEntry};

use context::FoldContext;
use state::totals::ShownTotals;

pub use alert_projection::AlertProjection;
pub use emit::EncodedLayers;
pub use persist::{READABLE_VERSIONS, STATE_VERSION};
pub use poll::PollMark;
pub use state::alerts::MAX_SILENCES;
pub use state::{DEFAULT_MAX_ENTITIES, MapOptions, State};
pub use view::{
    ChangedEntity, Comparison, EntityDetail, EntityFilter, EntityPage, EntitySummary, FieldChange, Relation,
};

/// Prefix of the subjects of polled answers.
const SYNC_PREFIX: &str = "living_map.sync.";

/// The effects of one entry on the map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The changes, in the order in which a client applies them.
    pub changes: Vec<Change>,
    /// The alerts that were raised or cleared, in this order. `changes` contains their effects on the city layer.
    pub alerts: Vec<AlertChange>,
    /// The event was folded before: it changes nothing and is not sent to clients.
    pub duplicate: bool,
    /// Canonical id of the event's entity, if the map knows it.
    pub entity_id: Option<String>,
}

impl State {
    /// Folds the next entry. Never fails: an event that cannot be decoded changes nothing.
    pub fn apply(&mut self, entry: &LogEntry) -> Outcome {
        let before = self.shown_totals();
        let folded = self.fold(entry, Some(&before));
        let duplicate = folded.is_none();
        let (changes, alerts) = folded.unwrap_or_default();
        Outcome { changes, alerts, duplicate, entity_id: self.entity_of(entry) }
    }

    /// Like [`State::apply`], without computing changes.
    pub fn advance(&mut self, entry: &LogEntry) {
        self.fold(entry, None);
    }

    /// None when the event was folded before. Without the totals `before`, changes are not computed.
    fn fold(&mut self, entry: &LogEntry, before: Option<&ShownTotals>) -> Option<(Vec<Change>, Vec<AlertChange>)> {
        self.cursor = entry.cursor;
        self.logged_at = self.logged_at.max(entry.logged_at);
        if !self.seen.insert(entry.event.id) {
            return None;
        }
        let polled = entry.event.event_type.starts_with(SYNC_PREFIX);
        let mut fold = FoldContext::new(self, entry, polled);
        fold.expire();
        let decoded = decode::event(&entry.event, fold.time);
        let answer_complete = fold.apply(decoded);
        fold.match_planets(answer_complete);
        fold.link_and_forget();
        Some(fold.finalize_changes(before))
    }

    fn entity_of(&self, entry: &LogEntry) -> Option<String> {
        let (kind, id) = (entry.event.entity_type?, entry.event.entity_id.as_deref()?);
        let key = self.index.names.get(names::prefixed(kind, id)?.as_str())?;
        self.entities.get(*key).map(|entity| entity.id.to_string())
    }
}
