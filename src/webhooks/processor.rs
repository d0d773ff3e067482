//! Dead letters of messages that failed all attempts; replaying one sends its message again.

use async_trait::async_trait;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::client::WebhookClient;
use crate::alerts::RulesStatus;
use crate::dead_letters::{FailedMessage, ProcessError, Processor};
use crate::history::dead_letters::StoredDeadLetter;
use crate::history::outbox::ClaimedMessage;
use crate::model::{Cursor, Epoch, Event, LogEntry, Notes, json as normal};

/// Name of this processor in dead letters.
pub const PROCESSOR: &str = "webhook";

/// Subject of these dead letters; they are published as `living_map.webhook.dlq`.
const SUBJECT: &str = "living_map.webhook";

/// The dead letter for a message.
pub(super) fn failure(claimed: &ClaimedMessage, error: &str) -> FailedMessage {
    let message = &claimed.message;
    // a text that is not JSON, which only a damaged database can have, is kept as it is
    let body = normal::parse_strict(message.body.as_bytes()).unwrap_or_else(|_| Value::String(message.body.clone()));
    let now = Utc::now();
    let event = Event {
        id: message.id,
        event_type: SUBJECT.to_owned(),
        timestamp: now,
        payload: json!({"destination": message.destination, "webhook_id": message.id, "body": body}),
        source_service: Some("living-map".to_owned()),
        entity_id: None,
        entity_type: None,
        trace_id: None,
        idempotency_key: None,
        envelope: None,
        notes: Notes::NONE,
    };
    let entry = LogEntry { cursor: Cursor { epoch: Epoch(0), seq: 0 }, logged_at: now, event, raw: None };
    let failed = FailedMessage::of_entry(PROCESSOR, "webhooks", &entry, error.to_owned());
    FailedMessage { attempts: claimed.attempt, ..failed }
}

/// Sends messages of dead letters again, with the same `webhook-id`.
pub struct WebhookProcessor {
    rules: watch::Receiver<RulesStatus>,
    client: WebhookClient,
}

impl WebhookProcessor {
    /// A processor for the destinations of `rules`.
    #[must_use]
    pub const fn new(rules: watch::Receiver<RulesStatus>, client: WebhookClient) -> Self {
        Self { rules, client }
    }
}

#[async_trait]
impl Processor for WebhookProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, stored: &StoredDeadLetter) -> Result<(), ProcessError> {
        let payload = stored.entry().event.payload;
        let name = payload["destination"].as_str().unwrap_or_default();
        let id = payload["webhook_id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let id = id.ok_or_else(|| ProcessError::Failed("the dead letter has no webhook_id".to_owned()))?;
        let destinations = self.rules.borrow().destinations.clone();
        let destination = destinations.iter().find(|destination| destination.name == name);
        let destination =
            destination.ok_or_else(|| ProcessError::Failed(format!("webhook '{name}' is not configured")))?;
        let body = match &payload["body"] {
            body @ Value::Object(_) => body.to_string(),
            _ => return Err(ProcessError::Failed("the body of the message is damaged".to_owned())),
        };
        let sent = self.client.send(destination, id, &body).await;
        sent.map_err(|error| ProcessError::Failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use crate::history::outbox::OutboxMessage;

    use super::*;

    #[test]
    fn a_damaged_message_is_not_replaced_by_null() {
        let dead = |body: &str| {
            let message = OutboxMessage {
                id: Uuid::nil(),
                destination: "ops".to_owned(),
                alert_id: "disk".to_owned(),
                body: body.to_owned(),
            };
            let failed = failure(&ClaimedMessage { message, attempt: 3 }, "410");
            serde_json::from_slice::<Value>(&failed.body).unwrap()["payload"]["body"].clone()
        };
        assert_eq!(dead(r#"{"type":"living_map.alert.raised"}"#), json!({"type": "living_map.alert.raised"}));
        assert_eq!(dead("{\"type\":"), json!("{\"type\":"));
    }
}
