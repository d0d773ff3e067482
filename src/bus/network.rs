//! All declared streams: the network's, then the log's, which sources their messages.
//!
//! A subject that an undeclared stream has is not claimed. The log sources its messages from that stream, so that they are in
//! the log's order and their other consumers are not disturbed.

use super::connection::Connection;
use super::declared::{LIVING_MAP, StreamDeclaration, StreamSource};
use super::streams::{
    SettingDifference, StreamError, StreamInfo, StreamStatus, SubjectConflict, compare, create_or_extend,
    find_conflicts, info, sources_of,
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
    let status = reconcile_with_conflicts(connection, log, apply).await;
    StreamReport { stream: LIVING_MAP.to_owned(), status }
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
        return Ok(StreamStatus { differences: compare(declaration, &info), conflicts: Vec::new(), info: Some(info) });
    }
    let conflicts = find_conflicts(connection, declaration).await?;
    let mut available = declaration.clone();
    available.subjects.retain(|subject| !conflicts.iter().any(|conflict| conflict.subject == *subject));
    let differences = found.as_ref().map(|info| compare(&available, info)).unwrap_or_default();
    Ok(StreamStatus { info: found, differences, conflicts })
}

/// The declared stream as a source, when it exists and has any of its subjects.
fn source_of(declaration: &StreamDeclaration, status: &StreamStatus) -> Vec<StreamSource> {
    let own: Vec<&String> = declaration
        .subjects
        .iter()
        .filter(|subject| !status.conflicts.iter().any(|conflict| conflict.subject == **subject))
        .collect();
    if status.info.is_none() {
        return Vec::new();
    }
    match own.as_slice() {
        [] => Vec::new(),
        [one] => vec![StreamSource { stream: declaration.name.clone(), filter: Some((*one).clone()) }],
        _ => vec![StreamSource { stream: declaration.name.clone(), filter: None }],
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
