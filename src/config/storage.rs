//! The log and the record.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::value::{pattern, retention_rule};
use crate::model::subject::Pattern;

/// The log and the record.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log and history")]
pub struct Storage {
    /// The record of every event: `sqlite://<file>` or `postgres://…`. A database of the service this one replaces is
    /// adopted as it is
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "DATABASE_URL",
        default_value = "sqlite://living-map.db",
        hide_env_values = true
    )]
    pub database_url: String,

    /// The NATS server with JetStream, `nats://…`; several separated by commas. Unset: the log is a table in the
    /// database, for one server alone
    #[arg(long, env = "NATS_URL", value_name = "NATS_URL", hide_env_values = true)]
    pub nats_url: Option<String>,

    /// Subjects to record beside those of the map, patterns separated by commas (`chat.message.*,task.>`)
    #[arg(long, env = "EXTRA_SUBJECTS", value_name = "EXTRA_SUBJECTS", value_delimiter = ',', value_parser = pattern)]
    pub extra_subjects: Vec<Pattern>,

    /// Whether missing streams are made, and subjects and sources added to those that lack them. `false`: they are only
    /// compared, and `living-map streams apply` is for whoever may. Nothing is ever taken from a stream
    #[arg(long, env = "NATS_MANAGE_STREAMS", value_name = "NATS_MANAGE_STREAMS", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub nats_manage_streams: bool,

    /// Copies of each stream that is made, on as many servers of a NATS cluster. A stream that is there keeps its own
    #[arg(long, env = "NATS_STREAM_REPLICAS", value_name = "NATS_STREAM_REPLICAS", default_value_t = 1,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=5))]
    pub nats_stream_replicas: usize,

    /// Days for which history is kept
    #[arg(long, env = "HISTORY_RETENTION_DAYS", value_name = "HISTORY_RETENTION_DAYS", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub history_retention_days: u32,

    /// How long events of some subjects are kept instead: `pattern=age` separated by commas, the age in `h` or `d`
    /// (`task.created=7d,task.>=24h`); the first pattern that matches decides
    #[arg(long, env = "HISTORY_RETENTION_RULES", value_name = "HISTORY_RETENTION_RULES", value_delimiter = ',',
        value_parser = retention_rule)]
    pub history_retention_rules: Vec<(Pattern, Duration)>,

    /// Connections to the database for reading
    #[arg(long, env = "DATABASE_READERS", value_name = "DATABASE_READERS", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=200))]
    pub database_readers: u32,
}

/// Rules that there may be: each age is a way through the record.
const MAX_RULES: usize = 32;

impl Storage {
    /// Whether the rules of retention go together with how often the map is saved: a restart folds the events behind the
    /// newest saved map.
    ///
    /// # Errors
    /// What was expected, with the variable's name.
    pub fn check(&self, snapshot_save_minutes: u32) -> Result<(), String> {
        if self.history_retention_rules.len() > MAX_RULES {
            return Err(format!("HISTORY_RETENTION_RULES: expected at most {MAX_RULES} rules"));
        }
        let least = Duration::from_mins(snapshot_save_minutes.into()) * 2;
        match self.history_retention_rules.iter().find(|(_, age)| *age < least) {
            None => Ok(()),
            Some((pattern, _)) => Err(format!(
                "HISTORY_RETENTION_RULES: expected an age of at least twice SNAPSHOT_SAVE_MINUTES for {pattern}"
            )),
        }
    }
}
