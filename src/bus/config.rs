//! Configuration of the streams on the NATS server.

use std::fmt;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueHint};

use super::StreamDeclaration;
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
    /// Subjects to record in addition to those of the map, patterns separated by commas (`chat.message.*,task.>`).
    #[arg(id = "EXTRA_SUBJECTS", env, long = "extra-subjects", value_delimiter = ',', value_parser = recorded_pattern)]
    pub extra_subjects: Vec<Pattern>,
    /// Whether missing streams are created, and missing subjects and sources added. `false`: differences are only reported,
    /// and `living-map streams apply` is run with an account that may. Nothing is ever removed from a stream.
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
        (StreamDeclaration::living_map(&self.extra_subjects, self.replicas), StreamDeclaration::network(self.replicas))
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
