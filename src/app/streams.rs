//! `living-map streams`: compares the declared streams with those of the NATS server.

use std::time::Duration;

use anyhow::Context;

use super::settings::Settings;
use crate::bus::network::{self, StreamReport};
use crate::bus::streams::{SettingDifference, SubjectConflict};
use crate::bus::{self, Connection, NatsConfig, StreamDeclaration};

/// Longest wait for the NATS server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Compares our streams on the NATS server with their declarations; with `apply`, creates and extends them. A subject that
/// another stream records is not a difference if the log takes it from there.
///
/// # Errors
/// The server does not answer, or a stream differs from its declaration.
pub async fn streams(settings: Settings, apply: bool) -> anyhow::Result<()> {
    let settings = settings.resolved();
    let url = settings.streams.nats_url.as_deref().context("NATS_URL is not set: which server?")?;
    let connection = connect(url).await?;
    let differences = compare(&connection, &settings, apply).await;
    connection.close().await;
    anyhow::ensure!(
        differences == 0,
        "{differences} difference(s); `living-map streams apply` creates and extends what is missing"
    );
    Ok(())
}

/// Connects to NATS and waits for the connection.
pub(super) async fn connect(url: &str) -> anyhow::Result<Connection> {
    let connection = bus::connect(&NatsConfig { url: url.to_owned(), ..NatsConfig::default() }).await?;
    if !connection.connected(CONNECT_TIMEOUT).await {
        let error = connection.last_error().unwrap_or_else(|| "no answer".to_owned());
        anyhow::bail!("NATS cannot be reached at NATS_URL: {error}");
    }
    Ok(connection)
}

async fn compare(connection: &Connection, settings: &Settings, apply: bool) -> usize {
    let (log, mut declared) = settings.streams.declared();
    let reports = network::reconcile(connection, &log, &declared, apply).await;
    declared.push(log);
    reports.iter().zip(&declared).map(|(report, declaration)| print(report, declaration)).sum()
}

/// Prints the result for one stream; returns its number of differences.
fn print(report: &StreamReport, declaration: &StreamDeclaration) -> usize {
    let name = &report.stream;
    for SubjectConflict { subject, stream, circular, .. } in report.conflicts() {
        let then = match (circular, declaration.in_log) {
            (true, _) => ", which takes its messages from LIVING_MAP: not taken from there",
            (false, true) => "; LIVING_MAP takes it from there",
            (false, false) => "",
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
    report.differences().len() + usize::from(missing) + usize::from(report.status.is_err())
}
