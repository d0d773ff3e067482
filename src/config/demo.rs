//! What `demo` can be told.

use std::path::PathBuf;

use clap::Args;

/// What `demo` can be told beside the settings of `serve`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Simulated network")]
pub struct DemoSettings {
    /// Agents in the simulated network
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
    /// Nodes
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub nodes: u32,
    /// MicroDAOs
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub microdaos: u32,
    /// Events per second
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub events_per_second: u32,
    /// Runs with one seed are alike
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// An upstream that misbehaves: `<service>=slow`, `=down` or `=garbage`; may be given several times
    #[arg(long = "fault", value_name = "SERVICE=FAULT")]
    pub faults: Vec<String>,
    /// Keep the database in this file instead of a temporary one
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
}
