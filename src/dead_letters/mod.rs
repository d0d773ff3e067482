//! Dead letters: messages that could not be processed. They are retried, published to the event log as `{subject}.dlq`
//! when all retries have failed, replayed or discarded by people, and archived.
//!
//! A part of the server that processes messages passes a failed one to [`DeadLetterQueue::enqueue`], acknowledges it, and
//! registers a [`Processor`] that retries. Messages are rows in the database ([`crate::history::dead_letters`]), held in
//! memory only while they are worked on. The tasks of [`DeadLetterService`] may run on several replicas at once: an update
//! of a row fails when another replica has updated it, and processors and the log recognise what they have stored already.
//!
//! This module is below the event log, whose writers enqueue failures here; it publishes through a [`Publisher`].
//!
//! | metric | |
//! |---|---|
//! | `living_map_processing_failures_total{processor}` | messages that failed for the first time |
//! | `living_map_dead_letters_dropped_total{processor}` | failed messages that were dead letter events themselves, not stored again |
//! | `living_map_dead_letters` | gauge: current number of dead letters |
//! | `living_map_dead_letters_total{processor}` | dead letters published |
//! | `living_map_dead_letter_attempts_total{outcome}` | retries: `processed`, `failed`, `away` (not possible at the time) |
//! | `living_map_dead_letters_archived_total` | dead letters written to the archive and deleted |
//! | `living_map_dead_letter_failures_total{step}` | failed rounds: `retry`, `publish`, `count`, `archive` |

mod alert;
mod archive;
mod processor;
mod publish;
mod queue;
mod retry;
mod start;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use uuid::Uuid;

pub use alert::{ALERT_ID, DeadLetterAlert};
pub use archive::Archive;
pub use processor::{ProcessError, Processor};
pub use publish::{PublishError, Publisher};
pub use queue::{DeadLetterQueue, Enqueued, FailedMessage};
pub use retry::RetryConfig;
pub use start::DeadLetterHandles;

use crate::config::defaults;
use crate::config::value::days;
use crate::history::dead_letters::{DeadLetter, DeadLetterQuery, DeadLetterStatus, DeadLetterStore, StoredDeadLetter};
use crate::history::{HistoryError, Page};
use crate::journal::Journal;
use crate::model::time;

/// Intervals, alert threshold and archive of the dead-letter tasks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Dead letters")]
pub struct DeadLetterConfig {
    /// Polling interval for due messages.
    #[arg(skip = Duration::from_millis(500))]
    pub interval: Duration,
    /// Messages held in memory at a time, with their content.
    #[arg(skip = 16_u32)]
    pub batch: u32,
    /// Delay after an attempt that could not be made because a service was unavailable.
    #[arg(skip = Duration::from_secs(5))]
    pub unavailable_delay: Duration,
    /// Interval of counting dead letters.
    #[arg(skip = Duration::from_secs(5))]
    pub count_interval: Duration,
    /// Days after which dead letters move from the database to compressed files beside the error journal's.
    #[arg(id = "DEAD_LETTER_ARCHIVE_DAYS", env, long = "dead-letter-archive-days", default_value = "7",
        value_parser = days(1..=36_500))]
    pub archive_after: Duration,
    /// More dead letters than this raise an alert, unless an alert rule counts dead letters.
    #[arg(id = "DEAD_LETTER_ALERT_THRESHOLD", env, long = "dead-letter-alert-threshold", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=u32::MAX.into()))]
    pub alert_threshold: u64,
    /// Pause between two archive runs.
    #[arg(skip = Duration::from_mins(10))]
    pub archive_interval: Duration,
}

impl Default for DeadLetterConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Why a dead letter was not replayed or discarded.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// No dead letter has this id; it may have been archived.
    #[error("no dead letter has this id; it may have been archived")]
    NotFound,
    /// Its status does not allow the operation.
    #[error("the dead letter is {0}")]
    Status(DeadLetterStatus),
    /// Another request changed it at the same time.
    #[error("the dead letter was changed by another request at the same time")]
    Changed,
    /// No processor of this name is registered.
    #[error("this server has no processor '{0}'")]
    NoProcessor(String),
    /// A service that processing depends on is unavailable.
    #[error("cannot be processed now: {0}")]
    Unavailable(String),
    /// The database failed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Retries, publishes, replays, discards and archives dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterService {
    inner: Arc<Inner>,
}

struct Inner {
    config: DeadLetterConfig,
    queue: DeadLetterQueue,
    processors: Vec<Arc<dyn Processor>>,
    publisher: Publisher,
    alert: DeadLetterAlert,
    journal: Journal,
}

impl DeadLetterService {
    /// A service for the messages of `queue`, retried by `processors`. Dead letter events and alert events go to
    /// `publisher`.
    #[must_use]
    pub fn new(
        config: DeadLetterConfig,
        queue: DeadLetterQueue,
        processors: Vec<Arc<dyn Processor>>,
        publisher: Publisher,
        alert: DeadLetterAlert,
        journal: Journal,
    ) -> Self {
        Self { inner: Arc::new(Inner { config, queue, processors, publisher, alert, journal }) }
    }

    fn store(&self) -> &dyn DeadLetterStore {
        &**self.inner.queue.store()
    }

    /// A page of dead letters, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, query: &DeadLetterQuery) -> Result<Page<DeadLetter>, HistoryError> {
        self.store().list(query).await
    }

    /// One dead letter with its content.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, id: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError> {
        self.store().get(id).await
    }

    /// Makes one attempt now. A replayed one is returned unchanged. A failed attempt is not an `Err`: the returned dead
    /// letter has the error, as after a retry.
    ///
    /// # Errors
    /// The attempt could not be made.
    pub async fn replay(&self, id: Uuid) -> Result<DeadLetter, DeadLetterError> {
        let stored = self.store().get(id).await?.ok_or(DeadLetterError::NotFound)?;
        match stored.letter.status {
            DeadLetterStatus::Replayed => return Ok(stored.letter),
            status @ DeadLetterStatus::Discarded => return Err(DeadLetterError::Status(status)),
            DeadLetterStatus::Retrying | DeadLetterStatus::Dead => {}
        }
        let outcome = self.process(&stored).await?;
        let changed = match outcome {
            Ok(()) => DeadLetter { status: DeadLetterStatus::Replayed, next_at: None, ..stored.letter },
            Err(error) => self.inner.queue.retries().after_failure(stored.letter, &error, now()),
        };
        self.update(changed).await
    }

    /// Marks a dead letter as not worth processing. A discarded one is returned unchanged.
    ///
    /// # Errors
    /// There is none with this id, it was replayed, or the database failed.
    pub async fn discard(&self, id: Uuid) -> Result<DeadLetter, DeadLetterError> {
        let letter = self.store().get(id).await?.ok_or(DeadLetterError::NotFound)?.letter;
        match letter.status {
            DeadLetterStatus::Discarded => Ok(letter),
            status @ DeadLetterStatus::Replayed => Err(DeadLetterError::Status(status)),
            DeadLetterStatus::Retrying | DeadLetterStatus::Dead => {
                self.update(DeadLetter { status: DeadLetterStatus::Discarded, next_at: None, ..letter }).await
            }
        }
    }

    /// Writes `letter`; returns it with its new version.
    async fn update(&self, letter: DeadLetter) -> Result<DeadLetter, DeadLetterError> {
        if self.store().update(&letter).await? {
            return Ok(DeadLetter { version: letter.version + 1, ..letter });
        }
        // two concurrent requests for the same status both succeed
        let current = self.store().get(letter.id).await?.ok_or(DeadLetterError::NotFound)?.letter;
        if current.status == letter.status { Ok(current) } else { Err(DeadLetterError::Changed) }
    }

    /// Makes one attempt; the inner error is that of a failed attempt.
    async fn process(&self, stored: &StoredDeadLetter) -> Result<Result<(), String>, DeadLetterError> {
        let name = &stored.letter.processor;
        let processor = self.inner.processors.iter().find(|processor| processor.name() == name);
        let Some(processor) = processor else { return Err(DeadLetterError::NoProcessor(name.clone())) };
        let (outcome, result) = match processor.process(stored).await {
            Ok(()) => ("processed", Ok(Ok(()))),
            Err(ProcessError::Failed(error)) => ("failed", Ok(Err(error))),
            Err(ProcessError::Unavailable(error)) => ("away", Err(DeadLetterError::Unavailable(error))),
        };
        metrics::counter!("living_map_dead_letter_attempts_total", "outcome" => outcome).increment(1);
        result
    }
}

fn now() -> DateTime<Utc> {
    time::whole_micros(Utc::now())
}
