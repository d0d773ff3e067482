//! Configuration of the webhook dispatcher.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::config::defaults;
use crate::config::value::{hours, seconds};
use crate::tls::CaFile;

/// Timeouts, retries and limits of sending to webhooks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Alerts")]
pub struct WebhookDispatcherConfig {
    /// Seconds that a webhook may take to answer.
    ///
    /// Beyond: the attempt failed; the next one follows.
    #[arg(id = "WEBHOOK_TIMEOUT_SECONDS", env, long = "webhook-timeout-seconds", default_value = "10",
        value_parser = timeout)]
    pub timeout: Duration,
    /// Seconds before each further attempt at a webhook, separated by commas; after the last one the message is a dead
    /// letter.
    #[arg(id = "WEBHOOK_RETRY_SECONDS", env, long = "webhook-retry-seconds", default_value = "1,5,30,300,1800,7200",
        value_delimiter = ',', value_parser = seconds)]
    pub retries: Vec<Duration>,
    /// Messages that may wait for each webhook.
    ///
    /// Beyond: further ones are not sent, counted in `living_map_webhook_messages_total`.
    #[arg(id = "WEBHOOK_MAX_WAITING", env, long = "webhook-max-waiting", default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub max_waiting: u64,
    /// Hours that sent messages are kept.
    #[arg(id = "WEBHOOK_KEEP_HOURS", env, long = "webhook-keep-hours", default_value = "168",
        value_parser = hours(1..=8_760))]
    pub kept: Duration,
    /// File with certificate authorities (PEM) of webhooks, beside those of the system. Read at the start.
    #[arg(id = "WEBHOOK_CA_FILE", env, long = "webhook-ca-file", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Polling interval for messages that are due.
    #[arg(skip = Duration::from_millis(500))]
    pub interval: Duration,
    /// Interval of counting the messages that wait.
    #[arg(skip = Duration::from_secs(5))]
    pub count_interval: Duration,
    /// Interval of deleting sent messages.
    #[arg(skip = Duration::from_mins(1))]
    pub tidy_interval: Duration,
    /// Interval of saving the position in the log while no message is due.
    #[arg(skip = Duration::from_secs(5))]
    pub save_interval: Duration,
    /// A position saved longer ago is not continued from: messages are sent for active alerts, and none for those raised and
    /// cleared meanwhile.
    #[arg(skip = Duration::from_hours(1))]
    pub stale_after: Duration,
}

/// Setting of [`WebhookDispatcherConfig::ca_file`].
pub(super) const CA_FILE: &str = "WEBHOOK_CA_FILE";

impl WebhookDispatcherConfig {
    /// Authorities of the webhooks' certificates.
    #[must_use]
    pub fn authorities(&self) -> CaFile<'_> {
        CaFile::new(CA_FILE, self.ca_file.as_ref())
    }
}

impl Default for WebhookDispatcherConfig {
    fn default() -> Self {
        defaults()
    }
}

/// At most a minute.
fn timeout(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds from 0.1 to 60".to_owned();
    let timeout = seconds(text).map_err(|_| expected())?;
    let range = Duration::from_millis(100)..=Duration::from_mins(1);
    if range.contains(&timeout) { Ok(timeout) } else { Err(expected()) }
}
