//! `living-map streams`: the declared streams against the server's.

use std::time::Duration;

use anyhow::Context;

use crate::bus::network::{self, Report};
use crate::bus::streams::{Difference, Taken};
use crate::bus::{self, Connection, Declaration, NatsConfig};
use crate::config::Settings;

/// Compares our streams on the NATS server with what is declared, or makes them so. What another stream has is no
/// difference: it comes from there.
///
/// # Errors
/// When the server does not answer, or a stream is not as declared.
pub async fn streams(settings: Settings, apply: bool) -> anyhow::Result<()> {
    let url = settings.storage.nats_url.as_deref().context("NATS_URL is not set: which server?")?;
    let connection = bus::connect(&NatsConfig { url: url.to_owned(), ..NatsConfig::default() }).await?;
    if !connection.connected(Duration::from_secs(5)).await {
        let trouble = connection.trouble().unwrap_or_else(|| "no answer".to_owned());
        anyhow::bail!("NATS cannot be reached at NATS_URL: {trouble}");
    }
    let differences = compare(&connection, &settings, apply).await;
    connection.close().await;
    anyhow::ensure!(
        differences == 0,
        "{differences} difference(s); `living-map streams apply` makes and extends what is missing"
    );
    Ok(())
}

/// The log's stream, and the network's other ones.
pub(super) fn declared(settings: &Settings) -> (Declaration, Vec<Declaration>) {
    let replicas = settings.storage.nats_stream_replicas;
    (Declaration::living_map(&settings.extra_subjects(), replicas), Declaration::network(replicas))
}

async fn compare(connection: &Connection, settings: &Settings, apply: bool) -> usize {
    let (log, mut declared) = declared(settings);
    let reports = network::survey(connection, &log, &declared, apply).await;
    declared.push(log);
    reports.iter().zip(&declared).map(|(report, declaration)| print(report, declaration)).sum()
}

/// Prints what is to be said of one stream; the number of differences.
fn print(report: &Report, declaration: &Declaration) -> usize {
    let name = &report.stream;
    for Taken { subject, stream, circular, .. } in report.taken() {
        let then = match (circular, declaration.in_log) {
            (true, _) => ", which is made from LIVING_MAP: not taken",
            (false, true) => "; LIVING_MAP takes it from there",
            (false, false) => "",
        };
        println!("{name}: {subject} belongs to stream {stream}{then}");
    }
    for Difference { setting, declared, found } in report.differences() {
        match setting.as_str() {
            "subjects" => println!("{name}: does not record {declared}; `living-map streams apply` adds them"),
            "sources" => println!("{name}: does not take from {declared}; `living-map streams apply` adds them"),
            _ => println!("{name}: {setting} is {found}, declared {declared}; left as it is"),
        }
    }
    let missing = report.missing(declaration);
    match &report.state {
        Err(error) => println!("{name}: {error}"),
        Ok(_) if missing => println!("{name}: missing; `living-map streams apply` creates it"),
        Ok(_) if report.differences().is_empty() && report.taken().is_empty() => println!("{name}: as declared"),
        Ok(_) => {}
    }
    report.differences().len() + usize::from(missing) + usize::from(report.state.is_err())
}
