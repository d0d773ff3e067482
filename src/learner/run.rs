//! The learner at work: experiences in, lessons into the database, and only then the word that they need not come again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::config::LearnerConfig;
use super::memory::{Memory, Taken};
use super::source::{Batch, READER, Source};
use super::{announce, review};
use crate::bus::backoff;
use crate::history::{HistoryError, Lessons};
use crate::journal::Journal;
use crate::log::{EventLog, LogError};
use crate::model::{Cursor, LogEntry, NewLesson};

/// How often the server is told that a batch is still worked on while the database is away.
const IN_PROGRESS: Duration = Duration::from_millis(500);

/// Takes what is no experience, durably; the reason when it cannot just now.
pub type Reject = Arc<dyn Fn(LogEntry, String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// How the learner is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LearnerStatus {
    /// Where its experiences come from: `jetstream` or `table`; empty before the first run.
    pub source: &'static str,
    /// Whether it learns: false while it is not its turn, or its windows are being made again.
    pub learning: bool,
    /// Experiences in the stream that were not learned from yet; none when it is not known.
    pub lag: Option<u64>,
    /// Agents that are remembered.
    pub agents: usize,
    /// When a batch was settled last, or there was nothing to do.
    pub last_success: Option<DateTime<Utc>>,
    /// Why it cannot learn.
    pub error: Option<String>,
}

/// The learner's parts. Cheap to clone.
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
    /// A learner that keeps lessons in `lessons` and tells of them on `log`.
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

    /// How it is doing, and every change of that.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LearnerStatus> {
        self.status.subscribe()
    }

    /// Learns, reviews and tells until `stop`. One process at a time: what it remembers is its own.
    pub async fn run(self, source: Box<dyn Source>, stop: CancellationToken) {
        let learning = self.clone().learn(source, stop.clone());
        let config = &self.config;
        let telling =
            announce::run(Arc::clone(config), Arc::clone(&self.lessons), Arc::clone(&self.log), self.journal.clone());
        let reviewing = review::run(Arc::clone(config), Arc::clone(&self.lessons), self.journal.clone());
        tokio::join!(learning, stop.run_until_cancelled(telling), stop.run_until_cancelled(reviewing));
        self.note(|status| status.learning = false);
    }

    async fn learn(self, mut source: Box<dyn Source>, stop: CancellationToken) {
        let mut memory = None;
        let mut attempt = 0;
        self.note(|status| status.source = source.kind());
        while !stop.is_cancelled() {
            let Some(ended) =
                stop.run_until_cancelled(self.until_broken(&mut *source, &mut memory, &mut attempt)).await
            else {
                return;
            };
            let problem = ended.to_string();
            if attempt == 0 {
                tracing::warn!(problem, "the learner cannot read experiences; trying again");
                self.journal.record("read", "experiences", "", &problem);
            }
            self.note(|status| (status.learning, status.error) = (false, Some(problem)));
            let delay = backoff::delay(attempt, self.config.retry_min, self.config.retry_max);
            stop.run_until_cancelled(tokio::time::sleep(delay)).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Learns until the source is of no more use.
    async fn until_broken(&self, source: &mut dyn Source, kept: &mut Option<Memory>, attempt: &mut u32) -> LogError {
        let memory_ms = TimeDelta::milliseconds(self.config.rules.memory_ms());
        // a stream that is missing is made when the log is looked at; whether that worked, the source will say
        let _ = self.log.ready().await;
        let opened = match source.open(kept.is_none(), memory_ms).await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        if opened.another {
            *kept = None;
        }
        let mut memory = kept.take().unwrap_or_else(|| Memory::new(self.config.rules.clone()));
        if let Some(mut past) = opened.past {
            while let Some(entry) = past.next().await {
                let entry = match entry {
                    Ok(entry) => entry,
                    // half a past is none
                    Err(error) => return error,
                };
                let taken = memory.recall(&entry);
                if entry.cursor.seq > opened.settled {
                    self.keep(&[(entry, taken)], None, None).await;
                }
            }
            memory.skip_to(opened.handed_out);
            tracing::info!(agents = memory.fold().agents(), "the learner's windows are made again from the stream");
        }
        *attempt = 0;
        let mut kept_at = Instant::now();
        let ended = loop {
            self.note_progress(&memory);
            let batch = match source.fetch().await {
                Ok(batch) => batch,
                Err(error) => break error,
            };
            let taken: Vec<(LogEntry, Taken)> =
                batch.entries.iter().map(|entry| (entry.clone(), memory.take(entry))).collect();
            let learned =
                taken.iter().any(|(_, taken)| *taken != Taken::Nothing && *taken != Taken::Folded(Vec::new()));
            let due = learned || kept_at.elapsed() >= self.config.position_interval;
            let position = source.position(&batch).filter(|_| due);
            if learned || position.is_some() {
                self.keep(&taken, position, Some((&*source, &batch))).await;
                kept_at = Instant::now();
            }
            self.note(|status| status.lag = batch.lag);
            if !batch.entries.is_empty() {
                source.settle(batch).await;
            }
        };
        *kept = Some(memory);
        ended
    }

    /// Makes durable what follows from entries; goes on trying for as long as the database is away.
    async fn keep(&self, taken: &[(LogEntry, Taken)], position: Option<Cursor>, batch: Option<(&dyn Source, &Batch)>) {
        for (entry, taken) in taken {
            if let Taken::Unreadable(error) = taken {
                let mut attempt = 0;
                while let Err(problem) = (self.reject)(entry.clone(), error.to_string()).await {
                    self.wait(&mut attempt, &problem, batch).await;
                }
            }
        }
        let lessons: Vec<NewLesson> = taken
            .iter()
            .flat_map(|(_, taken)| if let Taken::Folded(lessons) = taken { lessons.as_slice() } else { &[] })
            .cloned()
            .collect();
        if !self.write(&lessons, position, batch).await {
            // one that the database cannot hold must not take the others with it
            for lesson in &lessons {
                if !self.write(std::slice::from_ref(lesson), None, batch).await {
                    metrics::counter!("lessons_refused_total").increment(1);
                    tracing::error!(lesson.lesson_key, "the database refused a lesson; it is left out");
                }
            }
            self.write(&[], position, batch).await;
        }
    }

    /// Writes; false when the database refused it.
    async fn write(
        &self,
        lessons: &[NewLesson],
        position: Option<Cursor>,
        batch: Option<(&dyn Source, &Batch)>,
    ) -> bool {
        let mut attempt = 0;
        loop {
            match self.lessons.learn(lessons, position.map(|position| (READER, position))).await {
                Ok(learned) => {
                    for lesson in lessons {
                        let rule = super::rules::NAMES.iter().find(|name| **name == lesson.rule).unwrap_or(&"other");
                        metrics::counter!("lessons_found_total", "rule" => *rule).increment(1);
                    }
                    metrics::counter!("lessons_new_total").increment(learned.new);
                    metrics::counter!("lessons_replayed_total").increment(learned.replayed);
                    return true;
                }
                Err(error @ (HistoryError::Refused(_) | HistoryError::Migration(_))) => {
                    self.journal.record("write", "lessons", "", &error);
                    return false;
                }
                Err(error) => self.wait(&mut attempt, &error.to_string(), batch).await,
            }
        }
    }

    /// Waits before another attempt; meanwhile the batch is not delivered again.
    async fn wait(&self, attempt: &mut u32, problem: &str, batch: Option<(&dyn Source, &Batch)>) {
        if *attempt == 0 {
            tracing::warn!(problem, "lessons cannot be kept now; trying again");
            self.journal.record("write", "lessons", "", &problem);
        }
        metrics::counter!("lessons_write_failures_total").increment(1);
        self.note(|status| status.error = Some(problem.to_owned()));
        let until = Instant::now() + backoff::delay(*attempt, self.config.retry_min, self.config.retry_max);
        *attempt = attempt.saturating_add(1);
        while Instant::now() < until {
            if let Some((source, batch)) = batch {
                source.in_progress(batch).await;
            }
            tokio::time::sleep_until(until.min(Instant::now() + IN_PROGRESS)).await;
        }
    }

    fn note_progress(&self, memory: &Memory) {
        let agents = memory.fold().agents();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("lessons_agents").set(agents as f64);
        self.note(|status| {
            (status.learning, status.error, status.agents) = (true, None, agents);
            status.last_success = Some(Utc::now());
        });
    }

    fn note(&self, change: impl FnOnce(&mut LearnerStatus)) {
        self.status.send_modify(change);
        let lag = self.status.borrow().lag;
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("lessons_lag").set(lag.map_or(f64::NAN, |lag| lag as f64));
    }
}
