//! Log lines about streams that differ from their declarations.

use crate::bus::conflicts::NotSourcedReason;
use crate::bus::network::StreamReport;
use crate::bus::{NotSourced, StreamDeclaration};
use crate::model::subject::Pattern;

/// Logs the differences of a stream from its declaration.
pub fn differences(report: &StreamReport) {
    let stream = report.stream.as_str();
    for conflict in report.conflicts().iter().filter(|conflict| conflict.reason.is_none()) {
        let (subject, owner) = (conflict.subject.as_str(), conflict.stream.as_str());
        tracing::warn!(
            stream,
            subject,
            owner,
            "another stream has this subject; the log sources its events from there"
        );
    }
    for difference in report.differences() {
        tracing::warn!(
            stream, setting = %difference.setting, declared = %difference.declared, found = %difference.found,
            "the stream differs from its declaration; it is left unchanged",
        );
    }
    if let Err(error) = &report.status {
        tracing::error!(stream, %error, "a declared stream cannot be read or changed");
    }
}

/// Logs that a stream is missing.
pub fn missing(report: &StreamReport, declaration: &StreamDeclaration) {
    if report.missing(declaration) {
        tracing::warn!(stream = report.stream, "a declared stream is missing; `living-map streams apply` creates it");
    }
}

/// Logs sources that take messages away from their streams, `found`, unless they are among those `known` before; with `manage`
/// they were removed.
pub fn destructive_sources(log: &str, known: &[NotSourced], found: &[NotSourced], manage: bool) {
    for NotSourced { stream, reason, subjects } in found.iter().filter(|one| !known.contains(one)) {
        let retention = reason.as_str();
        if manage {
            tracing::warn!(
                log,
                stream,
                retention,
                ?subjects,
                "removed a source of the log, which took messages away from a stream that does not keep them"
            );
        } else {
            tracing::error!(
                log,
                stream,
                retention,
                ?subjects,
                "a source of the log takes messages away from a stream that does not keep them; `living-map streams apply` \
                 removes it"
            );
        }
    }
}

/// Logs subjects that are not sourced, `found`, unless they are among those `known` before. The bridge records its own.
pub fn not_sourced(log: &str, known: &[NotSourced], found: &[NotSourced], bridged: &[Pattern]) {
    metrics::gauge!("living_map_log_unsourced_streams").set(u32::try_from(found.len()).unwrap_or(u32::MAX));
    for one in found.iter().filter(|one| !known.contains(one)) {
        let NotSourced { stream, reason, subjects } = one;
        let retention = reason.as_str();
        match reason {
            NotSourcedReason::Circular => tracing::error!(
                log,
                stream,
                ?subjects,
                "events of these subjects do not reach the map: they are stored in a stream that sources from the log"
            ),
            NotSourcedReason::WorkQueue | NotSourcedReason::Interest if one.is_bridged(bridged) => tracing::info!(
                log,
                stream,
                retention,
                ?subjects,
                "these subjects are recorded by the bridge, at most once: sourcing would take messages away from their stream"
            ),
            NotSourcedReason::WorkQueue | NotSourcedReason::Interest => tracing::warn!(
                log,
                stream,
                retention,
                ?subjects,
                "events of these subjects are not recorded: sourcing would take messages away from their stream; \
                 BRIDGE_SUBJECTS records them, at most once"
            ),
        }
    }
}
