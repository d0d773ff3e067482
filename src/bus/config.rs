//! Configuration of the streams on the NATS server.

use std::fmt;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueHint};

use super::{NETWORK_PRESET, StreamDeclaration};
use crate::config::defaults;
use crate::model::subject::{Pattern, recorded_pattern};

/// The NATS server, the subjects of the log, and the management of streams.
#[derive(Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct StreamsConfig {
    /// NATS server with `JetStream`, `nats://host:4222`; several separated by commas. Unset: the log is a table in the
    /// database, for one server only.
    #[arg(id = "NATS_URL", env, long = "nats-url", hide_env_values = true, value_hint = ValueHint::Url)]
    pub nats_url: Option<String>,
    /// Subjects to record in addition to those of the map: patterns separated by commas (`chat.message.*,task.>`), or `network`
    /// for all that larger networks publish besides. No other stream can claim a subject that the log records.
    #[arg(id = "EXTRA_SUBJECTS", env, long = "extra-subjects", value_delimiter = ',', value_parser = extra_subjects)]
    pub extra_subjects: Vec<ExtraSubjects>,
    /// Whether missing streams are created, and missing subjects and sources added. `false`: differences are only reported,
    /// and `living-map streams apply` is run with an account that may. No message is ever removed from a stream.
    #[arg(id = "NATS_MANAGE_STREAMS", env, long = "nats-manage-streams", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub manage: bool,
    /// Replicas of each stream that is created, on as many servers of a NATS cluster. An existing stream keeps its own.
    #[arg(id = "NATS_STREAM_REPLICAS", env, long = "nats-stream-replicas", default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=5))]
    pub replicas: usize,
}

impl StreamsConfig {
    /// The log's stream, and the network's other streams.
    #[must_use]
    pub fn declared(&self) -> (StreamDeclaration, Vec<StreamDeclaration>) {
        let log = StreamDeclaration::living_map(&self.extra_patterns(), self.replicas);
        (log, StreamDeclaration::network(self.replicas))
    }

    /// The patterns of [`Self::extra_subjects`].
    #[must_use]
    pub fn extra_patterns(&self) -> Vec<Pattern> {
        let patterns = |item: &ExtraSubjects| match item {
            ExtraSubjects::Network => NETWORK_PRESET.iter().filter_map(|subject| subject.parse().ok()).collect(),
            ExtraSubjects::Pattern(pattern) => vec![pattern.clone()],
        };
        self.extra_subjects.iter().flat_map(patterns).collect()
    }
}

/// An item of `EXTRA_SUBJECTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtraSubjects {
    /// The preset `network`, [`NETWORK_PRESET`].
    Network,
    /// A pattern.
    Pattern(Pattern),
}

/// Value parser of an item of `EXTRA_SUBJECTS`.
fn extra_subjects(text: &str) -> Result<ExtraSubjects, String> {
    match text.trim() {
        "network" => Ok(ExtraSubjects::Network),
        text => recorded_pattern(text).map(ExtraSubjects::Pattern),
    }
}

impl Default for StreamsConfig {
    fn default() -> Self {
        defaults()
    }
}

impl fmt::Debug for StreamsConfig {
    // the URL may contain a password
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsConfig")
            .field("manage", &self.manage)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
