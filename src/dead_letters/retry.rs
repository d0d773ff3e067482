//! The task that tries again, puts on the bus and counts.

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{DeadLetterError, DeadLetterService, now};
use crate::history::HistoryError;
use crate::history::dead_letters::{DeadLetter, DeadLetterStatus, StoredDeadLetter};
use crate::model::{alert, envelope};

/// The name of the alert about too many of them.
pub const ALERT: &str = "dead_letters";

impl DeadLetterService {
    /// Tries again what is due, puts on the bus what has died, and raises or clears the alert, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let rounds = async {
            let (mut failed, mut count_at) = (false, Instant::now());
            loop {
                let mut troubles: Vec<(&'static str, String)> = Vec::new();
                // a full batch may have more behind it
                let more = match self.retry().await {
                    Ok(tried) => tried >= self.inner.config.batch as usize,
                    Err(error) => {
                        troubles.push(("retry", error.to_string()));
                        false
                    }
                };
                if let Err(error) = self.publish().await {
                    troubles.push(("publish", error.to_string()));
                }
                if Instant::now() >= count_at {
                    count_at = Instant::now() + self.inner.config.count_interval;
                    if let Err(error) = self.watch().await {
                        troubles.push(("count", error.to_string()));
                    }
                }
                for (step, error) in &troubles {
                    metrics::counter!("living_map_dead_letter_failures_total", "step" => *step).increment(1);
                    if !failed {
                        self.inner.journal.record(step, "dead_letters", "", error);
                        tracing::warn!(step, error, "dead letters cannot be looked after; will try again");
                    }
                }
                failed = !troubles.is_empty();
                if !more || failed {
                    tokio::time::sleep(self.inner.config.interval).await;
                }
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// Tries what is due; how many.
    async fn retry(&self) -> Result<usize, HistoryError> {
        let due = self.store().due(now(), self.inner.config.batch).await?;
        let count = due.len();
        for kept in due {
            self.try_again(kept).await?;
        }
        Ok(count)
    }

    async fn try_again(&self, kept: StoredDeadLetter) -> Result<(), HistoryError> {
        let letter = &kept.letter;
        let outcome = match self.process(&kept).await {
            Ok(outcome) => outcome,
            Err(DeadLetterError::History(error)) => return Err(error),
            // nobody will ever process it here: it is to be seen
            Err(DeadLetterError::NoProcessor(_)) => Err(letter.error.clone()),
            // not now, and nobody behind it is to wait for that
            Err(error) => {
                tracing::debug!(id = %letter.id, %error, "a letter could not be tried");
                let later = DeadLetter { next_at: Some(now() + self.inner.config.away_delay), ..kept.letter };
                return self.store().change(&later).await.map(drop);
            }
        };
        match outcome {
            // it never died: nobody has heard of it
            Ok(()) if letter.status == DeadLetterStatus::Retrying => {
                tracing::info!(id = %letter.id, subject = letter.subject, "a message was processed at a further attempt");
                self.store().remove(&[(letter.id, letter.version)]).await.map(drop)
            }
            Ok(()) => {
                tracing::info!(id = %letter.id, subject = letter.subject, "a dead letter was processed after all");
                let replayed = DeadLetter { status: DeadLetterStatus::Replayed, next_at: None, ..kept.letter };
                self.store().change(&replayed).await.map(drop)
            }
            Err(error) => {
                let now = now();
                // the one attempt after its death is over
                let next_at = letter.next_at.filter(|_| letter.status == DeadLetterStatus::Retrying);
                let failed = self.inner.letters.retries().failed(DeadLetter { next_at, ..kept.letter }, &error, now);
                self.store().change(&failed).await.map(drop)
            }
        }
    }

    /// Counts the dead; raises the alert when there are too many, clears it when there are not any more.
    async fn watch(&self) -> Result<(), HistoryError> {
        let dead = self.store().count(DeadLetterStatus::Dead).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("living_map_dead_letters").set(dead as f64);
        if !self.inner.live.is_complete() {
            return Ok(());
        }
        let threshold = self.inner.config.alert_threshold;
        let raised = self.inner.live.with(|map| map.alerts().any(|alert| alert.id == ALERT));
        let event = match (dead > threshold && !(self.ruled)(), raised) {
            (true, false) => json!({
                "event_type": alert::RAISED, "source": "living-map",
                "payload": {
                    "alert_id": ALERT, "severity": "warning",
                    "title": format!("more than {threshold} dead letters"),
                    "message": "messages could not be processed: GET /living-map/dead-letters lists them",
                    "value": dead, "threshold": threshold,
                },
            }),
            (false, true) => json!({
                "event_type": alert::CLEARED, "source": "living-map",
                "payload": {"alert_id": ALERT, "value": dead, "threshold": threshold},
            }),
            _ => return Ok(()),
        };
        let Ok(new) = envelope::publish(event, now()) else { return Ok(()) };
        if let Err(error) = self.append_one(new.event).await {
            tracing::warn!(%error, dead, "the alert about dead letters could not be told; will try again");
        }
        Ok(())
    }
}
