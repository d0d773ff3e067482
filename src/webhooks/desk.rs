//! Who is to be told what: pure, and saved with its place in the log.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::alerts::Destination;
use crate::history::outbox::OutboxMessage;
use crate::map::AlertBook;
use crate::model::alert::{self, Alert, AlertState};
use crate::model::{Cursor, LogEntry, time};

/// The namespace of the messages' names.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_7765_6268_6f6f);

/// The alerts at a place of the log, and who was told of which.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Desk {
    book: AlertBook,
    /// By alert.
    told: BTreeMap<String, Told>,
}

/// An alert of which somebody was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Told {
    alert: Alert,
    destinations: BTreeSet<String>,
}

/// Why and when something is told.
pub(super) struct Cause<'a> {
    /// Names it: the same cause is told once.
    pub name: &'a str,
    /// The place in the log.
    pub cursor: Cursor,
    pub at: DateTime<Utc>,
}

impl<'a> Cause<'a> {
    fn of(entry: &LogEntry, name: &'a str) -> Self {
        Self { name, cursor: entry.cursor, at: entry.logged_at }
    }
}

impl Desk {
    /// The same with the alerts as they are elsewhere in the log; who was told is known still.
    pub fn moved(self, book: AlertBook) -> Self {
        Self { book, told: self.told }
    }

    /// Folds an entry; what is to be told by it. None when it changed nothing.
    pub fn take(&mut self, entry: &LogEntry, destinations: &[Destination]) -> Option<Vec<OutboxMessage>> {
        let changes = self.book.apply(entry);
        if changes.is_empty() {
            return None;
        }
        let (name, mut messages) = (entry.event.id.to_string(), Vec::new());
        let cause = Cause::of(entry, &name);
        for change in changes {
            match change.state {
                AlertState::Raised => self.raised(&change.alert, destinations, &cause, &mut messages),
                AlertState::Cleared => self.cleared(&change.alert, destinations, &cause, &mut messages),
            }
        }
        Some(messages)
    }

    /// Compares what was told with what is: for a start in the middle, and for other destinations than before.
    pub fn compare(&mut self, destinations: &[Destination], cause: &Cause<'_>) -> Vec<OutboxMessage> {
        let mut messages = Vec::new();
        for told in self.told.values_mut() {
            told.destinations.retain(|name| destinations.iter().any(|destination| destination.name == *name));
        }
        let active: Vec<Alert> = self.book.alerts().cloned().collect();
        let over = |told: &&Told| active.iter().all(|alert| alert.id != told.alert.id);
        let over: Vec<Alert> = self.told.values().filter(over).map(|told| told.alert.clone()).collect();
        for alert in &over {
            self.cleared(alert, destinations, cause, &mut messages);
        }
        for alert in &active {
            self.raised(alert, destinations, cause, &mut messages);
        }
        messages
    }

    /// A message cannot be taken in: who was to hear of it has not heard.
    pub fn untold(&mut self, message: &OutboxMessage) {
        if let Some(told) = self.told.get_mut(&message.alert_id) {
            told.destinations.remove(&message.destination);
        }
    }

    /// An alert is there, new or not as it was: those who were not told are, unless it is silenced.
    fn raised(
        &mut self,
        alert: &Alert,
        destinations: &[Destination],
        cause: &Cause<'_>,
        messages: &mut Vec<OutboxMessage>,
    ) {
        let is_told = |told: &Told, name: &String| told.destinations.contains(name);
        let known = self.told.get(&alert.id);
        let new: Vec<&Destination> = destinations
            .iter()
            .filter(|destination| alert.silenced_until.is_none() && destination.wants(alert))
            .filter(|destination| known.is_none_or(|told| !is_told(told, &destination.name)))
            .collect();
        if let Some(told) = self.told.get_mut(&alert.id) {
            told.alert = alert.clone();
        } else if !new.is_empty() {
            self.told.insert(alert.id.clone(), Told { alert: alert.clone(), destinations: BTreeSet::new() });
        }
        if let Some(told) = self.told.get_mut(&alert.id) {
            told.destinations.extend(new.iter().map(|destination| destination.name.clone()));
        }
        messages.extend(new.iter().map(|destination| message(&destination.name, alert, alert::RAISED, cause)));
    }

    /// An alert is over: those who were told of it are told so, also when it is silenced.
    fn cleared(
        &mut self,
        alert: &Alert,
        destinations: &[Destination],
        cause: &Cause<'_>,
        messages: &mut Vec<OutboxMessage>,
    ) {
        let Some(told) = self.told.remove(&alert.id) else { return };
        let there = destinations.iter().filter(|destination| told.destinations.contains(&destination.name));
        messages.extend(there.map(|destination| message(&destination.name, alert, alert::CLEARED, cause)));
    }
}

fn message(destination: &str, alert: &Alert, event_type: &str, cause: &Cause<'_>) -> OutboxMessage {
    let name = format!("{destination}\n{}\n{event_type}\n{}", alert.id, cause.name);
    let mut data = json!(alert);
    data["cursor"] = json!(cause.cursor);
    let body = json!({"type": event_type, "timestamp": time::text(cause.at), "data": data});
    OutboxMessage {
        id: Uuid::new_v5(&NAMESPACE, name.as_bytes()),
        destination: destination.to_owned(),
        alert_id: alert.id.clone(),
        body: body.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::Value;

    use super::*;
    use crate::model::Epoch;
    use crate::model::alert::AlertSeverity;
    use crate::model::envelope::{self, Message};

    /// The state as it is stored in databases after an alert was raised.
    const STORED: &str = concat!(
        r#"{"book":{"alerts":{"active":{"disk":{"alert":{"id":"disk","severity":"critical","title":"disk full","#,
        r#""message":null,"source":"living_map","entity_id":null,"raised_at":"2027-01-15T08:00:00Z","#,
        r#""rule":null,"group":null,"acknowledged_by":null,"acknowledged_at":null,"note":null,"#,
        r#""silenced_until":null},"ends_at":null}},"silences":{},"next_end":null},"#,
        r#""logged_at":"2027-01-15T08:00:00Z","known":["00000000-0000-0000-0000-000000000001"]},"told":{"#,
        r#""disk":{"alert":{"id":"disk","severity":"critical","title":"disk full","message":null,"#,
        r#""source":"living_map","entity_id":null,"raised_at":"2027-01-15T08:00:00Z","rule":null,"group":null,"#,
        r#""acknowledged_by":null,"acknowledged_at":null,"note":null,"silenced_until":null},"destinations":["#,
        r#""ops"]}}}"#,
    );

    fn entry(seq: u64, subject: &str, payload: &Value) -> LogEntry {
        let body = json!({"event_id": Uuid::from_u128(seq.into()), "payload": payload}).to_string();
        let cursor = Cursor { epoch: Epoch(1), seq };
        let logged_at = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_800_000_000);
        envelope::read(&Message { subject, headers: &[], body: body.as_bytes(), cursor, logged_at })
    }

    fn destination() -> Destination {
        Destination {
            name: "ops".to_owned(),
            url: "https://hooks.example.org/in".parse().unwrap(),
            keys: Vec::new(),
            severity: AlertSeverity::Info,
            rules: Vec::new(),
        }
    }

    #[test]
    fn stored_state_is_read_and_written_with_the_same_bytes() {
        let mut state = Desk::default();
        let payload = json!({"alert_id": "disk", "title": "disk full", "severity": "critical"});
        let raised = entry(1, alert::RAISED, &payload);
        assert_eq!(state.take(&raised, &[destination()]).unwrap().len(), 1);
        assert_eq!(serde_json::to_string(&state).unwrap(), STORED);

        let mut stored: Desk = serde_json::from_str(STORED).unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), STORED);
        assert!(stored.take(&raised, &[destination()]).is_none(), "the same event again");
        let cleared = entry(2, alert::CLEARED, &json!({"alert_id": "disk"}));
        let messages = stored.take(&cleared, &[destination()]).unwrap();
        let id = messages[0].id.to_string();
        assert_eq!((messages.len(), id.as_str()), (1, "3da26341-6cb7-52ac-ab5f-05a97940a647"));
    }
}
