//! Publishing dead letters to the event log.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{DeadLetterService, now};
use crate::history::HistoryError;
use crate::history::dead_letters::{DeadLetter, StoredDeadLetter};
use crate::model::subject::{OTHER_DEAD_LETTERS, dead_letter};
use crate::model::{Event, Notes};

/// Source of the published events.
const SOURCE: &str = "living-map";

/// Appends one event to the event log.
pub type Publisher = Arc<dyn Fn(Event) -> BoxFuture<'static, Result<(), PublishError>> + Send + Sync>;

/// Why an event was not published, with the log's error message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The log is unavailable; the same event may be accepted later.
    #[error("{0}")]
    Unavailable(String),
    /// The log does not record this subject.
    #[error("{0}")]
    NotRecorded(String),
    /// The event is larger than the log accepts.
    #[error("{0}")]
    TooLarge(String),
    /// The log rejected the event for another reason.
    #[error("{0}")]
    Rejected(String),
}

impl DeadLetterService {
    /// Publishes new dead letters.
    pub(super) async fn publish(&self) -> Result<(), RoundError> {
        for stored in self.store().unpublished(self.inner.config.batch).await? {
            let StoredDeadLetter { letter, .. } = &stored;
            match self.publish_event(event_of(&stored)).await {
                Ok(()) => {}
                Err(error @ PublishError::Unavailable(_)) => return Err(error.into()),
                // it stays in the table, and counts as published so that it is not tried for ever
                Err(error) => {
                    self.inner.journal.record("write", "log", &dead_letter(&letter.subject), &error);
                    tracing::error!(id = %letter.id, subject = letter.subject, %error, "a dead letter cannot be published");
                }
            }
            self.inner.journal.record("process", &letter.processor, &letter.subject, &letter.error);
            tracing::error!(
                id = %letter.id, subject = letter.subject, processor = letter.processor, attempts = letter.attempts,
                error = letter.error, "a message failed all its attempts and is a dead letter",
            );
            let processor = letter.processor.clone();
            if self.store().update(&DeadLetter { published: true, ..letter.clone() }).await? {
                metrics::counter!("living_map_dead_letters_total", "processor" => processor).increment(1);
            }
        }
        Ok(())
    }

    async fn publish_event(&self, event: Event) -> Result<(), PublishError> {
        let publisher = &self.inner.publisher;
        match publisher(event.clone()).await {
            // the subject may belong to a stream that the log does not read
            Err(PublishError::NotRecorded(_)) if event.event_type != OTHER_DEAD_LETTERS => {
                publisher(Event { event_type: OTHER_DEAD_LETTERS.to_owned(), ..event }).await
            }
            // the table has the payload
            Err(PublishError::TooLarge(_)) => publisher(Event { payload: Value::Null, ..event }).await,
            result => result,
        }
    }
}

/// Why a round of publishing ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// The event of a dead letter: the original payload, and the failure beside it. Its id differs from the original one, since with the
/// original's id the log would take it for a duplicate.
fn event_of(stored: &StoredDeadLetter) -> Event {
    let letter = &stored.letter;
    let original = stored.entry().event;
    let origin = &letter.origin;
    let about = json!({
        "id": letter.id,
        "subject": letter.subject,
        "processor": letter.processor,
        "error": letter.error,
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed_at,
        "origin_stream": origin.stream,
        "origin_sequence": origin.seq,
        "origin_cursor": origin.cursor,
        "event_id": original.id,
        "idempotency_key": original.idempotency_key,
        "source": original.source_service,
    });
    Event {
        id: Uuid::new_v5(&letter.id, b"dlq"),
        event_type: dead_letter(&letter.subject),
        timestamp: now(),
        payload: original.payload,
        source_service: Some(SOURCE.to_owned()),
        entity_id: None,
        entity_type: None,
        trace_id: original.trace_id,
        idempotency_key: None,
        envelope: Some(Map::from_iter([("dead_letter".to_owned(), about)])),
        notes: Notes::NONE,
    }
}
