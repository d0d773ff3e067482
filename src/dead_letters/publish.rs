//! Dead letters on the bus.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{DeadLetterService, now};
use crate::history::HistoryError;
use crate::history::dead_letters::{DeadLetter, StoredDeadLetter};
use crate::log::LogError;
use crate::model::subject::{OTHER_DEAD_LETTERS, dead_letter};
use crate::model::{Event, NewEvent};

/// Who sends them.
const SOURCE: &str = "living-map";

impl DeadLetterService {
    /// Puts letters on the bus that have died; how many.
    pub(super) async fn publish(&self) -> Result<usize, PublishError> {
        let unpublished = self.store().unpublished(self.inner.config.batch).await?;
        let count = unpublished.len();
        for kept in unpublished {
            let StoredDeadLetter { letter, .. } = &kept;
            match self.append(event_of(&kept)).await {
                Ok(()) => {}
                Err(error @ LogError::Unavailable(_)) => return Err(error.into()),
                // it stays in the table, and that it did not get onto the bus is known
                Err(error) => {
                    self.inner.journal.record("write", "log", &dead_letter(&letter.subject), &error);
                    tracing::error!(id = %letter.id, subject = letter.subject, %error, "a dead letter cannot be put on the bus");
                }
            }
            self.inner.journal.record("process", &letter.processor, &letter.subject, &letter.error);
            tracing::error!(
                id = %letter.id, subject = letter.subject, processor = letter.processor, attempts = letter.attempts,
                error = letter.error, "a message could not be processed; it is a dead letter",
            );
            let processor = letter.processor.clone();
            if self.store().change(&DeadLetter { published: true, ..letter.clone() }).await? {
                metrics::counter!("living_map_dead_letters_total", "processor" => processor).increment(1);
            }
        }
        Ok(count)
    }

    async fn append(&self, event: Event) -> Result<(), LogError> {
        match self.append_one(event.clone()).await {
            // a stream may have this subject that is not the log's
            Err(LogError::NotRecorded(_)) if event.event_type != OTHER_DEAD_LETTERS => {
                self.append_one(Event { event_type: OTHER_DEAD_LETTERS.to_owned(), ..event }).await
            }
            // the whole of it is in the table
            Err(LogError::TooLarge { .. }) => self.append_one(Event { payload: Value::Null, ..event }).await,
            result => result,
        }
    }

    pub(super) async fn append_one(&self, event: Event) -> Result<(), LogError> {
        let result = self.inner.log.append(vec![NewEvent::from(event)]).await.pop();
        result.unwrap_or_else(|| Err(LogError::Unavailable("the log gave no answer".to_owned()))).map(|_| ())
    }
}

/// What was not put on the bus, and why.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The event of a dead letter: the original's payload, and beside it what became of it. It has an id of its own: the
/// original's would make it a duplicate.
fn event_of(kept: &StoredDeadLetter) -> Event {
    let letter = &kept.letter;
    let original = kept.entry().event;
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
    }
}
