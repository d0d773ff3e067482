//! Configuration of the ring buffer and of streaming clients.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::access::address::Networks;
use crate::config::defaults;
use crate::config::value::seconds;

/// Size of the shared ring buffer. The limit reached first evicts the oldest frames.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Snapshot and stream")]
pub struct HubConfig {
    /// Events kept in memory for clients that resume or lag.
    ///
    /// Beyond: clients that lag further are served by a replay.
    #[arg(id = "STREAM_RING_EVENTS", env, long = "stream-ring-events", default_value_t = 65_536,
        value_parser = RangedU64ValueParser::<usize>::new().range(16..=u32::MAX.into()))]
    pub max_frames: usize,
    /// Bytes of those events in memory. The newest event is kept even if it is larger.
    ///
    /// Beyond: clients that lag further are served by a replay.
    #[arg(id = "STREAM_RING_BYTES", env, long = "stream-ring-bytes", default_value_t = 64 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..))]
    pub max_bytes: usize,
}

impl Default for HubConfig {
    fn default() -> Self {
        defaults()
    }
}

/// Limits and timeouts of streaming clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Snapshot and stream")]
pub struct StreamConfig {
    /// Streaming clients at one time.
    ///
    /// Beyond: answered 503, counted as `streams`.
    #[arg(id = "STREAM_MAX_CLIENTS", env, long = "stream-max-clients", default_value_t = 50_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub max_clients: usize,
    /// Streaming clients at one time from one address.
    ///
    /// Beyond: answered 503, counted as `streams_address`.
    #[arg(id = "STREAM_MAX_CLIENTS_PER_ADDRESS", env, long = "stream-max-clients-per-address", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients_per_address: u32,
    /// Addresses without that limit.
    #[arg(skip)]
    pub unlimited: Networks,
    /// Tasks that own the sockets; 0 is one per core.
    #[arg(skip = 0_usize)]
    pub shards: usize,
    /// Origins whose pages may connect, as a browser sends them (`https://map.example.org`), in addition to the server's own;
    /// `*` is any.
    #[arg(skip)]
    pub allowed_origins: Vec<String>,
    /// Value of `Retry-After` when the server is full.
    #[arg(skip = Duration::from_secs(5))]
    pub retry_after: Duration,
    /// Longest time of the switch from HTTP to WebSocket.
    #[arg(skip = Duration::from_secs(10))]
    pub upgrade_timeout: Duration,
    /// A client that has sent no message for this long gets a `ping` frame, and again after each such interval. Up to a
    /// tenth earlier, so that clients that connected together do not stay in step. The default is that of the service this
    /// one replaces.
    #[arg(skip = Duration::from_secs(30))]
    pub ping_interval: Duration,
    /// Seconds without an event after which a client of server-sent events gets a comment, for the proxies in between.
    #[arg(id = "SSE_HEARTBEAT_SECONDS", env, long = "sse-heartbeat-seconds", default_value = "15", value_parser = seconds)]
    pub heartbeat_interval: Duration,
    /// A client that answers such a ping with nothing, not even a pong, for this long is disconnected.
    #[arg(skip = Duration::from_secs(20))]
    pub pong_timeout: Duration,
    /// Seconds for which a streaming client may read nothing before it is closed.
    ///
    /// Beyond: the stream is closed.
    #[arg(id = "STREAM_STALL_SECONDS", env, long = "stream-stall-seconds", default_value = "30", value_parser = seconds)]
    pub stall_timeout: Duration,
    /// Slowest supported link, in bytes per second: a long snapshot adds its length, divided by this, to `stall_timeout`. It
    /// bounds how many old snapshots slow clients can keep alive.
    #[arg(skip = 16_usize * 1024)]
    pub min_bytes_per_second: usize,
    /// Longest wait for the answer to a close.
    #[arg(skip = Duration::from_secs(3))]
    pub close_timeout: Duration,
    /// Interval of checking these deadlines.
    #[arg(skip = Duration::from_secs(1))]
    pub tick: Duration,
    /// Longest message accepted from a streaming client, in bytes.
    ///
    /// Beyond: the stream is closed.
    #[arg(id = "STREAM_MAX_MESSAGE_BYTES", env, long = "stream-max-message-bytes", default_value_t = 4 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(125..=1 << 20))]
    pub max_message_bytes: usize,
    /// Frames accepted from one client in [`StreamConfig::rate_window`]; one more closes it.
    #[arg(skip = 200_u32)]
    pub max_client_frames: u32,
    /// Invalid messages accepted likewise, each answered by an `error` frame.
    #[arg(skip = 20_u32)]
    pub max_bad_frames: u32,
    /// Window of the two limits above.
    #[arg(skip = Duration::from_secs(10))]
    pub rate_window: Duration,
    /// Shortest time from one pass over a shard's clients to the next, so that a burst of events becomes few writes; the
    /// first event after a pause is never delayed.
    #[arg(skip = Duration::from_millis(2))]
    pub coalesce: Duration,
    /// Bytes of frames read from the ring buffer at a time, at most.
    #[arg(skip = 256_usize * 1024)]
    pub batch_bytes: usize,
    /// Shortest time from one snapshot sent to a client to the next, for one that lags repeatedly.
    #[arg(skip = Duration::from_secs(1))]
    pub resync_interval: Duration,
    /// Longest random delay after which clients are asked to reconnect, before a planned shutdown.
    #[arg(skip = Duration::from_secs(5))]
    pub reconnect_spread: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        defaults()
    }
}

impl StreamConfig {
    /// When a client is to come back after a shutdown, in milliseconds: at a random time, so that not all come at once.
    pub(super) fn reconnect_after_ms(&self) -> u64 {
        u64::try_from(self.reconnect_spread.mul_f64(rand::random::<f64>()).as_millis()).unwrap_or(u64::MAX)
    }
}
