//! Which destinations have been notified of which alerts. Pure; saved together with its position in the log.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::alerts::Destination;
use crate::history::outbox::OutboxMessage;
use crate::map::AlertProjection;
use crate::model::alert::{self, Alert, AlertState};
use crate::model::{Cursor, LogEntry, time};

/// Namespace of the message ids (UUID v5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6c69_7669_6e67_4d61_8000_7765_6268_6f6f);

/// The alerts at a position of the log, and the destinations notified of each.
///
/// Stored as JSON, and read by replicas of other versions: field names do not change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct NotificationState {
    #[serde(rename = "book")]
    alerts: AlertProjection,
    /// By alert id.
    #[serde(rename = "told")]
    notified: BTreeMap<String, NotifiedAlert>,
}

/// An alert with at least one notified destination, past or present.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NotifiedAlert {
    alert: Alert,
    destinations: BTreeSet<String>,
}

/// The reason for a notification, and its time.
pub(super) struct Trigger<'a> {
    /// Part of the message id: one trigger notifies once.
    pub name: &'a str,
    /// The position in the log.
    pub cursor: Cursor,
    pub at: DateTime<Utc>,
}

impl NotificationState {
    /// Replaces the alerts by those of another position in the log; keeps the notified destinations.
    pub fn moved_to(self, alerts: AlertProjection) -> Self {
        Self { alerts, notified: self.notified }
    }

    /// Applies an entry and returns the messages to send. None when the entry changed nothing.
    pub fn apply(&mut self, entry: &LogEntry, destinations: &[Destination]) -> Option<Vec<OutboxMessage>> {
        let changes = self.alerts.apply(entry);
        if changes.is_empty() {
            return None;
        }
        let (name, mut messages) = (entry.event.id.to_string(), Vec::new());
        let trigger = Trigger { name: &name, cursor: entry.cursor, at: entry.logged_at };
        for change in changes {
            match change.state {
                AlertState::Raised => self.raised(&change.alert, destinations, &trigger, &mut messages),
                AlertState::Cleared => self.cleared(&change.alert, destinations, &trigger, &mut messages),
            }
        }
        Some(messages)
    }

    /// The messages that are missing: for a start at another position, and for changed destinations.
    pub fn reconcile(&mut self, destinations: &[Destination], trigger: &Trigger<'_>) -> Vec<OutboxMessage> {
        let mut messages = Vec::new();
        for notified in self.notified.values_mut() {
            notified.destinations.retain(|name| destinations.iter().any(|destination| destination.name == *name));
        }
        let active: Vec<Alert> = self.alerts.alerts().cloned().collect();
        let is_over = |notified: &&NotifiedAlert| active.iter().all(|alert| alert.id != notified.alert.id);
        let over: Vec<Alert> = self.notified.values().filter(is_over).map(|notified| notified.alert.clone()).collect();
        for alert in &over {
            self.cleared(alert, destinations, trigger, &mut messages);
        }
        for alert in &active {
            self.raised(alert, destinations, trigger, &mut messages);
        }
        messages
    }

    /// A message could not be queued: its destination counts as not notified.
    pub fn forget(&mut self, message: &OutboxMessage) {
        if let Some(notified) = self.notified.get_mut(&message.alert_id) {
            notified.destinations.remove(&message.destination);
        }
    }

    /// An alert was raised or changed: notifies the destinations that have not been notified, unless it is silenced.
    fn raised(
        &mut self,
        alert: &Alert,
        destinations: &[Destination],
        trigger: &Trigger<'_>,
        messages: &mut Vec<OutboxMessage>,
    ) {
        let known = self.notified.get(&alert.id);
        let new: Vec<&Destination> = destinations
            .iter()
            .filter(|destination| alert.silenced_until.is_none() && destination.wants(alert))
            .filter(|destination| known.is_none_or(|notified| !notified.destinations.contains(&destination.name)))
            .collect();
        if let Some(notified) = self.notified.get_mut(&alert.id) {
            notified.alert = alert.clone();
        } else if !new.is_empty() {
            let notified = NotifiedAlert { alert: alert.clone(), destinations: BTreeSet::new() };
            self.notified.insert(alert.id.clone(), notified);
        }
        if let Some(notified) = self.notified.get_mut(&alert.id) {
            notified.destinations.extend(new.iter().map(|destination| destination.name.clone()));
        }
        messages.extend(new.iter().map(|destination| message(&destination.name, alert, alert::RAISED, trigger)));
    }

    /// An alert was cleared: notifies the destinations that were notified of it, even if it is silenced.
    fn cleared(
        &mut self,
        alert: &Alert,
        destinations: &[Destination],
        trigger: &Trigger<'_>,
        messages: &mut Vec<OutboxMessage>,
    ) {
        let Some(notified) = self.notified.remove(&alert.id) else { return };
        let recipients = destinations.iter().filter(|destination| notified.destinations.contains(&destination.name));
        messages.extend(recipients.map(|destination| message(&destination.name, alert, alert::CLEARED, trigger)));
    }
}

fn message(destination: &str, alert: &Alert, event_type: &str, trigger: &Trigger<'_>) -> OutboxMessage {
    let name = format!("{destination}\n{}\n{event_type}\n{}", alert.id, trigger.name);
    let mut data = json!(alert);
    data["cursor"] = json!(trigger.cursor);
    let body = json!({"type": event_type, "timestamp": time::text(trigger.at), "data": data});
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
        let mut state = NotificationState::default();
        let payload = json!({"alert_id": "disk", "title": "disk full", "severity": "critical"});
        let raised = entry(1, alert::RAISED, &payload);
        assert_eq!(state.apply(&raised, &[destination()]).unwrap().len(), 1);
        assert_eq!(serde_json::to_string(&state).unwrap(), STORED);

        let mut stored: NotificationState = serde_json::from_str(STORED).unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), STORED);
        assert!(stored.apply(&raised, &[destination()]).is_none(), "the same event again");
        let cleared = entry(2, alert::CLEARED, &json!({"alert_id": "disk"}));
        let messages = stored.apply(&cleared, &[destination()]).unwrap();
        let id = messages[0].id.to_string();
        assert_eq!((messages.len(), id.as_str()), (1, "3da26341-6cb7-52ac-ab5f-05a97940a647"));
    }
}
