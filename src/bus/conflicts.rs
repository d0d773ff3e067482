//! Subjects that several streams want, and from which streams the log may source messages.

use std::collections::BTreeMap;

use async_nats::jetstream::stream::{Config, RetentionPolicy, Source};
use futures::TryStreamExt;

use super::connection::{ApiError, Connection};
use super::declared::{LIVING_MAP, StreamDeclaration, StreamSource};
use super::error::StreamError;
use super::subjects::{covers, overlap};
use crate::model::subject::Pattern;

/// A declared subject that overlaps a subject of another stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectConflict {
    /// The declared subject.
    pub subject: String,
    /// The other stream.
    pub stream: String,
    /// Subjects of the other stream that overlap it.
    pub overlapping: Vec<String>,
    /// Why the log does not source them from there; `None` if it does.
    pub reason: Option<NotSourcedReason>,
}

/// Why the log does not source messages from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSourcedReason {
    /// The stream sources its messages from the log.
    Circular,
    /// A work queue: a source takes part in the work, so it would take the messages away from the workers.
    WorkQueue,
    /// Retention by interest: the stream keeps only what its consumers have not acknowledged, and a source counts as one.
    Interest,
}

impl NotSourcedReason {
    /// Name in readiness reports and log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Circular => "circular",
            Self::WorkQueue => "work_queue",
            Self::Interest => "interest",
        }
    }

    fn of(stream: &Config) -> Option<Self> {
        let from_log = |source: &Source| source.name == LIVING_MAP;
        if stream.sources.iter().flatten().chain(&stream.mirror).any(from_log) {
            return Some(Self::Circular);
        }
        Self::of_retention(stream.retention)
    }

    /// The reason in a stream's retention.
    pub(super) const fn of_retention(retention: RetentionPolicy) -> Option<Self> {
        match retention {
            RetentionPolicy::Limits => None,
            RetentionPolicy::Interest => Some(Self::Interest),
            RetentionPolicy::WorkQueue => Some(Self::WorkQueue),
        }
    }
}

/// Subjects of a stream from which the log does not source them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSourced {
    /// The stream.
    pub stream: String,
    /// The reason.
    pub reason: NotSourcedReason,
    /// The subjects.
    pub subjects: Vec<String>,
}

impl NotSourced {
    /// Returns true if `patterns`, those of the bridge, cover all the subjects.
    #[must_use]
    pub fn is_bridged(&self, patterns: &[Pattern]) -> bool {
        self.subjects.iter().all(|subject| patterns.iter().any(|pattern| covers(pattern.as_str(), subject)))
    }
}

/// The configurations of all streams.
///
/// # Errors
/// [`StreamError::Unavailable`].
pub async fn all_streams(connection: &Connection) -> Result<Vec<Config>, StreamError> {
    let jetstream = connection.jetstream();
    let streams = jetstream.streams().map_ok(|info| info.config).try_collect();
    let streams = connection.permitted(&["STREAM.LIST"], streams).await.map_err(ApiError::Denied)?;
    streams.map_err(|error| ApiError::NoAnswer(error.to_string()).into())
}

/// Declared subjects that other streams have.
///
/// # Errors
/// [`StreamError::Unavailable`].
pub async fn find_conflicts(
    connection: &Connection,
    wanted: &StreamDeclaration,
) -> Result<Vec<SubjectConflict>, StreamError> {
    let mut conflicts = Vec::new();
    for other in all_streams(connection).await?.iter().filter(|other| other.name != wanted.name) {
        let reason = NotSourcedReason::of(other);
        for subject in &wanted.subjects {
            let overlapping: Vec<String> = other.subjects.iter().filter(|has| overlap(has, subject)).cloned().collect();
            if !overlapping.is_empty() {
                let (subject, stream) = (subject.clone(), other.name.clone());
                conflicts.push(SubjectConflict { subject, stream, overlapping, reason });
            }
        }
    }
    Ok(conflicts)
}

/// Sources for subjects that other streams have: one for each stream, which is the limit of nats-server 2.9, with the
/// narrowest single filter that lets all those subjects through.
#[must_use]
pub fn sources_of(conflicts: &[SubjectConflict]) -> Vec<StreamSource> {
    let mut streams: BTreeMap<&str, (Vec<&String>, Vec<&String>)> = BTreeMap::new();
    for one in conflicts.iter().filter(|one| one.reason.is_none() && one.stream != LIVING_MAP) {
        let (ours, theirs) = streams.entry(&one.stream).or_default();
        ours.push(&one.subject);
        theirs.extend(one.overlapping.iter().filter(|subject| !theirs.contains(subject)).collect::<Vec<_>>());
    }
    let source = |(stream, (ours, theirs)): (&str, (Vec<&String>, Vec<&String>))| {
        let filter = match (ours.as_slice(), theirs.as_slice()) {
            ([one], _) | (_, [one]) => Some((*one).clone()),
            _ => None,
        };
        StreamSource::new(stream.to_owned(), filter)
    };
    streams.into_iter().map(source).collect()
}
