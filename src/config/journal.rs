//! The error journal.

use std::time::Duration;

use clap::Args;

use super::value::seconds;

/// The error journal.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Error journal")]
pub struct Journal {
    /// Where failed operations are kept: a folder, `file:///…` or `s3://bucket/prefix` (with the usual `AWS_…` variables).
    /// Unset: the folder `living-map-journal` beside the `SQLite` file, or in the working directory with `PostgreSQL`
    #[arg(long, env = "JOURNAL_URL", value_name = "JOURNAL_URL", hide_env_values = true)]
    pub journal_url: Option<String>,

    /// Days for which the journal's files are kept
    #[arg(long, env = "JOURNAL_RETENTION_DAYS", value_name = "JOURNAL_RETENTION_DAYS", default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub journal_retention_days: u32,

    /// Seconds after which entries are written at the latest
    #[arg(long = "journal-flush-seconds", env = "JOURNAL_FLUSH_SECONDS", value_name = "JOURNAL_FLUSH_SECONDS",
        default_value = "5", value_parser = seconds)]
    pub journal_flush: Duration,

    /// Entries that wait in memory for a store that is away; further ones are not written
    #[arg(long, env = "JOURNAL_MAX_PENDING", value_name = "JOURNAL_MAX_PENDING", default_value_t = 4_096,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub journal_max_pending: u32,

    /// Entries written to files in a minute; further ones are in memory alone, so that a flood of errors does not fill the
    /// store
    #[arg(long, env = "JOURNAL_MAX_PER_MINUTE", value_name = "JOURNAL_MAX_PER_MINUTE", default_value_t = 600,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub journal_max_per_minute: u32,
}
