//! A message that was given up is a dead letter, and can be sent again from there.

use async_trait::async_trait;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::client::Client;
use crate::alerts::RulesStatus;
use crate::history::dead_letters::{Failure, ProcessError, Processor, StoredDeadLetter};
use crate::history::outbox::Claimed;
use crate::model::{Cursor, Epoch, Event, LogEntry};

/// Its name among those who process.
pub const PROCESSOR: &str = "webhook";

/// The subject of such letters: on the bus they are `living_map.webhook.dlq`.
const SUBJECT: &str = "living_map.webhook";

/// The letter of a message.
pub(super) fn failure(claimed: &Claimed, error: &str) -> Failure {
    let message = &claimed.message;
    let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
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
    };
    let entry = LogEntry { cursor: Cursor { epoch: Epoch(0), seq: 0 }, logged_at: now, event, raw: None };
    let failure = Failure::of_entry(PROCESSOR, "webhooks", &entry, error.to_owned());
    Failure { attempts: claimed.attempt, ..failure }
}

/// Sends them again, under the same `webhook-id`.
pub struct WebhookProcessor {
    /// Where they go.
    pub rules: watch::Receiver<RulesStatus>,
    /// Who sends them.
    pub client: Client,
}

#[async_trait]
impl Processor for WebhookProcessor {
    fn name(&self) -> &'static str {
        PROCESSOR
    }

    async fn process(&self, kept: &StoredDeadLetter) -> Result<(), ProcessError> {
        let payload = kept.entry().event.payload;
        let name = payload["destination"].as_str().unwrap_or_default();
        let id = payload["webhook_id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let id = id.ok_or_else(|| ProcessError::Failed("it names no message".to_owned()))?;
        let destinations = self.rules.borrow().destinations.clone();
        let destination = destinations.iter().find(|destination| destination.name == name);
        let destination =
            destination.ok_or_else(|| ProcessError::Failed(format!("there is no webhook '{name}' any more")))?;
        let sent = self.client.send(destination, id, &payload["body"].to_string()).await;
        sent.map_err(|rejection| ProcessError::Failed(rejection.error))
    }
}
