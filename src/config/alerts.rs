//! Alert rules.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::value::seconds;

/// Alert rules.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Alerts")]
pub struct Alerts {
    /// The file of alert rules (TOML); read anew when it changes. Unset: no rules
    #[arg(long, env = "ALERT_RULES", value_name = "ALERT_RULES")]
    pub alert_rules: Option<PathBuf>,

    /// Seconds from one look at that file to the next
    #[arg(long = "alert-rules-reload-seconds", env = "ALERT_RULES_RELOAD_SECONDS", value_name = "ALERT_RULES_RELOAD_SECONDS",
        default_value = "5", value_parser = seconds)]
    pub alert_rules_reload: Duration,

    /// Seconds from one look at the clock, the entities, the sources, the journal and the dead letters to the next
    #[arg(long = "alert-interval-seconds", env = "ALERT_INTERVAL_SECONDS", value_name = "ALERT_INTERVAL_SECONDS",
        default_value = "1", value_parser = seconds)]
    pub alert_interval: Duration,

    /// Rules in the file
    #[arg(long, env = "ALERT_MAX_RULES", value_name = "ALERT_MAX_RULES", default_value_t = 100,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub alert_max_rules: usize,

    /// Groups of each rule; of more, those that come later are not looked at
    #[arg(long, env = "ALERT_MAX_GROUPS", value_name = "ALERT_MAX_GROUPS", default_value_t = 1_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub alert_max_groups: usize,

    /// Minutes for which alerts can be silenced at most
    #[arg(long, env = "ALERT_MAX_SILENCE_MINUTES", value_name = "ALERT_MAX_SILENCE_MINUTES", default_value_t = 43_200,
        value_parser = clap::value_parser!(u32).range(1..=525_600))]
    pub alert_max_silence_minutes: u32,

    /// Webhooks in the file of rules
    #[arg(long, env = "ALERT_MAX_WEBHOOKS", value_name = "ALERT_MAX_WEBHOOKS", default_value_t = 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pub alert_max_webhooks: usize,

    /// Seconds that a webhook may take to answer
    #[arg(long = "webhook-timeout-seconds", env = "WEBHOOK_TIMEOUT_SECONDS", value_name = "WEBHOOK_TIMEOUT_SECONDS",
        default_value = "10", value_parser = webhook_timeout)]
    pub webhook_timeout: Duration,

    /// Seconds before each further attempt at a webhook, separated by commas; after the last one a message is a dead letter
    #[arg(long = "webhook-retry-seconds", env = "WEBHOOK_RETRY_SECONDS", value_name = "WEBHOOK_RETRY_SECONDS",
        default_value = "1,5,30,300,1800,7200", value_delimiter = ',', value_parser = seconds)]
    pub webhook_retries: Vec<Duration>,

    /// Messages that may wait for each webhook; what is one too many is not sent
    #[arg(long, env = "WEBHOOK_MAX_WAITING", value_name = "WEBHOOK_MAX_WAITING", default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub webhook_max_waiting: u64,

    /// Hours for which it is kept what was sent to webhooks
    #[arg(long, env = "WEBHOOK_KEEP_HOURS", value_name = "WEBHOOK_KEEP_HOURS", default_value_t = 168,
        value_parser = clap::value_parser!(u32).range(1..=8_760))]
    pub webhook_keep_hours: u32,
}

/// Seconds, at most a minute.
fn webhook_timeout(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds from 0.1 to 60".to_owned();
    let timeout = seconds(text).map_err(|_| expected())?;
    let range = Duration::from_millis(100)..=Duration::from_mins(1);
    if range.contains(&timeout) { Ok(timeout) } else { Err(expected()) }
}
