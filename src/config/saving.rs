//! Saved snapshots and time travel.

use clap::Args;
use clap::builder::RangedU64ValueParser;

/// Saved snapshots and time travel.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Saved snapshots and time travel")]
pub struct Saving {
    /// Minutes after which the map is saved again, if there were events; it is saved at the end too
    #[arg(long, env = "SNAPSHOT_SAVE_MINUTES", value_name = "SNAPSHOT_SAVE_MINUTES", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1_440))]
    pub snapshot_save_minutes: u32,

    /// Events after which the map is saved sooner, though not twice in ten seconds
    #[arg(long, env = "SNAPSHOT_SAVE_EVENTS", value_name = "SNAPSHOT_SAVE_EVENTS", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub snapshot_save_events: u32,

    /// Events between two saved maps that are kept: where more happens than one a day would do, more of them stay. A
    /// moment of the past costs folding those behind the map before it
    #[arg(long, env = "SNAPSHOT_KEEP_EVENTS", value_name = "SNAPSHOT_KEEP_EVENTS", default_value_t = 20_000,
        value_parser = clap::value_parser!(u32).range(1_000..))]
    pub snapshot_keep_events: u32,

    /// Maps of the past made at one time; further requests wait
    #[arg(long, env = "TIME_TRAVEL_CONCURRENCY", value_name = "TIME_TRAVEL_CONCURRENCY", default_value_t = 2,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub time_travel_concurrency: usize,
}
