//! The alerts alone, folded exactly as the map folds them.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alerts::Alerts;
use super::{State, reduce};
use crate::model::{Alert, AlertChange, LogEntry};

/// Events about alerts that are known when they come again.
const KNOWN: usize = 256;

/// The active alerts and the silences at a position of the log, for whoever follows the log at a pace of its own and keeps
/// its place: it can be saved, and folding goes on from there. Bounded, as the map's part is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AlertBook {
    alerts: Alerts,
    logged_at: DateTime<Utc>,
    /// The latest events about alerts: the map passes over what comes twice, and so does this.
    known: VecDeque<Uuid>,
}

impl AlertBook {
    /// That of a map, at its position.
    #[must_use]
    pub fn of(map: &State) -> Self {
        Self { alerts: map.alerts.clone(), logged_at: map.logged_at, known: VecDeque::new() }
    }

    /// Folds the next entry; the alerts that were raised, changed or cleared by it, or by the time that passed.
    pub fn apply(&mut self, entry: &LogEntry) -> Vec<AlertChange> {
        self.logged_at = self.logged_at.max(entry.logged_at);
        let mut changes = self.alerts.expire(self.logged_at);
        let event = &entry.event;
        if let Some(said) = reduce::of_alerts(event, event.timestamp.min(self.logged_at))
            && !self.known.contains(&event.id)
        {
            if self.known.len() >= KNOWN {
                self.known.pop_front();
            }
            self.known.push_back(event.id);
            changes.extend(self.alerts.hear(said, self.logged_at));
        }
        changes
    }

    /// The active alerts, ordered by id.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.list()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::envelope::{self, Message};
    use crate::model::{Cursor, Epoch};

    fn entry(seq: u64, subject: &str, id: &str) -> LogEntry {
        let body = json!({"event_id": Uuid::from_u128(seq.into()), "payload": {"alert_id": id}}).to_string();
        let cursor = Cursor { epoch: Epoch(1), seq };
        let logged_at = DateTime::UNIX_EPOCH;
        envelope::read(&Message { subject, headers: &[], body: body.as_bytes(), cursor, logged_at })
    }

    #[test]
    fn an_event_that_comes_twice_raises_nothing_again_also_after_a_restart() {
        let mut book = AlertBook::default();
        let raised = entry(1, "living_map.alert.raised", "disk");
        assert_eq!(book.apply(&raised).len(), 1);
        assert_eq!(book.apply(&entry(2, "living_map.alert.cleared", "disk")).len(), 1);
        let saved = serde_json::to_string(&book).unwrap();
        let mut book: AlertBook = serde_json::from_str(&saved).unwrap();
        assert_eq!(book.apply(&raised), []);
        assert_eq!(book.alerts().count(), 0);
    }
}
