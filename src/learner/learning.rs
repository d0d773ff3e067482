//! Starting the learner.

use std::sync::Arc;

use clap::Args;
use futures::FutureExt;
use tokio::sync::watch;

use super::rejected::PROCESSOR;
use super::source::Source;
use super::{Learner, LearnerConfig, LearnerStatus, Reject, StreamSource, TableSource};
use crate::dead_letters::{DeadLetterQueue, FailedMessage};
use crate::history::{HistoryError, Storage};
use crate::journal::Journal;
use crate::lease::Leadership;
use crate::log::{ExperienceConfig, ExperienceStream, OpenLog};
use crate::tasks::{Stage, Tasks};

/// Settings of the learner and of the stream that it reads.
#[derive(Debug, Clone, Args)]
pub struct LearningConfig {
    /// The learner.
    #[command(flatten)]
    pub learner: LearnerConfig,
    /// The stream of experiences.
    #[command(flatten)]
    pub experiences: ExperienceConfig,
}

/// Services that the learner uses.
#[derive(Clone, Copy)]
pub struct LearningHandles<'a> {
    /// The databases.
    pub storage: &'a Storage,
    /// The event log, and the connection to the stream of experiences.
    pub log: &'a OpenLog,
    /// Accepts messages that are not valid experiences.
    pub dead_letters: &'a DeadLetterQueue,
    /// Records failures.
    pub journal: &'a Journal,
    /// Decides on which replica the learner runs.
    pub leadership: &'a Leadership,
}

/// Handles of the running learner.
pub struct Learning {
    /// Status of the learner.
    pub status: watch::Receiver<LearnerStatus>,
}

impl Learning {
    /// Starts the learner as a task.
    #[must_use]
    pub fn start(config: LearningConfig, handles: LearningHandles<'_>, tasks: &mut Tasks) -> Self {
        let reject = reject(&config.experiences, &handles);
        let LearningHandles { storage, log, journal, leadership, .. } = handles;
        let learner =
            Learner::new(config.learner, Arc::clone(&storage.lessons), Arc::clone(&log.log), journal.clone(), reject);
        let status = learner.status();
        let source = source(config.experiences, storage, log);
        leadership.spawn(tasks, "learner", Stage::Working, move |stop| learner.clone().run(source(), stop));
        Self { status }
    }
}

/// Opens the source of experiences, each time the learner starts.
fn source(
    config: ExperienceConfig,
    storage: &Storage,
    log: &OpenLog,
) -> impl Fn() -> Box<dyn Source> + Send + 'static + use<> {
    let (log, connection) = (Arc::clone(&log.log), log.connection.clone());
    let (history, lessons) = (Arc::clone(&storage.history), Arc::clone(&storage.lessons));
    move || -> Box<dyn Source> {
        match &connection {
            Some(connection) => Box::new(StreamSource::new(ExperienceStream::new(config.clone(), connection.clone()))),
            None => Box::new(TableSource::new(Arc::clone(&log), Arc::clone(&history), Arc::clone(&lessons), &config)),
        }
    }
}

/// Records messages that are not valid experiences in the error journal, and makes them dead letters.
fn reject(config: &ExperienceConfig, handles: &LearningHandles<'_>) -> Reject {
    let (journal, dead_letters) = (handles.journal.clone(), handles.dead_letters.clone());
    // positions in a stream of experiences are not positions in the log
    let own_stream = handles.log.connection.is_some().then(|| config.stream.clone());
    Arc::new(move |entry, error| {
        let mut failed = FailedMessage::of_entry(PROCESSOR, own_stream.as_deref().unwrap_or("table"), &entry, error);
        if own_stream.is_some() {
            failed.origin.cursor = None;
        }
        journal.record("read", "experience", &failed.subject, &failed.error);
        let dead_letters = dead_letters.clone();
        async move {
            match dead_letters.enqueue(failed).await {
                Ok(_) => Ok(()),
                Err(error @ HistoryError::Rejected(_)) => {
                    tracing::error!(%error, "an invalid experience cannot be stored as a dead letter");
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            }
        }
        .boxed()
    })
}
