//! All declared streams: the network's, then the log's, which sources their messages.
//!
//! A subject that an undeclared stream has is not claimed. The log sources its messages from that stream, so that they are in
//! the log's order and their other consumers are not disturbed. A work queue and a stream with retention by interest are never
//! sourced: that would take their messages away.

use super::conflicts::{NotSourced, SubjectConflict, find_conflicts, sources_of};
use super::connection::Connection;
use super::declared::{LIVING_MAP, StreamDeclaration, StreamSource};
use super::error::StreamError;
use super::streams::{
    SettingDifference, StreamInfo, StreamStatus, compare, create_or_extend, destructive_sources, info, remove_sources,
};

/// Result for one declared stream.
#[derive(Debug)]
pub struct StreamReport {
    /// Name of the stream.
    pub stream: String,
    /// Status, or why it could not be read or changed.
    pub status: Result<StreamStatus, StreamError>,
}

impl StreamReport {
    /// Differences from the declaration.
    #[must_use]
    pub fn differences(&self) -> &[SettingDifference] {
        self.status.as_ref().map_or(&[], |status| &status.differences)
    }

    /// Subjects that other streams have.
    #[must_use]
    pub fn conflicts(&self) -> &[SubjectConflict] {
        self.status.as_ref().map_or(&[], |status| &status.conflicts)
    }

    /// Returns true if the stream does not exist although it would have at least one subject.
    #[must_use]
    pub fn missing(&self, declaration: &StreamDeclaration) -> bool {
        let all_conflict =
            || declaration.subjects.iter().all(|subject| self.conflicts().iter().any(|one| one.subject == *subject));
        self.status.as_ref().is_ok_and(|status| status.info.is_none() && !all_conflict())
    }
}

/// Compares all declared streams with the server's, and with `apply` creates and extends those that differ. The log's
/// report is the last one. A failure of one stream does not stop the others.
pub async fn reconcile(
    connection: &Connection,
    log: &StreamDeclaration,
    network: &[StreamDeclaration],
    apply: bool,
) -> Vec<StreamReport> {
    let (mut reports, log) = reconcile_network(connection, log, network, apply).await;
    reports.push(reconcile_log(connection, log, apply).await);
    reports
}

/// Compares the network's streams with the server's, see [`reconcile`]. Also returns the log's declaration with these streams
/// as sources.
pub async fn reconcile_network(
    connection: &Connection,
    log: &StreamDeclaration,
    network: &[StreamDeclaration],
    apply: bool,
) -> (Vec<StreamReport>, StreamDeclaration) {
    let mut reports = Vec::with_capacity(network.len() + 1);
    let mut log = log.clone();
    for declaration in network {
        let status = reconcile_one(connection, declaration, apply).await;
        if let Ok(status) = &status
            && declaration.in_log
        {
            add(&mut log.sources, source_of(declaration, status));
            add(&mut log.sources, sources_of(&status.conflicts));
        }
        reports.push(StreamReport { stream: declaration.name.clone(), status });
    }
    (reports, log)
}

/// Sources of a log that is to be created: the declared ones, and streams that have subjects of its own.
///
/// # Errors
/// [`StreamError::Unavailable`].
pub async fn all_sources(connection: &Connection, log: &StreamDeclaration) -> Result<Vec<StreamSource>, StreamError> {
    let mut sources = log.sources.clone();
    add(&mut sources, sources_of(&find_conflicts(connection, log).await?));
    Ok(sources)
}

/// Compares the log's stream, declared with its sources, with the server's, see [`reconcile`].
pub async fn reconcile_log(connection: &Connection, log: StreamDeclaration, apply: bool) -> StreamReport {
    let status = async {
        // first: until then the server removes messages from those streams
        let destructive_sources = remove_destructive_sources(connection, &log, apply).await?;
        let status = reconcile_with_conflicts(connection, log, apply).await?;
        Ok(StreamStatus { destructive_sources, ..status })
    };
    StreamReport { stream: LIVING_MAP.to_owned(), status: status.await }
}

/// Removes the log's sources that remove messages from their streams, with `apply`; returns them.
async fn remove_destructive_sources(
    connection: &Connection,
    log: &StreamDeclaration,
    apply: bool,
) -> Result<Vec<NotSourced>, StreamError> {
    let Some(found) = info(connection, &log.name).await? else { return Ok(Vec::new()) };
    let destructive = destructive_sources(connection, &found).await?;
    if apply && !destructive.is_empty() {
        let names: Vec<&str> = destructive.iter().map(|source| source.stream.as_str()).collect();
        remove_sources(connection, &found, &names).await?;
    }
    Ok(destructive)
}

/// Subjects of the log that it does not source from the streams that have them. `declared` are the declarations of
/// `reports`.
#[must_use]
pub fn not_sourced(reports: &[StreamReport], declared: &[StreamDeclaration]) -> Vec<NotSourced> {
    let mut found: Vec<NotSourced> = Vec::new();
    let mut add = |stream: &str, reason, subjects: &[String]| {
        let known = found.iter().position(|one| one.stream == stream);
        let at = known.unwrap_or_else(|| {
            found.push(NotSourced { stream: stream.to_owned(), reason, subjects: Vec::new() });
            found.len() - 1
        });
        let known = &mut found[at].subjects;
        known.extend(subjects.iter().filter(|subject| !known.contains(subject)).cloned().collect::<Vec<_>>());
    };
    for (report, declaration) in reports.iter().zip(declared).filter(|(_, declaration)| declaration.in_log) {
        for conflict in report.conflicts() {
            if let Some(reason) = conflict.reason {
                add(&conflict.stream, reason, std::slice::from_ref(&conflict.subject));
            }
        }
        let own = report.status.as_ref().ok().and_then(|status| status.info.as_ref());
        if let Some(info) = own.filter(|_| !declaration.is_log())
            && let Some(reason) = info.not_sourced_reason()
        {
            add(&declaration.name, reason, &info.subjects());
        }
    }
    found
}

async fn reconcile_with_conflicts(
    connection: &Connection,
    mut log: StreamDeclaration,
    apply: bool,
) -> Result<StreamStatus, StreamError> {
    let first = reconcile_one(connection, &log, apply).await?;
    if first.conflicts.is_empty() {
        return Ok(first);
    }
    // the log's own subjects that other streams have are sourced from those
    add(&mut log.sources, sources_of(&first.conflicts));
    log.subjects.retain(|subject| !first.conflicts.iter().any(|conflict| conflict.subject == *subject));
    let mut second = reconcile_one(connection, &log, apply).await?;
    second.conflicts.extend(first.conflicts);
    Ok(second)
}

async fn reconcile_one(
    connection: &Connection,
    declaration: &StreamDeclaration,
    apply: bool,
) -> Result<StreamStatus, StreamError> {
    if apply {
        return create_or_extend(connection, declaration).await;
    }
    let found = info(connection, &declaration.name).await?;
    let complete = |info: &StreamInfo| compare(declaration, info).iter().all(|one| one.setting != "subjects");
    if let Some(info) = found.clone().filter(complete) {
        let differences = compare(declaration, &info);
        return Ok(StreamStatus::new(Some(info), differences, Vec::new()));
    }
    let conflicts = find_conflicts(connection, declaration).await?;
    let mut available = declaration.clone();
    available.subjects.retain(|subject| !conflicts.iter().any(|conflict| conflict.subject == *subject));
    let differences = found.as_ref().map(|info| compare(&available, info)).unwrap_or_default();
    Ok(StreamStatus::new(found, differences, conflicts))
}

/// The declared stream as a source, when it exists, has any of its subjects, and keeps its messages when they are sourced.
fn source_of(declaration: &StreamDeclaration, status: &StreamStatus) -> Vec<StreamSource> {
    let own: Vec<&String> = declaration
        .subjects
        .iter()
        .filter(|subject| !status.conflicts.iter().any(|conflict| conflict.subject == **subject))
        .collect();
    if status.info.as_ref().is_none_or(|info| info.not_sourced_reason().is_some()) {
        return Vec::new();
    }
    match own.as_slice() {
        [] => Vec::new(),
        [one] => vec![StreamSource::new(declaration.name.clone(), Some((*one).clone()))],
        _ => vec![StreamSource::new(declaration.name.clone(), None)],
    }
}

/// Adds sources; a stream named twice with different filters is sourced without a filter.
fn add(sources: &mut Vec<StreamSource>, more: Vec<StreamSource>) {
    for one in more {
        match sources.iter_mut().find(|has| has.stream == one.stream) {
            Some(has) if has.filter != one.filter => has.filter = None,
            Some(_) => {}
            None => sources.push(one),
        }
    }
}
