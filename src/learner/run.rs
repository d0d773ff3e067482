//! The learner's task: folds experiences, stores the lessons, and only then acknowledges the experiences.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::LearnerConfig;
use super::source::{ExperienceBatch, READER, Source};
use super::state::{EntryResult, LearnerState};
use super::{publisher, review};
use crate::bus::backoff;
use crate::history::{HistoryError, Lessons};
use crate::journal::Journal;
use crate::log::{EventLog, LogError};
use crate::model::{Cursor, LogEntry, NewLesson};

/// Interval of in-progress acknowledgements of a batch while the database is unavailable.
const IN_PROGRESS: Duration = Duration::from_millis(500);

/// Stores an unreadable event as a dead letter, durably. Errors are temporary.
pub type Reject = Arc<dyn Fn(LogEntry, String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Status of the learner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LearnerStatus {
    /// Source of its experiences: `jetstream` or `table`; empty before the first run.
    pub source: &'static str,
    /// True while it learns; false on replicas that do not lead, and while the state is rebuilt.
    pub learning: bool,
    /// Experiences in the stream that are not yet folded; none when unknown.
    pub lag: Option<u64>,
    /// Agents in the state.
    pub agents: usize,
    /// Time of the last committed batch, or of the last check without new experiences.
    pub last_success: Option<DateTime<Utc>>,
    /// Current error.
    pub error: Option<String>,
}

/// Learns lessons from experiences, reviews and publishes them. Cheap to clone.
#[derive(Clone)]
pub struct Learner {
    config: Arc<LearnerConfig>,
    lessons: Arc<dyn Lessons>,
    log: Arc<dyn EventLog>,
    journal: Journal,
    reject: Reject,
    status: watch::Sender<LearnerStatus>,
}

impl Learner {
    /// A learner that stores lessons in `lessons` and publishes them on `log`.
    #[must_use]
    pub fn new(
        config: LearnerConfig,
        lessons: Arc<dyn Lessons>,
        log: Arc<dyn EventLog>,
        journal: Journal,
        reject: Reject,
    ) -> Self {
        let status = watch::Sender::default();
        Self { config: Arc::new(config), lessons, log, journal, reject, status }
    }

    /// Receives the status and each change of it.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LearnerStatus> {
        self.status.subscribe()
    }

    /// Learns, reviews and publishes until `stop`. Only one process at a time may run this: the state is not shared.
    pub async fn run(self, source: Box<dyn Source>, stop: CancellationToken) {
        let learning = self.clone().learn(source, stop.clone());
        let config = &self.config;
        let publishing =
            publisher::run(Arc::clone(config), Arc::clone(&self.lessons), Arc::clone(&self.log), self.journal.clone());
        let reviewing = review::run(Arc::clone(config), Arc::clone(&self.lessons), self.journal.clone());
        tokio::join!(learning, stop.run_until_cancelled(publishing), stop.run_until_cancelled(reviewing));
        self.update_status(|status| status.learning = false);
    }

    async fn learn(self, mut source: Box<dyn Source>, stop: CancellationToken) {
        let mut state = None;
        let mut attempt = 0;
        self.update_status(|status| status.source = source.kind());
        while !stop.is_cancelled() {
            let Some(ended) = stop.run_until_cancelled(self.until_error(&mut *source, &mut state, &mut attempt)).await
            else {
                return;
            };
            let problem = ended.to_string();
            if attempt == 0 {
                tracing::warn!(problem, "the learner cannot read experiences; retrying");
                self.journal.record("read", "experiences", "", &problem);
            }
            self.update_status(|status| (status.learning, status.error) = (false, Some(problem)));
            let delay = backoff::delay(attempt, self.config.retry_min, self.config.retry_max);
            stop.run_until_cancelled(tokio::time::sleep(delay)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Learns until the source fails. Keeps the state in `saved` for the next attempt.
    async fn until_error(
        &self,
        source: &mut dyn Source,
        saved: &mut Option<LearnerState>,
        attempt: &mut u32,
    ) -> LogError {
        let lookback = TimeDelta::milliseconds(self.config.rules.memory_ms());
        // waits for the connection and creates a missing stream; if that fails, so does opening the source
        let _ = self.log.bounds().await;
        let opened = match source.open(saved.is_none(), lookback).await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        if opened.replaced {
            *saved = None;
        }
        let mut state = saved.take().unwrap_or_else(|| LearnerState::new(self.config.rules.clone()));
        if let Some(past) = opened.past
            && let Err(error) = self.rebuild(&mut state, past, opened.committed, opened.delivered).await
        {
            return error;
        }
        *attempt = 0;
        let mut stored_at = Instant::now();
        let ended = loop {
            self.report_progress(&state);
            let batch = match source.fetch().await {
                Ok(batch) => batch,
                Err(error) => break error,
            };
            let results: Vec<(LogEntry, EntryResult)> =
                batch.entries.iter().map(|entry| (entry.clone(), state.apply(entry))).collect();
            let has_effect = results
                .iter()
                .any(|(_, result)| *result != EntryResult::Ignored && *result != EntryResult::Folded(Vec::new()));
            let due = has_effect || stored_at.elapsed() >= self.config.position_interval;
            let position = source.position(&batch).filter(|_| due);
            if has_effect || position.is_some() {
                self.store(&results, position, Some((&*source, &batch))).await;
                stored_at = Instant::now();
            }
            self.update_status(|status| status.lag = batch.lag);
            if !batch.entries.is_empty() {
                source.commit(batch).await;
            }
        };
        *saved = Some(state);
        ended
    }

    /// Rebuilds the state from the past, and stores the effects of entries after `committed`. A past with a missing
    /// part is useless, so an error ends the attempt.
    async fn rebuild(
        &self,
        state: &mut LearnerState,
        mut past: BoxStream<'static, Result<LogEntry, LogError>>,
        committed: u64,
        delivered: u64,
    ) -> Result<(), LogError> {
        while let Some(entry) = past.next().await {
            let entry = entry?;
            let result = state.replay(&entry);
            if entry.cursor.seq > committed {
                self.store(&[(entry, result)], None, None).await;
            }
        }
        state.skip_to(delivered);
        tracing::info!(agents = state.fold().agents(), "the learner's state is rebuilt from the stream");
        Ok(())
    }

    /// Stores the effects of entries; retries until the database is available.
    async fn store(
        &self,
        results: &[(LogEntry, EntryResult)],
        position: Option<Cursor>,
        batch: Option<(&dyn Source, &ExperienceBatch)>,
    ) {
        for (entry, result) in results {
            if let EntryResult::Unreadable(error) = result {
                let mut attempt = 0;
                while let Err(problem) = (self.reject)(entry.clone(), error.to_string()).await {
                    self.wait(&mut attempt, &problem, batch).await;
                }
            }
        }
        let lessons: Vec<NewLesson> = results
            .iter()
            .flat_map(|(_, result)| if let EntryResult::Folded(lessons) = result { lessons.as_slice() } else { &[] })
            .cloned()
            .collect();
        if !self.write(&lessons, position, batch).await {
            // one by one, so that a lesson that the database rejects does not block the others
            for lesson in &lessons {
                if !self.write(std::slice::from_ref(lesson), None, batch).await {
                    metrics::counter!("lessons_refused_total").increment(1);
                    tracing::error!(lesson.lesson_key, "the database rejected a lesson; it is skipped");
                }
            }
            self.write(&[], position, batch).await;
        }
    }

    /// Writes lessons and position; false when the database rejected them.
    async fn write(
        &self,
        lessons: &[NewLesson],
        position: Option<Cursor>,
        batch: Option<(&dyn Source, &ExperienceBatch)>,
    ) -> bool {
        let mut attempt = 0;
        loop {
            match self.lessons.upsert(lessons, position.map(|position| (READER, position))).await {
                Ok(learned) => {
                    for lesson in lessons {
                        let rule = super::rules::NAMES.iter().find(|name| **name == lesson.rule).unwrap_or(&"other");
                        metrics::counter!("lessons_found_total", "rule" => *rule).increment(1);
                    }
                    metrics::counter!("lessons_new_total").increment(learned.new);
                    metrics::counter!("lessons_replayed_total").increment(learned.replayed);
                    return true;
                }
                Err(error @ (HistoryError::Rejected(_) | HistoryError::Migration(_))) => {
                    self.journal.record("write", "lessons", "", &error);
                    return false;
                }
                Err(error) => self.wait(&mut attempt, &error.to_string(), batch).await,
            }
        }
    }

    /// Waits before the next attempt; meanwhile keeps the batch from being delivered again.
    async fn wait(&self, attempt: &mut u32, problem: &str, batch: Option<(&dyn Source, &ExperienceBatch)>) {
        if *attempt == 0 {
            tracing::warn!(problem, "lessons cannot be stored; retrying");
            self.journal.record("write", "lessons", "", &problem);
        }
        metrics::counter!("lessons_write_failures_total").increment(1);
        self.update_status(|status| status.error = Some(problem.to_owned()));
        let until = Instant::now() + backoff::delay(*attempt, self.config.retry_min, self.config.retry_max);
        *attempt = attempt.saturating_add(1);
        while Instant::now() < until {
            if let Some((source, batch)) = batch {
                source.in_progress(batch).await;
            }
            tokio::time::sleep_until(until.min(Instant::now() + IN_PROGRESS)).await;
        }
    }

    fn report_progress(&self, state: &LearnerState) {
        let agents = state.fold().agents();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("lessons_agents").set(agents as f64);
        self.update_status(|status| {
            (status.learning, status.error, status.agents) = (true, None, agents);
            status.last_success = Some(Utc::now());
        });
    }

    fn update_status(&self, change: impl FnOnce(&mut LearnerStatus)) {
        self.status.send_modify(change);
        let lag = self.status.borrow().lag;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("lessons_lag").set(lag.map_or(f64::NAN, |lag| lag as f64));
    }
}
