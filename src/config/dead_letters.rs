//! Messages that could not be processed.

use std::time::Duration;

use clap::Args;

use super::value::seconds;

/// Messages that could not be processed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Dead letters")]
pub struct DeadLetters {
    /// Seconds before each further attempt, separated by commas; after the last one a message is a dead letter
    #[arg(long = "dead-letter-retry-seconds", env = "DEAD_LETTER_RETRY_SECONDS", value_name = "DEAD_LETTER_RETRY_SECONDS",
        default_value = "1,5,30", value_delimiter = ',', value_parser = seconds)]
    pub dead_letter_retries: Vec<Duration>,

    /// Hours after which a dead letter is tried once more by itself
    #[arg(long, env = "DEAD_LETTER_LAST_RETRY_HOURS", value_name = "DEAD_LETTER_LAST_RETRY_HOURS", default_value_t = 24,
        value_parser = clap::value_parser!(u32).range(1..=8_760))]
    pub dead_letter_last_retry_hours: u32,

    /// Days after which dead letters go from the database into compressed files beside the error journal's
    #[arg(long, env = "DEAD_LETTER_ARCHIVE_DAYS", value_name = "DEAD_LETTER_ARCHIVE_DAYS", default_value_t = 7,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub dead_letter_archive_days: u32,

    /// An alert is raised when there are more dead letters than this
    #[arg(long, env = "DEAD_LETTER_ALERT_THRESHOLD", value_name = "DEAD_LETTER_ALERT_THRESHOLD", default_value_t = 10)]
    pub dead_letter_alert_threshold: u32,
}
