//! Several servers side by side, and the end of one.

use std::time::Duration;

use clap::Args;

/// Several servers side by side, and the end of one.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Several servers, and the end of one")]
pub struct Cluster {
    /// Seconds for which the lease lasts that one of the servers on a database polls, saves and deletes by: so much later
    /// another one takes over after a crash. A planned stop passes it on at once
    #[arg(long = "lease-seconds", env = "LEASE_SECONDS", value_name = "LEASE_SECONDS", default_value = "5", value_parser = lease)]
    pub lease: Duration,

    /// Seconds that a planned stop may take in all; what has not ended by then is broken off. A supervisor must wait
    /// longer before it kills
    #[arg(long = "stop-seconds", env = "STOP_SECONDS", value_name = "STOP_SECONDS", default_value = "25", value_parser = stop)]
    pub stop: Duration,
}

fn lease(text: &str) -> Result<Duration, String> {
    within(text, 2, 300)
}

fn stop(text: &str) -> Result<Duration, String> {
    within(text, 5, 3_600)
}

fn within(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .filter(|seconds| (Duration::from_secs(least)..=Duration::from_secs(most)).contains(seconds))
        .ok_or_else(|| format!("expected whole seconds from {least} to {most}"))
}
