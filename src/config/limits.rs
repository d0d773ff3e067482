//! What a request may be.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::value::seconds;

/// What a request may be.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// The largest request body, in bytes
    #[arg(long, env = "MAX_BODY_BYTES", value_name = "MAX_BODY_BYTES", default_value_t = 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 30))]
    pub max_body_bytes: usize,

    /// The most events in one POST
    #[arg(long, env = "MAX_BATCH_EVENTS", value_name = "MAX_BATCH_EVENTS", default_value_t = 1_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub max_batch_events: usize,

    /// Entities that events may bring to the map; beyond, events about new ones are recorded and change nothing, and
    /// only what the services list is taken in. The same for all servers of one log
    #[arg(long, env = "MAX_ENTITIES", value_name = "MAX_ENTITIES", default_value_t = 200_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000_000))]
    pub max_entities: usize,

    /// Seconds that a request may take
    #[arg(long = "request-timeout-seconds", env = "REQUEST_TIMEOUT_SECONDS", value_name = "REQUEST_TIMEOUT_SECONDS", default_value = "30", value_parser = seconds)]
    pub request_timeout: Duration,
}
