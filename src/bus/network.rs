//! All declared streams at once: the network's, then the log's, which takes their messages too.
//!
//! A subject that somebody else's stream has is not claimed. The log takes its messages from there, so that they are in
//! the one order without being taken from anybody's consumer.

use super::connection::Connection;
use super::declared::{Declaration, LIVING_MAP, Source};
use super::streams::{
    Difference, Ensured, StreamError, StreamInfo, Taken, compare, ensure, info, sources_of, taken_by_others,
};

/// What was found of one declared stream.
#[derive(Debug)]
pub struct Report {
    /// The stream.
    pub stream: String,
    /// How it is, or why that is not known or the server would not have it.
    pub state: Result<Ensured, StreamError>,
}

impl Report {
    /// What differs from the declaration.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        self.state.as_ref().map_or(&[], |state| &state.differences)
    }

    /// Subjects that other streams have.
    #[must_use]
    pub fn taken(&self) -> &[Taken] {
        self.state.as_ref().map_or(&[], |state| &state.taken)
    }

    /// Whether it is not there although there would be something for it to hold.
    #[must_use]
    pub fn missing(&self, declaration: &Declaration) -> bool {
        let all_taken =
            || declaration.subjects.iter().all(|subject| self.taken().iter().any(|one| one.subject == *subject));
        self.state.as_ref().is_ok_and(|state| state.info.is_none() && !all_taken())
    }
}

/// Compares all declared streams with the server's; when told to `apply`, makes and extends those that differ. The log's
/// report is the last one. A stream of the network that cannot be had does not stop the others.
pub async fn survey(connection: &Connection, log: &Declaration, network: &[Declaration], apply: bool) -> Vec<Report> {
    let mut reports = Vec::with_capacity(network.len() + 1);
    let mut log = log.clone();
    for declaration in network {
        let state = look_at(connection, declaration, apply).await;
        if let Ok(state) = &state
            && declaration.in_log
        {
            add(&mut log.sources, own_source(declaration, state));
            add(&mut log.sources, sources_of(&state.taken));
        }
        reports.push(Report { stream: declaration.name.clone(), state });
    }
    let state = log_of(connection, log, apply).await;
    reports.push(Report { stream: LIVING_MAP.to_owned(), state });
    reports
}

async fn log_of(connection: &Connection, mut log: Declaration, apply: bool) -> Result<Ensured, StreamError> {
    let first = look_at(connection, &log, apply).await?;
    if first.taken.is_empty() {
        return Ok(first);
    }
    // what others have of its own subjects comes from them
    add(&mut log.sources, sources_of(&first.taken));
    log.subjects.retain(|subject| !first.taken.iter().any(|taken| taken.subject == *subject));
    let mut second = look_at(connection, &log, apply).await?;
    second.taken.extend(first.taken);
    Ok(second)
}

async fn look_at(connection: &Connection, declaration: &Declaration, apply: bool) -> Result<Ensured, StreamError> {
    if apply {
        return ensure(connection, declaration).await;
    }
    let found = info(connection, &declaration.name).await?;
    let complete = |info: &StreamInfo| compare(declaration, info).iter().all(|one| one.setting != "subjects");
    if let Some(info) = found.clone().filter(complete) {
        return Ok(Ensured { differences: compare(declaration, &info), taken: Vec::new(), info: Some(info) });
    }
    let taken = taken_by_others(connection, declaration).await?;
    let mut left = declaration.clone();
    left.subjects.retain(|subject| !taken.iter().any(|taken| taken.subject == *subject));
    let differences = found.as_ref().map(|info| compare(&left, info)).unwrap_or_default();
    Ok(Ensured { info: found, differences, taken })
}

/// The stream itself as a source, when it is there and has any of its subjects.
fn own_source(declaration: &Declaration, state: &Ensured) -> Vec<Source> {
    let own: Vec<&String> = declaration
        .subjects
        .iter()
        .filter(|subject| !state.taken.iter().any(|taken| taken.subject == **subject))
        .collect();
    if state.info.is_none() {
        return Vec::new();
    }
    match own.as_slice() {
        [] => Vec::new(),
        [one] => vec![Source { stream: declaration.name.clone(), filter: Some((*one).clone()) }],
        _ => vec![Source { stream: declaration.name.clone(), filter: None }],
    }
}

/// Adds sources; of a stream that is named twice, with different filters, everything is taken.
fn add(sources: &mut Vec<Source>, more: Vec<Source>) {
    for one in more {
        match sources.iter_mut().find(|has| has.stream == one.stream) {
            Some(has) if has.filter != one.filter => has.filter = None,
            Some(_) => {}
            None => sources.push(one),
        }
    }
}
