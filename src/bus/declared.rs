//! The declared streams, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::subjects::union;
use crate::model::subject::{MAP_SUBJECTS, Pattern};

/// Stream of the event log.
pub const LIVING_MAP: &str = "LIVING_MAP";

/// The network's streams: name, subjects, days of retention, and whether the log sources messages from the stream. Only the
/// learner reads experiences, so they are not in the log.
const NETWORK: [(&str, &[&str], u64, bool); 6] = [
    ("MESSAGES", &["message.>"], 7, true),
    ("ATTACHMENTS", &["attachment.>"], 30, true),
    ("AGENT_RUNS", &["agent.run.>"], 7, true),
    ("MEMORY", &["memory.>"], 30, true),
    ("AUDIT", &["audit.>", "ops.>"], 90, true),
    ("EXPERIENCE", &["agent.experience.v1.>"], 7, false),
];

/// Subjects of the preset `network` of `EXTRA_SUBJECTS`: what larger networks publish besides the map's subjects and those of
/// `NETWORK`. They are not among the log's subjects by default, since a subject that `LIVING_MAP` has cannot be claimed by a
/// stream of its owner.
pub const NETWORK_PRESET: &[&str] = &[
    // presence of rooms and users
    "city.presence.>",
    // the call chain of a message
    "agent.filter.decision",
    "router.invoke.agent",
    "messaging.channel.created",
    // bots and bridges to other messengers
    "bot.registered",
    "bot.unregistered",
    "agent.telegram.update",
    "integration.matrix.>",
    "chat.message.>",
    // documents
    "parser.document.parsed",
    "rag.document.>",
    // work
    "project.>",
    "task.>",
    "quest.progress.update",
    // governance and money
    "governance.>",
    "wallet.>",
    "embassy.>",
    // measurements
    "telemetry.>",
];

/// Retention of the log, days.
const LIVING_MAP_DAYS: u64 = 7;

/// Declaration of a stream. Retention by limits, storage on disk, the oldest message is discarded first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDeclaration {
    /// Name.
    pub name: String,
    /// Subjects; none covers another.
    pub subjects: Vec<String>,
    /// Other streams to source messages from, each at most once.
    pub sources: Vec<StreamSource>,
    /// Positions from which the sources are copied when the stream is created, by stream; otherwise from their beginning.
    pub source_starts: BTreeMap<String, u64>,
    /// True if the log sources messages from this stream.
    pub in_log: bool,
    /// Retention of a message.
    pub max_age: Duration,
    /// Size limit in bytes; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Time for which the server recognises the id of a stored message (default of nats-server: two minutes).
    pub duplicate_window: Duration,
    /// Replicas in a cluster of NATS servers.
    pub replicas: usize,
}

/// Another stream to source messages from. They stay there too, for the consumers of that stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSource {
    /// Name of the other stream.
    pub stream: String,
    /// Subjects to source; `None` for all.
    pub filter: Option<String>,
    /// True if the stream is in another account or domain.
    pub external: bool,
}

impl StreamDeclaration {
    /// The stream of the log: the map's subjects and `extra` ones, with `replicas` replicas in a cluster of NATS servers.
    #[must_use]
    pub fn living_map(extra: &[Pattern], replicas: usize) -> Self {
        let own: Vec<String> = MAP_SUBJECTS.iter().map(|subject| (*subject).to_owned()).collect();
        let extra: Vec<String> = extra.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Self::new(LIVING_MAP, union(&own, &extra), LIVING_MAP_DAYS, true, replicas)
    }

    /// True for the stream of the log.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.name == LIVING_MAP
    }

    /// The network's other streams, each with `replicas` replicas.
    #[must_use]
    pub fn network(replicas: usize) -> Vec<Self> {
        let subjects = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        NETWORK
            .iter()
            .map(|(name, patterns, days, in_log)| Self::new(name, subjects(patterns), *days, *in_log, replicas))
            .collect()
    }

    fn new(name: &str, subjects: Vec<String>, days: u64, in_log: bool, replicas: usize) -> Self {
        Self {
            name: name.to_owned(),
            subjects,
            sources: Vec::new(),
            source_starts: BTreeMap::new(),
            in_log,
            max_age: Duration::from_hours(24 * days),
            max_bytes: None,
            duplicate_window: Duration::from_mins(2),
            replicas,
        }
    }

    pub(super) fn limits(&self) -> [(&'static str, Value); 6] {
        [
            ("retention", json!("limits")),
            ("storage", json!("file")),
            ("max_age", json!(nanoseconds(self.max_age))),
            ("max_bytes", self.max_bytes.map_or(json!(-1), |bytes| json!(bytes))),
            ("duplicate_window", json!(nanoseconds(self.duplicate_window.min(self.max_age)))),
            ("num_replicas", json!(self.replicas)),
        ]
    }

    pub(super) fn to_config(&self) -> Map<String, Value> {
        let unlimited = ["max_msgs", "max_msg_size", "max_msgs_per_subject", "max_consumers"];
        let mut config: Map<String, Value> = unlimited.map(|limit| (limit.to_owned(), json!(-1))).into_iter().collect();
        config.extend(self.limits().map(|(key, value)| (key.to_owned(), value)));
        config.insert("name".to_owned(), json!(self.name));
        config.insert("subjects".to_owned(), json!(self.subjects));
        config.insert("discard".to_owned(), json!("old"));
        if !self.sources.is_empty() {
            let start = |source: &StreamSource| {
                let mut config = source.to_config();
                if let Some(start) = self.source_starts.get(&source.stream) {
                    config["opt_start_seq"] = json!(start);
                }
                config
            };
            config.insert("sources".to_owned(), self.sources.iter().map(start).collect());
        }
        config
    }
}

impl StreamSource {
    /// A source in this account.
    #[must_use]
    pub const fn new(stream: String, filter: Option<String>) -> Self {
        Self { stream, filter, external: false }
    }

    pub(super) fn from_config(config: &Value) -> Option<Self> {
        let text = |name: &str| config.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let external = config.get("external").is_some_and(|external| !external.is_null());
        Some(Self { stream: text("name")?.to_owned(), filter: text("filter_subject").map(str::to_owned), external })
    }

    pub(super) fn to_config(&self) -> Value {
        match &self.filter {
            Some(filter) => json!({"name": self.stream, "filter_subject": filter}),
            None => json!({"name": self.stream}),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::subject::NETWORK_SUBJECTS;

    /// Subjects that larger networks publish or list in their catalogues.
    const CATALOGUE: &[&str] = &[
        "agent.filter.decision",
        "agent.telegram.update",
        "agents.reply",
        "bot.registered",
        "bot.unregistered",
        "chat.message.sent",
        "city.presence.room.lobby",
        "city.presence.user.sofia",
        "embassy.opened",
        "governance.vote.cast",
        "integration.matrix.message",
        "messaging.channel.created",
        "messaging.message.created",
        "parser.document.parsed",
        "project.created",
        "quest.progress.update",
        "rag.document.ingested",
        "router.invoke.agent",
        "task.assigned",
        "telemetry.node.cpu",
        "usage.agent_run.increment",
        "wallet.updated",
    ];

    #[test]
    fn the_network_preset_has_what_larger_networks_publish() {
        let all = MAP_SUBJECTS.iter().chain(NETWORK_SUBJECTS).chain(NETWORK_PRESET);
        let all: Vec<Pattern> = all.map(|subject| subject.parse().unwrap()).collect();
        let missing: Vec<_> =
            CATALOGUE.iter().filter(|subject| !all.iter().any(|pattern| pattern.matches(subject))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_network_subject_has_a_stream() {
        let declared: Vec<String> =
            StreamDeclaration::network(1).into_iter().flat_map(|stream| stream.subjects).collect();
        assert_eq!(declared, NETWORK_SUBJECTS);
    }
}
