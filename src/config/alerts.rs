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
}
