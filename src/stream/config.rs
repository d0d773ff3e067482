//! Settings of the stream.

use std::time::Duration;

use crate::access::address::AddressQuota;

/// How much the shared ring holds. Whatever is reached first evicts the oldest frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Frames, at least 1. Default 65,536.
    pub max_frames: usize,
    /// Bytes of frames with what is kept about them. Default 64 MiB. The newest frame is kept even if it is larger.
    pub max_bytes: usize,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self { max_frames: 65_536, max_bytes: 64 * 1024 * 1024 }
    }
}

/// How clients are served.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Clients at once; one more is answered 503. Default 20,000.
    pub max_clients: usize,
    /// Clients at once from one address; one more is answered 503. Default: no limit.
    pub shares: AddressQuota,
    /// Tasks that own the sockets; 0 (the default) is one for each core.
    pub shards: usize,
    /// Origins whose pages may connect, as a browser sends them (`https://map.example.org`), beside the server's own;
    /// `*` is all. Default: none.
    pub allowed_origins: Vec<String>,
    /// What `Retry-After` says when the server is full. Default 5 s.
    pub retry_after: Duration,
    /// How long the switch from HTTP to WebSocket may take. Default 10 s.
    pub upgrade_timeout: Duration,
    /// A client that has sent no message for this long gets a `ping` frame, and again after each such interval. Up to a
    /// tenth earlier, so that clients that came together do not stay together. Default 30 s (as the service we replace).
    pub ping_interval: Duration,
    /// A client of server-sent events to which nothing was sent for this long gets a comment, for the proxies in between.
    /// Default 15 s.
    pub heartbeat_interval: Duration,
    /// A client that answers such a ping with nothing, not even a pong, for this long is gone. Default 20 s.
    pub pong_timeout: Duration,
    /// A client that does not take what is under way to it within this time is closed. Default 30 s.
    pub stall_timeout: Duration,
    /// The slowest link that is waited for, in bytes a second: a long snapshot adds its length, divided by this, to
    /// `stall_timeout`. It bounds how many old snapshots slow clients can keep alive. Default 16 KiB.
    pub min_bytes_per_second: usize,
    /// How long the other side may take to answer a close. Default 3 s.
    pub close_timeout: Duration,
    /// How often these deadlines are looked at. Default 1 s.
    pub tick: Duration,
    /// The longest message taken from a client, in bytes. Default 4 KiB.
    pub max_message_bytes: usize,
    /// Frames taken from one client in [`StreamConfig::rate_window`]; one more closes it. Default 200.
    pub max_client_frames: u32,
    /// The same for messages that could not be understood, each answered by an `error` frame. Default 20.
    pub max_bad_frames: u32,
    /// The window of the two limits above. Default 10 s.
    pub rate_window: Duration,
    /// The shortest time from one pass over a shard's clients to the next, so that a burst of events becomes few
    /// writes; the first event after a pause is never held back. Default 2 ms.
    pub coalesce: Duration,
    /// The most bytes of frames that are taken from the ring at a time. Default 256 KiB.
    pub batch_bytes: usize,
    /// The shortest time from one snapshot sent to a client to the next, for one that lags again and again.
    /// Default 1 s.
    pub resync_interval: Duration,
    /// Before a planned shutdown, clients are told to come back after a random time of at most this. Default 5 s.
    pub reconnect_spread: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_clients: 20_000,
            shares: AddressQuota::default(),
            shards: 0,
            allowed_origins: Vec::new(),
            retry_after: Duration::from_secs(5),
            upgrade_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(15),
            pong_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            min_bytes_per_second: 16 * 1024,
            close_timeout: Duration::from_secs(3),
            tick: Duration::from_secs(1),
            max_message_bytes: 4 * 1024,
            max_client_frames: 200,
            max_bad_frames: 20,
            rate_window: Duration::from_secs(10),
            coalesce: Duration::from_millis(2),
            batch_bytes: 256 * 1024,
            resync_interval: Duration::from_secs(1),
            reconnect_spread: Duration::from_secs(5),
        }
    }
}

impl StreamConfig {
    /// When a client is to come back after a shutdown, in milliseconds: at a random time, so that not all come at once.
    pub(super) fn reconnect_after_ms(&self) -> u64 {
        u64::try_from(self.reconnect_spread.mul_f64(rand::random::<f64>()).as_millis()).unwrap_or(u64::MAX)
    }
}
