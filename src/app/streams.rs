//! `living-map streams`: compares the declared streams with those of the NATS server.

use std::time::Duration;

use anyhow::Context;

use super::settings::Settings;
use crate::bus::conflicts::{NotSourcedReason, SubjectConflict};
use crate::bus::network::{self, StreamReport};
use crate::bus::streams::SettingDifference;
use crate::bus::subjects::covers;
use crate::bus::{self, Connection, NatsConfig, NotSourced, StreamDeclaration, StreamInfo};
use crate::model::subject::{MAP_SUBJECTS, Pattern};

/// Longest wait for the NATS server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Compares our streams on the NATS server with their declarations; with `apply`, creates and extends them. A subject that
/// another stream records is not a difference if the log takes it from there.
///
/// # Errors
/// The server does not answer, or a stream differs from its declaration.
pub async fn streams(settings: Settings, apply: bool) -> anyhow::Result<()> {
    let settings = settings.resolved();
    let nats = settings.streams.connection()?.context("NATS_URL is not set: which server?")?;
    let connection = connect(&nats).await?;
    let Comparison { differences, failures } = compare(&connection, &settings, apply).await;
    connection.close().await;
    anyhow::ensure!(failures == 0, "{failures} stream(s) cannot be {}", if apply { "applied" } else { "compared" });
    anyhow::ensure!(
        differences == 0,
        "{differences} difference(s); `living-map streams apply` creates and extends what is missing"
    );
    Ok(())
}

/// Connects to NATS and waits for the connection.
pub(super) async fn connect(config: &NatsConfig) -> anyhow::Result<Connection> {
    let connection = bus::connect(config).await?;
    if !connection.connected(CONNECT_TIMEOUT).await {
        let error = connection.last_error().unwrap_or_else(|| "no answer".to_owned());
        anyhow::bail!("NATS cannot be reached at NATS_URL: {error}");
    }
    Ok(connection)
}

/// Result of comparing the streams.
struct Comparison {
    /// Differences between streams and their declarations.
    differences: usize,
    /// Streams that could not be read or changed.
    failures: usize,
}

async fn compare(connection: &Connection, settings: &Settings, apply: bool) -> Comparison {
    let (log, mut declared) = settings.streams.declared();
    let reports = network::reconcile(connection, &log, &declared, apply).await;
    declared.push(log);
    let failures = reports.iter().filter(|report| report.status.is_err()).count();
    let differences: usize =
        reports.iter().zip(&declared).map(|(report, declaration)| print(report, declaration)).sum();
    print_not_sourced(&network::not_sourced(&reports, &declared), &settings.bridge.subjects);
    let log = reports.last();
    let destructive = log.map_or(0, |log| print_destructive_sources(log, apply));
    log.into_iter().for_each(print_claimed);
    Comparison { differences: differences + destructive, failures }
}

/// Prints streams whose messages are not recorded, or by the bridge only.
fn print_not_sourced(streams: &[NotSourced], bridged: &[Pattern]) {
    for one in streams.iter().filter(|one| one.reason != NotSourcedReason::Circular) {
        let NotSourced { stream, reason, subjects } = one;
        let (retention, subjects) = (reason.as_str(), subjects.join(","));
        if one.is_bridged(bridged) {
            println!("{stream}: retention is {retention}; BRIDGE_SUBJECTS records {subjects}, at most once");
        } else {
            println!(
                "{stream}: retention is {retention}: LIVING_MAP would take its messages away, so {subjects} is not \
                 recorded; BRIDGE_SUBJECTS={subjects} records it, at most once"
            );
        }
    }
}

/// Prints sources that take messages away; returns the number of those that are still there.
fn print_destructive_sources(log: &StreamReport, removed: bool) -> usize {
    let found = log.status.as_ref().map_or(&[][..], |status| &status.destructive_sources);
    for NotSourced { stream, reason, .. } in found {
        let (name, retention) = (&log.stream, reason.as_str());
        if removed {
            println!("{name}: removed the source {stream}, whose retention is {retention}");
        } else {
            println!(
                "{name}: takes messages away from {stream}, whose retention is {retention}; `living-map streams apply` \
                 removes this source"
            );
        }
    }
    if removed { 0 } else { found.len() }
}

/// Prints subjects of the log that are not the map's.
fn print_claimed(log: &StreamReport) {
    let info = log.status.as_ref().ok().and_then(|status| status.info.as_ref());
    let subjects = info.map(StreamInfo::subjects).unwrap_or_default();
    for subject in subjects.iter().filter(|subject| !MAP_SUBJECTS.iter().any(|own| covers(own, subject))) {
        println!(
            "{}: has {subject}, which is not of the map: as long as it does, no stream of its owner can have it \
             (error 10065)",
            log.stream
        );
    }
}

/// Prints the result for one stream; returns its number of differences.
fn print(report: &StreamReport, declaration: &StreamDeclaration) -> usize {
    let name = &report.stream;
    for SubjectConflict { subject, stream, reason, .. } in report.conflicts() {
        let then = match (reason, declaration.in_log) {
            (Some(NotSourcedReason::Circular), _) => ", which takes its messages from LIVING_MAP: not taken from there",
            (Some(NotSourcedReason::WorkQueue | NotSourcedReason::Interest), true) => {
                ": not taken from there, see below"
            }
            (None, true) => "; LIVING_MAP takes it from there",
            (_, false) => "",
        };
        println!("{name}: {subject} belongs to stream {stream}{then}");
    }
    for SettingDifference { setting, declared, found } in report.differences() {
        match setting.as_str() {
            "subjects" => println!("{name}: does not record {declared}; `living-map streams apply` adds them"),
            "sources" => println!("{name}: does not take from {declared}; `living-map streams apply` adds them"),
            _ => println!("{name}: {setting} is {found}, declared {declared}; not changed"),
        }
    }
    let missing = report.missing(declaration);
    match &report.status {
        Err(error) => println!("{name}: {error}"),
        Ok(_) if missing => println!("{name}: missing; `living-map streams apply` creates it"),
        Ok(_) if report.differences().is_empty() && report.conflicts().is_empty() => println!("{name}: as declared"),
        Ok(_) => {}
    }
    report.differences().len() + usize::from(missing)
}
