//! Alerts and silences folded alone, with the same result as in the map.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{Alert, AlertChange, LogEntry};

use super::state::State;
use super::state::alerts::Alerts;
use super::{apply, decode};

/// Number of events about alerts that are remembered to detect duplicates.
const MAX_KNOWN: usize = 256;

/// The active alerts and silences at a position of the log, for a consumer with a position of its own. It can be saved,
/// and folds on after loading. Saved as JSON in the webhooks' state: its fields keep their names. Bounded like the
/// map's part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AlertProjection {
    alerts: Alerts,
    logged_at: DateTime<Utc>,
    /// The latest events about alerts, to ignore duplicates as the map does.
    known: VecDeque<Uuid>,
}

impl AlertProjection {
    /// The alerts of a map, at its position.
    #[must_use]
    pub fn of(map: &State) -> Self {
        Self { alerts: map.alerts.clone(), logged_at: map.logged_at, known: VecDeque::new() }
    }

    /// Folds the next entry; returns the alerts that it, or the passage of time, raised, changed or cleared.
    pub fn apply(&mut self, entry: &LogEntry) -> Vec<AlertChange> {
        self.logged_at = self.logged_at.max(entry.logged_at);
        let mut changes = self.alerts.expire(self.logged_at);
        let event = &entry.event;
        if let Some(operation) = decode::alert_operation(event, event.timestamp.min(self.logged_at))
            && !self.known.contains(&event.id)
        {
            if self.known.len() >= MAX_KNOWN {
                self.known.pop_front();
            }
            self.known.push_back(event.id);
            changes.extend(apply::alerts::apply(&mut self.alerts, operation, self.logged_at));
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
    fn a_duplicate_raises_nothing_also_after_a_restart() {
        let mut projection = AlertProjection::default();
        let raised = entry(1, "living_map.alert.raised", "disk");
        assert_eq!(projection.apply(&raised).len(), 1);
        assert_eq!(projection.apply(&entry(2, "living_map.alert.cleared", "disk")).len(), 1);
        let saved = serde_json::to_string(&projection).unwrap();
        let mut projection: AlertProjection = serde_json::from_str(&saved).unwrap();
        assert_eq!(projection.apply(&raised), []);
        assert_eq!(projection.alerts().count(), 0);
    }
}
