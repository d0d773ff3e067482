//! Metrics that are in the first scrape: every counter, gauge and histogram whose label values are known when the process
//! starts. Series of an alert rule, a webhook destination or a route are registered where those are read.
//!
//! `docs/metrics.md` describes them; a test compares it with a scrape, and it is embedded for the help texts.

use metrics::{KeyName, SharedString};

use crate::access::Denied;
use crate::http::MALFORMED;
use crate::instruments::{Instrument, REJECTIONS, register};
use crate::learner::{rejected, rules};
use crate::log::{table, writer};
use crate::model::{NoteKind, Outcome, Service};
use crate::stream::CloseReason;
use crate::webhooks;

/// Tables that describe every metric.
const DESCRIPTIONS: &str = include_str!("../../docs/metrics.md");

/// Describes every metric, in the recorder that must be installed before, by its meaning and unit in `docs/metrics.md`.
pub fn describe() {
    for (name, kind, text) in descriptions() {
        let (name, text) = (KeyName::from(name), SharedString::from(text));
        metrics::with_recorder(|recorder| match kind {
            "counter" => recorder.describe_counter(name, None, text),
            "gauge" => recorder.describe_gauge(name, None, text),
            _ => recorder.describe_histogram(name, None, text),
        });
    }
}

/// Name, type and description of every metric.
fn descriptions() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    DESCRIPTIONS.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind @ ("counter" | "gauge" | "histogram"), _, unit, meaning, _] = cells[..] else { return None };
        Some((name.trim_matches('`'), kind, format!("{} ({unit})", first_clause(&plain(meaning)))))
    })
}

/// A description without its list of label values and details, which would be a tenth of each scrape.
fn first_clause(text: &str) -> &str {
    let end = [": ", "; ", ". "].iter().filter_map(|mark| text.find(mark)).min();
    end.map_or(text, |end| &text[..end])
}

/// Markdown as plain text: without quotes of code, and with links replaced by their text.
fn plain(markdown: &str) -> String {
    let mut plain = String::new();
    for (index, part) in markdown.replace('`', "").split("](").enumerate() {
        let part = if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) };
        plain.push_str(&part.replace('[', ""));
    }
    plain
}

/// Registers the metrics of `living-map serve`. `jetstream`: the log is in NATS; `learns`: the learner is part of it.
pub fn register_server(jetstream: bool, learns: bool) {
    for table in [REJECTIONS, LOG, STORAGE, LISTENER, HTTP, STREAM, LIVE, ALERTS, UPSTREAMS, DEAD_LETTERS] {
        register(table);
    }
    for table in if jetstream { [NATS, HISTORY_WRITER, BRIDGE] } else { [TABLE_LOG, &[], &[]] } {
        register(table);
    }
    if learns {
        register(LEARNER);
    }
}

/// Registers the metrics of `living-map learn`, which are among those of the server. Its log is in NATS.
pub fn register_learner() {
    for table in [REJECTIONS, LOG, STORAGE, NATS, LEARNER, LISTENER] {
        register(table);
    }
}

const fn counter(name: &'static str) -> Instrument {
    Instrument::counter(name)
}

const fn gauge(name: &'static str) -> Instrument {
    Instrument::gauge(name)
}

const fn histogram(name: &'static str) -> Instrument {
    Instrument::histogram(name)
}

/// Of every listener, also without tokens.
const LISTENER: &[Instrument] = &[
    gauge("living_map_http_connections"),
    counter("living_map_http_malformed_requests_total").labels(&[("reason", MALFORMED)]),
    counter("living_map_access_denied_total").labels(&[("reason", &["host"])]),
];

const HTTP: &[Instrument] = &[
    gauge("living_map_http_response_bytes"),
    gauge("living_map_http_response_waiting"),
    counter("living_map_http_panics_total"),
    counter("living_map_http_pages_cut_total"),
    counter("living_map_http_published_events_total").labels(&[("status", &["accepted", "duplicate", "rejected"])]),
    counter("living_map_access_denied_total").labels(&[("reason", DENIED)]),
    counter("living_map_access_key_fetches_total").labels(&[("outcome", &["ok", "failed"])]),
    counter("lessons_reviewed_total").labels(&[("decision", DECISIONS), ("by", &["operator"])]),
    counter("lessons_preambles_total"),
    counter("lessons_outcomes_total").labels(&[("helped", &["true", "false"])]),
];

const STREAM: &[Instrument] = &[
    gauge("living_map_stream_clients").labels(&[("transport", &["websocket", "sse"])]),
    counter("living_map_stream_published_total"),
    counter("living_map_stream_frames_total"),
    counter("living_map_stream_bytes_total"),
    counter("living_map_stream_resumed_total"),
    counter("sse_cursor_410_total"),
    counter("sse_replay_events_total"),
    counter("ws_cursor_resync_total"),
    counter("ws_replay_events_total"),
    counter("living_map_stream_lagged_total"),
    counter("living_map_stream_closed_total").labels(&[("reason", CLOSED)]),
];

const LIVE: &[Instrument] = &[
    counter("living_map_replay_requests_total").labels(&[("result", &["held", "made", "gone", "unavailable"])]),
    counter("living_map_replay_folded_total"),
    gauge("living_map_replay_bytes"),
    counter("living_map_bases_total").labels(&[("kind", &["empty", "recreated", "restored", "truncated"])]),
    gauge("living_map_base_awaited"),
    counter("living_map_base_failures_total"),
    gauge("living_map_entities"),
    counter("living_map_entities_turned_away_total"),
    counter("living_map_fold_entries_total"),
    counter("living_map_fold_duplicates_total"),
    histogram("living_map_fold_entry_seconds"),
    counter("living_map_snapshots_saved_total"),
    histogram("living_map_snapshot_save_seconds"),
    counter("living_map_snapshot_save_failures_total"),
    histogram("living_map_past_seconds"),
    counter("living_map_past_refused_total"),
    histogram("living_map_snapshot_build_seconds"),
];

const ALERTS: &[Instrument] = &[
    gauge("living_map_alert_rules"),
    counter("living_map_alert_rule_loads_total").labels(&[("outcome", &["loaded", "failed"])]),
    counter("living_map_alert_failures_total").labels(&[("step", &["read", "append", "count"])]),
    counter("living_map_webhook_failures_total").labels(&[("step", &["follow", "claim", "note", "tidy", "restore"])]),
];

const UPSTREAMS: &[Instrument] = &[
    counter("living_map_upstream_requests_total").labels(&[
        ("service", Service::NAMES),
        (
            "outcome",
            &["ok", "transport", "timeout", "status_4xx", "status_5xx", "status_other", "too_large", "garbage"],
        ),
    ]),
    histogram("living_map_upstream_duration_seconds").labels(&[("service", Service::NAMES)]),
    counter("living_map_upstream_skipped_items_total").labels(&[("service", Service::NAMES)]),
    counter("living_map_usage_agents_deferred_total"),
    counter("living_map_sync_events_total").labels(&[("service", Service::NAMES)]),
    counter("living_map_control_events_total").labels(&[("action", &["repoll", "health", "journal", "missed"])]),
];

const DEAD_LETTERS: &[Instrument] = &[
    counter("living_map_dead_letter_attempts_total").labels(&[("outcome", &["processed", "failed", "away"])]),
    counter("living_map_dead_letters_total").labels(&[("processor", PROCESSORS)]),
    gauge("living_map_dead_letters"),
    counter("living_map_dead_letters_archived_total"),
    counter("living_map_dead_letter_failures_total").labels(&[("step", &["retry", "publish", "count", "archive"])]),
];

const HISTORY_WRITER: &[Instrument] = &[
    counter("living_map_history_rows_total"),
    counter("living_map_history_duplicates_total"),
    counter("living_map_history_paired_total"),
    counter("living_map_history_refused_total"),
    histogram("living_map_history_batch_rows"),
    histogram("living_map_history_write_seconds"),
    Instrument::unknown_gauge("living_map_history_lag"),
    histogram("living_map_log_append_seconds"),
];

const TABLE_LOG: &[Instrument] =
    &[histogram("living_map_log_batch_events"), histogram("living_map_log_commit_seconds")];

const NATS: &[Instrument] = &[
    counter("living_map_log_reader_reopened_total").labels(&[(
        "reason",
        &["reconnected", "consumer_lost", "delivery_lost", "ended", "unreachable", "unreadable", "stalled"],
    )]),
    counter("living_map_log_unreadable_total"),
    gauge("living_map_log_unsourced_streams"),
    gauge("living_map_nats_connected"),
    counter("living_map_nats_connects_total"),
    counter("living_map_nats_denied_total"),
    counter("living_map_nats_slow_consumer_total"),
];

const BRIDGE: &[Instrument] = &[
    counter("living_map_bridge_messages_total")
        .labels(&[("outcome", &["appended", "duplicate", "dropped", "skipped"])]),
    gauge("living_map_bridge_buffer_bytes"),
];

const LOG: &[Instrument] = &[
    counter("living_map_log_appends_total").labels(&[("result", &["appended", "duplicate", "refused", "unavailable"])]),
    counter("living_map_notes_total").labels(&[("kind", NoteKind::NAMES)]),
    counter("living_map_journal_entries_total"),
    gauge("living_map_journal_pending"),
    counter("living_map_journal_dropped_total"),
    counter("living_map_journal_files_total"),
    counter("living_map_journal_failures_total"),
    counter("living_map_journal_malformed_lines_total"),
];

/// Registered where traces are exported.
pub const TRACES: &[Instrument] =
    &[counter("living_map_trace_spans_total").labels(&[("outcome", &["exported", "failed", "dropped"])])];

const STORAGE: &[Instrument] = &[
    counter("living_map_history_expired_total"),
    counter("living_map_history_expire_failures_total"),
    counter("living_map_adopted_rows_total").labels(&[("outcome", &["completed", "unchanged", "rejected"])]),
    counter("living_map_adopted_rows_failures_total"),
    gauge("living_map_lease_held"),
    counter("living_map_lease_changes_total").labels(&[("change", &["taken", "lost", "given_back"])]),
    counter("living_map_lease_failures_total"),
    counter("living_map_processing_failures_total").labels(&[("processor", PROCESSORS)]),
    counter("living_map_dead_letters_dropped_total").labels(&[("processor", PROCESSORS)]),
];

const LEARNER: &[Instrument] = &[
    counter("js_messages_acked_total"),
    counter("js_messages_redelivered_total"),
    counter("lessons_experiences_total").labels(&[("outcome", Outcome::NAMES)]),
    counter("lessons_unreadable_total"),
    counter("lessons_duplicates_total"),
    counter("lessons_late_total"),
    counter("lessons_found_total").labels(&[("rule", &rules::NAMES)]),
    counter("lessons_new_total"),
    counter("lessons_replayed_total"),
    counter("lessons_write_failures_total"),
    counter("lessons_refused_total"),
    counter("lessons_reviewed_total").labels(&[("decision", DECISIONS), ("by", &["heuristic"])]),
    counter("lessons_published_total"),
    counter("lessons_unpublishable_total"),
    gauge("lessons_agents"),
    Instrument::unknown_gauge("lessons_lag"),
];

/// Decisions about a candidate lesson.
const DECISIONS: &[&str] = &["confirm", "reject"];

/// Parts of the server whose messages become dead letters.
const PROCESSORS: &[&str] =
    &[writer::PROCESSOR, writer::READER, table::PROCESSOR, rejected::PROCESSOR, webhooks::PROCESSOR];

/// Reasons of denied requests.
const DENIED: &[&str] = &[
    Denied::Missing.as_str(),
    Denied::Malformed.as_str(),
    Denied::Critical.as_str(),
    Denied::Unknown.as_str(),
    Denied::Expired.as_str(),
    Denied::NotYet.as_str(),
    Denied::WrongIssuerOrAudience.as_str(),
    Denied::NoRole.as_str(),
    "role",
    Denied::Ticket.as_str(),
    Denied::KeysUnavailable.as_str(),
    "host",
    "cross_site",
];

/// Reasons of ended streams.
const CLOSED: &[&str] = &[
    CloseReason::Left.as_str(),
    CloseReason::Broken.as_str(),
    CloseReason::Protocol.as_str(),
    CloseReason::InvalidText.as_str(),
    CloseReason::TooLarge.as_str(),
    CloseReason::TooMany.as_str(),
    CloseReason::Slow.as_str(),
    CloseReason::NoPong.as_str(),
    CloseReason::Expired.as_str(),
    CloseReason::Shutdown.as_str(),
    CloseReason::Internal.as_str(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_plain_text() {
        assert!(descriptions().count() > 60, "the search finds too little");
        for (name, _, text) in descriptions() {
            assert!(text.len() > 8 && !text.contains(['`', '[', ']']), "{name}: {text}");
        }
        assert_eq!(plain("became a [failure](#dead-letters), `x`"), "became a failure, x");
    }
}
