//! The limits of the HTTP side.

use std::time::Duration;

use crate::access::address::AddressQuota;

/// Every limit of the HTTP side. All of them hold for one server process.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Connections that speak HTTP at a time; more wait in the kernel's accept queue. A connection that became a
    /// stream no longer counts here, streams have their own limit.
    pub max_connections: usize,
    /// The same for each address; more are closed at once. Streams do not count here either.
    pub connection_shares: AddressQuota,
    /// How long a connection may take to send the head of its next request, idle time included. Longer than the 60 s
    /// after which common load balancers drop an idle connection, so that it is they who close first.
    pub idle_timeout: Duration,
    /// Bytes of a request's line and headers together; more is answered 431.
    pub max_head_bytes: usize,
    /// Headers of one request; more is answered 431.
    pub max_headers: usize,
    /// Bytes of a request's path and query; more is answered 414.
    pub max_uri_bytes: usize,
    /// Whether those without a token get a reduced snapshot, where tokens are asked for.
    pub public_snapshot: bool,
    /// Bytes of a request's body; more is answered 413.
    pub max_body_bytes: usize,
    /// How long a request's body may take to arrive; longer is answered 408.
    pub body_timeout: Duration,
    /// Events in one `POST /living-map/events`; more is answered 413.
    pub max_batch: usize,
    /// The longest time for which alerts can be silenced, in minutes.
    pub max_silence_minutes: u32,
    /// How long the answer to a request may take, its body's arrival included; longer is answered 503.
    pub request_timeout: Duration,
    /// How long `?fresh=true` waits for the upstreams and for the map to show what they said; then the newest snapshot
    /// there is goes out. Must be shorter than `request_timeout`.
    pub fresh_timeout: Duration,
    /// How long `/living-map/ready` waits for each dependency, and `POST` for the record to say what it has already.
    pub probe_timeout: Duration,
    /// How long a client that resumes, coming from a server that is ahead of this one, waits for it.
    pub catch_up_timeout: Duration,
    /// What `Retry-After` says when a dependency is away. Whole seconds.
    pub retry_after: Duration,
    /// How long requests under way may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// Origins (`https://map.example.org`) whose pages may read answers, or `*` for any. Empty: no CORS headers.
    pub cors_origins: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            connection_shares: AddressQuota::default(),
            idle_timeout: Duration::from_secs(75),
            max_head_bytes: 32 * 1024,
            max_headers: 100,
            max_uri_bytes: 8 * 1024,
            public_snapshot: false,
            max_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            max_batch: 1_000,
            max_silence_minutes: 30 * 24 * 60,
            request_timeout: Duration::from_secs(30),
            fresh_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(1),
            catch_up_timeout: Duration::from_secs(3),
            retry_after: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            cors_origins: Vec::new(),
        }
    }
}
