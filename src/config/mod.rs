//! Every setting of the server: an environment variable, or the flag of the same name.
//!
//! `clap` reads them, so the list in `serve --help` is the list there is, and a wrong value is refused at start with
//! the variable's name and what was expected.

mod access;
mod alerts;
mod cluster;
mod dead_letters;
mod demo;
mod journal;
mod learner;
mod limits;
mod listen;
mod saving;
mod storage;
mod streaming;
mod traces;
mod upstreams;
mod value;

use clap::Args;

use crate::model::subject::{MAP_SUBJECTS, Pattern};

pub use access::{Access, Public};
pub use alerts::Alerts;
pub use cluster::Cluster;
pub use dead_letters::DeadLetters;
pub use demo::DemoSettings;
pub use journal::Journal;
pub use learner::Learner;
pub use limits::Limits;
pub use listen::{Auth, Listen, LogFormat};
pub use saving::Saving;
pub use storage::Storage;
pub use streaming::Streaming;
pub use traces::{Traces, TracesSampler};
pub use upstreams::Upstreams;

/// What `serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Who may do what.
    #[command(flatten)]
    pub access: Access,
    /// The log and the record.
    #[command(flatten)]
    pub storage: Storage,
    /// Who is polled.
    #[command(flatten)]
    pub upstreams: Upstreams,
    /// What failed.
    #[command(flatten)]
    pub journal: Journal,
    /// What could not be processed.
    #[command(flatten)]
    pub dead_letters: DeadLetters,
    /// What is worth an alert.
    #[command(flatten)]
    pub alerts: Alerts,
    /// Snapshot and stream.
    #[command(flatten)]
    pub streaming: Streaming,
    /// Saved snapshots and time travel.
    #[command(flatten)]
    pub saving: Saving,
    /// Several servers side by side, and the end of one.
    #[command(flatten)]
    pub cluster: Cluster,
    /// The learner.
    #[command(flatten)]
    pub learner: Learner,
    /// What a request may be.
    #[command(flatten)]
    pub limits: Limits,
    /// Where traces go.
    #[command(flatten)]
    pub traces: Traces,
}

impl Settings {
    /// Subjects that the log records beside its own: those that were asked for, and the one under which lessons are told.
    #[must_use]
    pub fn extra_subjects(&self) -> Vec<Pattern> {
        let mut subjects = self.storage.extra_subjects.clone();
        let lessons = &self.learner.lesson_subject;
        let recorded =
            MAP_SUBJECTS.iter().filter_map(|own| own.parse::<Pattern>().ok()).chain(subjects.iter().cloned());
        let is_recorded = recorded.into_iter().any(|own| own.matches(lessons.as_str()));
        if self.learner.lesson_publish_enabled && !is_recorded {
            subjects.push(lessons.clone());
        }
        subjects
    }
}

#[cfg(test)]
mod tests;
