//! What becomes of messages that could not be processed: tried again, put on the bus as `{subject}.dlq` when that was in
//! vain, replayed or discarded by people, archived.
//!
//! The letters are rows in the database ([`crate::history::dead_letters`]); this room holds none of them in memory for
//! longer than it works on it. Its tasks may run on several servers at once without harm: a change of a letter counts only
//! if nobody else has changed it meanwhile, and processors and the log know what they have had already.
//!
//! | metric | |
//! |---|---|
//! | `living_map_dead_letters` | gauge: letters that are dead now |
//! | `living_map_dead_letters_total{processor}` | letters that died: put on the bus |
//! | `living_map_dead_letter_attempts_total{outcome}` | further attempts: `processed`, `failed`, `away` |
//! | `living_map_dead_letters_archived_total` | letters written to the archive and deleted |
//! | `living_map_dead_letter_failures_total{step}` | rounds that failed: `retry`, `publish`, `archive` |

mod archive;
mod processors;
mod publish;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use archive::Archive;
pub use processors::{LogProcessor, RecordProcessor};

use crate::history::HistoryError;
use crate::history::dead_letters::{
    DeadLetter, DeadLetterPage, DeadLetterQuery, DeadLetterQueue, DeadLetterStatus, DeadLetterStore, ProcessError,
    Processor, StoredDeadLetter,
};
use crate::journal::Journal;
use crate::live::LiveMap;
use crate::log::EventLog;
use crate::model::time;

/// How dead letters are looked after.
#[derive(Debug, Clone)]
pub struct DeadLetterConfig {
    /// How often it is looked whether something is due. Default 500 ms.
    pub interval: Duration,
    /// Letters held in memory at a time, with their content. Default 16.
    pub batch: u32,
    /// From an attempt that could not be made, since what it takes was away, to the next. Default 5 s.
    pub away_delay: Duration,
    /// How often they are counted. Default 5 s.
    pub count_interval: Duration,
    /// An alert is raised when more than so many are dead. Default 10.
    pub alert_threshold: u64,
    /// Letters older than this are archived. Default 7 days.
    pub archive_after: Duration,
    /// From one round of archiving to the next. Default 10 min.
    pub archive_interval: Duration,
}

impl Default for DeadLetterConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            batch: 16,
            away_delay: Duration::from_secs(5),
            count_interval: Duration::from_secs(5),
            alert_threshold: 10,
            archive_after: Duration::from_hours(7 * 24),
            archive_interval: Duration::from_mins(10),
        }
    }
}

/// Why a letter was not replayed or discarded.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// There is no such letter; it may have been archived.
    #[error("there is no such letter")]
    NotFound,
    /// Its status does not allow it.
    #[error("the letter is {0}")]
    Status(DeadLetterStatus),
    /// Somebody else changed it at the same time.
    #[error("the letter was changed at the same time")]
    Changed,
    /// This server has no part that could process it.
    #[error("this server does not process what '{0}' does")]
    NoProcessor(String),
    /// What processing it takes is away.
    #[error("it cannot be tried now: {0}")]
    Away(String),
    /// The database failed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Who looks after the letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterService {
    inner: Arc<Inner>,
    /// Whether somebody else raises alerts about dead letters.
    ruled: Arc<dyn Fn() -> bool + Send + Sync>,
}

struct Inner {
    config: DeadLetterConfig,
    letters: DeadLetterQueue,
    processors: Vec<Arc<dyn Processor>>,
    log: Arc<dyn EventLog>,
    live: LiveMap,
    journal: Journal,
}

impl DeadLetterService {
    /// An office for `letters`, with who can process them again. Dead ones and alerts about them go to `log`.
    #[must_use]
    pub fn new(
        config: DeadLetterConfig,
        letters: DeadLetterQueue,
        processors: Vec<Arc<dyn Processor>>,
        log: Arc<dyn EventLog>,
        live: LiveMap,
        journal: Journal,
    ) -> Self {
        let inner = Arc::new(Inner { config, letters, processors, log, live, journal });
        Self { inner, ruled: Arc::new(|| false) }
    }

    /// The same, and while `ruled` says that somebody else does so it raises no alert about too many dead letters: one
    /// trouble is one alert.
    #[must_use]
    pub fn with_alert_of_its_own_unless(self, ruled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { ruled: Arc::new(ruled), ..self }
    }

    fn store(&self) -> &dyn DeadLetterStore {
        &**self.inner.letters.store()
    }

    /// A page of letters, newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, HistoryError> {
        self.store().letters(query).await
    }

    /// One letter with its content.
    ///
    /// # Errors
    /// The database's.
    pub async fn letter(&self, id: Uuid) -> Result<Option<StoredDeadLetter>, HistoryError> {
        self.store().letter(id).await
    }

    /// Tries a letter once more, now. One that was replayed already stays as it is. A failure is no error: the letter
    /// says why, as after any other attempt.
    ///
    /// # Errors
    /// It could not be tried.
    pub async fn replay(&self, id: Uuid) -> Result<DeadLetter, DeadLetterError> {
        let kept = self.store().letter(id).await?.ok_or(DeadLetterError::NotFound)?;
        match kept.letter.status {
            DeadLetterStatus::Replayed => return Ok(kept.letter),
            status @ DeadLetterStatus::Discarded => return Err(DeadLetterError::Status(status)),
            DeadLetterStatus::Retrying | DeadLetterStatus::Dead => {}
        }
        let outcome = self.process(&kept).await?;
        let changed = match outcome {
            Ok(()) => DeadLetter { status: DeadLetterStatus::Replayed, next_at: None, ..kept.letter },
            Err(error) => self.inner.letters.retries().failed(kept.letter, &error, now()),
        };
        self.change(changed).await
    }

    /// Marks a letter as not worth processing. One that was discarded already stays as it is.
    ///
    /// # Errors
    /// It is not there, was replayed, or the database failed.
    pub async fn discard(&self, id: Uuid) -> Result<DeadLetter, DeadLetterError> {
        let letter = self.store().letter(id).await?.ok_or(DeadLetterError::NotFound)?.letter;
        match letter.status {
            DeadLetterStatus::Discarded => Ok(letter),
            status @ DeadLetterStatus::Replayed => Err(DeadLetterError::Status(status)),
            DeadLetterStatus::Retrying | DeadLetterStatus::Dead => {
                self.change(DeadLetter { status: DeadLetterStatus::Discarded, next_at: None, ..letter }).await
            }
        }
    }

    /// Writes a changed letter; it with its new version.
    async fn change(&self, letter: DeadLetter) -> Result<DeadLetter, DeadLetterError> {
        if self.store().change(&letter).await? {
            return Ok(DeadLetter { version: letter.version + 1, ..letter });
        }
        // two who asked for the same have both got it
        let there = self.store().letter(letter.id).await?.ok_or(DeadLetterError::NotFound)?.letter;
        if there.status == letter.status { Ok(there) } else { Err(DeadLetterError::Changed) }
    }

    /// Makes one attempt; the inner error is why it failed.
    async fn process(&self, kept: &StoredDeadLetter) -> Result<Result<(), String>, DeadLetterError> {
        let name = &kept.letter.processor;
        let processor = self.inner.processors.iter().find(|processor| processor.name() == name);
        let Some(processor) = processor else { return Err(DeadLetterError::NoProcessor(name.clone())) };
        let (outcome, result) = match processor.process(kept).await {
            Ok(()) => ("processed", Ok(Ok(()))),
            Err(ProcessError::Failed(error)) => ("failed", Ok(Err(error))),
            Err(ProcessError::Away(error)) => ("away", Err(DeadLetterError::Away(error))),
        };
        metrics::counter!("living_map_dead_letter_attempts_total", "outcome" => outcome).increment(1);
        result
    }
}

fn now() -> DateTime<Utc> {
    time::whole_micros(Utc::now())
}
