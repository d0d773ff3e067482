//! The task that retries, publishes and counts.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{DeadLetterError, DeadLetterService, now};
use crate::history::HistoryError;
use crate::history::dead_letters::{DeadLetter, DeadLetterStatus, StoredDeadLetter};
use crate::model::envelope;

impl DeadLetterService {
    /// Retries due messages, publishes new dead letters, and raises or clears the alert, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let rounds = async {
            let (mut failed, mut count_at) = (false, Instant::now());
            loop {
                let mut failures: Vec<(&'static str, String)> = Vec::new();
                // a batch of large messages is shorter than the maximum, so more may be due after any
                let more = match self.retry().await {
                    Ok(tried) => tried > 0,
                    Err(error) => {
                        failures.push(("retry", error.to_string()));
                        false
                    }
                };
                if let Err(error) = self.publish().await {
                    failures.push(("publish", error.to_string()));
                }
                if Instant::now() >= count_at {
                    count_at = Instant::now() + self.inner.config.count_interval;
                    if let Err(error) = self.update_alert().await {
                        failures.push(("count", error.to_string()));
                    }
                }
                for (step, error) in &failures {
                    metrics::counter!("living_map_dead_letter_failures_total", "step" => *step).increment(1);
                    if !failed {
                        self.inner.journal.record(step, "dead_letters", "", error);
                        tracing::warn!(step, error, "processing dead letters failed; retrying");
                    }
                }
                failed = !failures.is_empty();
                if !more || failed {
                    tokio::time::sleep(self.inner.config.interval).await;
                }
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// Retries due messages; returns their number.
    async fn retry(&self) -> Result<usize, HistoryError> {
        let due = self.store().due(now(), self.inner.config.batch).await?;
        let count = due.len();
        for stored in due {
            self.retry_one(stored).await?;
        }
        Ok(count)
    }

    async fn retry_one(&self, stored: StoredDeadLetter) -> Result<(), HistoryError> {
        let letter = &stored.letter;
        let outcome = match self.process(&stored).await {
            Ok(outcome) => outcome,
            Err(DeadLetterError::History(error)) => return Err(error),
            // this server will never process it: count it as a failed attempt, so that it becomes visible
            Err(DeadLetterError::NoProcessor(_)) => Err(letter.error.clone()),
            // postpone it, so that it does not hold up the messages behind it
            Err(error) => {
                tracing::debug!(id = %letter.id, %error, "a failed message cannot be retried now");
                let later = DeadLetter { next_at: Some(now() + self.inner.config.unavailable_delay), ..stored.letter };
                return self.store().update(&later).await.map(drop);
            }
        };
        match outcome {
            // it never became a dead letter, so no event about it was published
            Ok(()) if letter.status == DeadLetterStatus::Retrying => {
                tracing::info!(id = %letter.id, subject = letter.subject, "a failed message was processed by a retry");
                self.store().delete(&[(letter.id, letter.version)]).await.map(drop)
            }
            Ok(()) => {
                tracing::info!(id = %letter.id, subject = letter.subject, "a dead letter was processed by its last retry");
                let replayed = DeadLetter { status: DeadLetterStatus::Replayed, next_at: None, ..stored.letter };
                self.store().update(&replayed).await.map(drop)
            }
            Err(error) => {
                let now = now();
                // a dead letter has one automatic attempt, which this was
                let next_at = letter.next_at.filter(|_| letter.status == DeadLetterStatus::Retrying);
                let letter = DeadLetter { next_at, ..stored.letter };
                let failed = self.inner.queue.retries().after_failure(letter, &error, now);
                self.store().update(&failed).await.map(drop)
            }
        }
    }

    /// Counts the dead letters, and raises or clears the alert.
    async fn update_alert(&self) -> Result<(), HistoryError> {
        let dead = self.store().count(DeadLetterStatus::Dead).await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("living_map_dead_letters").set(dead as f64);
        let Some(event) = self.inner.alert.event(dead, self.inner.config.alert_threshold) else { return Ok(()) };
        let Ok(new) = envelope::publish(event, now()) else { return Ok(()) };
        if let Err(error) = (self.inner.publisher)(new.event).await {
            tracing::warn!(%error, dead, "the alert about dead letters could not be published; retrying");
        }
        Ok(())
    }
}
