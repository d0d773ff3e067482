//! Snapshot and stream.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::value::seconds;

/// Snapshot and stream.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Snapshot and stream")]
pub struct Streaming {
    /// Milliseconds for which the bytes of a snapshot are served before they are built anew
    #[arg(long, env = "SNAPSHOT_INTERVAL_MS", value_name = "SNAPSHOT_INTERVAL_MS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub snapshot_interval_ms: u64,

    /// Events kept in memory for clients that resume or lag
    #[arg(long, env = "STREAM_RING_EVENTS", value_name = "STREAM_RING_EVENTS", default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(16..))]
    pub stream_ring_events: u32,

    /// Bytes that those events may take
    #[arg(long, env = "STREAM_RING_BYTES", value_name = "STREAM_RING_BYTES", default_value_t = 64 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..))]
    pub stream_ring_bytes: usize,

    /// Events behind the newest from which a client that was away is still given each one
    #[arg(long, env = "STREAM_REPLAY_EVENTS", value_name = "STREAM_REPLAY_EVENTS", default_value_t = 1_000_000)]
    pub stream_replay_events: u64,

    /// Bytes of such events that are kept for clients that come after
    #[arg(long, env = "STREAM_REPLAY_BYTES", value_name = "STREAM_REPLAY_BYTES", default_value_t = 64 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..))]
    pub stream_replay_bytes: usize,

    /// Folds that make such events at one time; further clients wait
    #[arg(long, env = "STREAM_REPLAY_CONCURRENCY", value_name = "STREAM_REPLAY_CONCURRENCY", default_value_t = 2,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub stream_replay_concurrency: usize,

    /// Streaming clients at one time; the next one is answered 503
    #[arg(long, env = "STREAM_MAX_CLIENTS", value_name = "STREAM_MAX_CLIENTS", default_value_t = 50_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub stream_max_clients: usize,

    /// The same for one address
    #[arg(long, env = "STREAM_MAX_CLIENTS_PER_ADDRESS", value_name = "STREAM_MAX_CLIENTS_PER_ADDRESS", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub stream_max_clients_per_address: u32,

    /// The longest message taken from a streaming client, in bytes; a longer one ends the stream
    #[arg(long, env = "STREAM_MAX_MESSAGE_BYTES", value_name = "STREAM_MAX_MESSAGE_BYTES", default_value_t = 4 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(125..=1 << 20))]
    pub stream_max_message_bytes: usize,

    /// Seconds without anything to say after which a client of server-sent events gets a comment
    #[arg(long = "sse-heartbeat-seconds", env = "SSE_HEARTBEAT_SECONDS", value_name = "SSE_HEARTBEAT_SECONDS", default_value = "15", value_parser = seconds)]
    pub sse_heartbeat: Duration,

    /// Seconds for which a streaming client may take nothing before it is closed
    #[arg(long = "stream-stall-seconds", env = "STREAM_STALL_SECONDS", value_name = "STREAM_STALL_SECONDS", default_value = "30", value_parser = seconds)]
    pub stream_stall: Duration,
}
