//! Configuration of the HTTP server.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::base_path::base_path;
use crate::access::address::Networks;
use crate::access::base_path::BasePath;
use crate::access::host::AllowedHost;
use crate::access::shares::QueueConfig;
use crate::alerts::AlertingConfig;
use crate::config::defaults;
use crate::config::value::{origin, seconds};
use crate::model::Compatibility;

/// Limits and timeouts of the HTTP server. All of them hold for one server process.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct HttpConfig {
    /// Origins (`https://map.example.org`) whose pages may read the API, open streams and send requests that change
    /// something, in addition to the server's own; separated by commas. `*` is any, for changes only with a token.
    #[arg(id = "ALLOWED_ORIGINS", env, long = "allowed-origins", value_delimiter = ',', value_parser = origin,
        help_heading = "Access")]
    pub cors_origins: Vec<String>,
    /// Host names under which requests without a token may address this server, without scheme and port; separated by commas,
    /// `*.example.org` is every name below it. Addresses, `localhost` and names without a dot are always accepted, another
    /// `Host` is answered 421.
    #[arg(id = "ALLOWED_HOSTS", env, long = "allowed-hosts", value_delimiter = ',', help_heading = "Access")]
    pub allowed_hosts: Vec<AllowedHost>,
    /// Path under which a proxy serves this server, such as `/map`. Requests are accepted with and without it, so the proxy
    /// may remove it or not; links in responses begin with it. No path of a route, such as `/docs`.
    #[arg(id = "BASE_PATH", env, long = "base-path", default_value = "", help_heading = "Listening",
        value_parser = base_path)]
    pub base_path: BasePath,
    /// Largest request body, in bytes.
    ///
    /// Beyond: answered 413, counted as `body`.
    #[arg(id = "MAX_BODY_BYTES", env, long = "max-body-bytes", default_value_t = 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 30))]
    pub max_body_bytes: usize,
    /// Bytes of the items on one page of a list, which has at least one item.
    ///
    /// Beyond: the page ends, with `has_more` and the header `X-Living-Map-Cut`.
    #[arg(id = "MAX_PAGE_BYTES", env, long = "max-page-bytes", default_value_t = 16 << 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 30))]
    pub max_page_bytes: usize,
    /// Bytes of memory for request bodies that are arriving or being processed, at least twice `MAX_BODY_BYTES`.
    /// One client's bodies take at most all of it but `MAX_BODY_BYTES`.
    ///
    /// Beyond: the request waits for its share; after `POOL_WAIT_SECONDS` it is answered 503, counted in
    /// `living_map_pool_refused_total`.
    #[arg(id = "MAX_BODIES_BYTES", env, long = "max-bodies-bytes", default_value_t = 32 * 1024 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(1_024..=1 << 36))]
    pub bodies_bytes: usize,
    /// Bytes of memory for the JSON values of request bodies that are being processed, which may take a hundred times the
    /// body: estimated from its text before it is parsed. One body takes at most half of it, and so do one client's.
    ///
    /// Beyond: a body that alone exceeds half of it is answered 413, counted as `body`; otherwise the request waits for its
    /// share, and after `POOL_WAIT_SECONDS` is answered 503, counted in `living_map_pool_refused_total`.
    #[arg(id = "MAX_PARSED_BODIES_BYTES", env, long = "max-parsed-bodies-bytes", default_value_t = 256 << 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1 << 20..=1 << 36))]
    pub parsed_bytes: usize,
    /// `GET` requests that query the database at one time; further ones wait.
    #[arg(skip = 7_usize)]
    pub queries: usize,
    /// Waiting requests.
    #[arg(skip)]
    pub queue: QueueConfig,
    /// Events in one POST.
    ///
    /// Beyond: answered 413, counted as `body`.
    #[arg(id = "MAX_BATCH_EVENTS", env, long = "max-batch-events", default_value_t = 1_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub max_batch: usize,
    /// HTTP connections at one time, streams not included. One address (IPv6: a /64 network) has at most all but one of
    /// them, also if it is in `UNLIMITED_ADDRESSES` or `TRUSTED_PROXIES`.
    ///
    /// Beyond: the connection that has been without a request for the longest time is closed, counted as
    /// `connections_idle`; where all have one, the new one is served by `RESERVED_CONNECTIONS`, counted as
    /// `connections`, or beyond an address's share as `connections_share`.
    #[arg(id = "MAX_CONNECTIONS", env, long = "max-connections", default_value_t = 20_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_connections: usize,
    /// HTTP connections beyond `MAX_CONNECTIONS`, which are answered on `/living-map/health` and `/living-map/ready`, and 503
    /// elsewhere; also the number of connections of `METRICS_BIND`.
    ///
    /// Beyond: answered 503 and closed at once, counted as `connections_reserved`.
    #[arg(id = "RESERVED_CONNECTIONS", env, long = "reserved-connections", default_value_t = 16,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    pub reserved_connections: usize,
    /// HTTP connections at one time from one address, streams not included.
    ///
    /// Beyond: answered 503 and closed at once, counted as `connections_address`.
    #[arg(id = "MAX_CONNECTIONS_PER_ADDRESS", env, long = "max-connections-per-address", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_address: u32,
    /// Addresses without that limit.
    #[arg(skip)]
    pub unlimited: Networks,
    /// If true, pages of any origin may read the prototype's routes.
    #[arg(skip)]
    pub compatibility: Compatibility,
    /// Bytes of a request's line and headers.
    ///
    /// Beyond: answered 431, counted as `head`.
    #[arg(id = "MAX_HEAD_BYTES", env, long = "max-head-bytes", default_value_t = 32 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(8_192..=1 << 20))]
    pub max_head_bytes: usize,
    /// Headers of a request.
    ///
    /// Beyond: answered 431, counted as `head`.
    #[arg(id = "MAX_HEADERS", env, long = "max-headers", default_value_t = 100,
        value_parser = RangedU64ValueParser::<usize>::new().range(10..=1_000))]
    pub max_headers: usize,
    /// Bytes of a request's path and query.
    ///
    /// Beyond: answered 414, counted as `uri`.
    #[arg(id = "MAX_URI_BYTES", env, long = "max-uri-bytes", default_value_t = 8 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(256..=65_536))]
    pub max_uri_bytes: usize,
    /// Bytes of responses in flight: being computed, or not yet written to their sockets. A client (token, else address) holds
    /// at most as much as it leaves free; further requests wait. At least ten times the size of the snapshot is advisable;
    /// what responses share counts once.
    ///
    /// Beyond: answered 503, counted as `response_bytes`.
    #[arg(id = "MAX_RESPONSE_BYTES_IN_FLIGHT", env, long = "max-response-bytes-in-flight", default_value_t = 256 << 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1 << 20..))]
    pub max_response_bytes: usize,
    /// Seconds for which a connection may be open without a request. Longer than the 60 s after which common load balancers
    /// close an idle connection, so that they close it first.
    ///
    /// Beyond: the connection is closed.
    #[arg(id = "IDLE_TIMEOUT_SECONDS", env, long = "idle-timeout-seconds", default_value = "75", value_parser = seconds)]
    pub idle_timeout: Duration,
    /// Seconds in which a request's head must be complete after its first byte, at most `IDLE_TIMEOUT_SECONDS`.
    ///
    /// Beyond: answered 408 and closed, counted as `head_time`.
    #[arg(id = "HEAD_TIMEOUT_SECONDS", env, long = "head-timeout-seconds", default_value = "10", value_parser = seconds)]
    pub head_timeout: Duration,
    /// Seconds for which the server discards what a client sends after a malformed request: closing a connection with
    /// unread bytes can lose the answer.
    ///
    /// Beyond: the connection is closed.
    #[arg(id = "MALFORMED_DISCARD_SECONDS", env, long = "malformed-discard-seconds", default_value = "1",
        value_parser = seconds)]
    pub discard_timeout: Duration,
    /// Seconds in which the head must be complete on a connection beyond `MAX_CONNECTIONS`.
    #[arg(id = "RESERVED_HEAD_TIMEOUT_SECONDS", env, long = "reserved-head-timeout-seconds", default_value = "2",
        value_parser = seconds)]
    pub reserved_head_timeout: Duration,
    /// Seconds in which a request's body must be complete.
    ///
    /// Beyond: answered 408, counted as `body_time`.
    #[arg(id = "BODY_TIMEOUT_SECONDS", env, long = "body-timeout-seconds", default_value = "10", value_parser = seconds)]
    pub body_timeout: Duration,
    /// Seconds that a request may take, the arrival of its body included.
    ///
    /// Beyond: answered 503, counted in `living_map_http_requests_total`.
    #[arg(id = "REQUEST_TIMEOUT_SECONDS", env, long = "request-timeout-seconds", default_value = "30",
        value_parser = seconds)]
    pub request_timeout: Duration,
    /// Slowest average rate at which a client may read a response, in bytes per second; time in which the server has nothing
    /// to write does not count. Streams have `STREAM_STALL_SECONDS` instead.
    ///
    /// Beyond: the connection of a client that is `RESPONSE_STALL_SECONDS` behind is closed, counted as
    /// `response_rate`.
    #[arg(id = "MIN_RESPONSE_BYTES_PER_SECOND", env, long = "min-response-bytes-per-second", default_value_t = 1_024,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub min_response_bytes_per_second: u32,
    /// Seconds that a client may be behind that rate before its connection is closed. The kernels on both sides move bytes
    /// in steps of up to 128 KiB, so a client shows no progress for a while although it reads.
    #[arg(id = "RESPONSE_STALL_SECONDS", env, long = "response-stall-seconds", default_value = "60",
        value_parser = seconds)]
    pub response_stall_timeout: Duration,
    /// Returns a reduced snapshot to callers without a token, where tokens are required.
    #[arg(skip = false)]
    pub public_snapshot: bool,
    /// Longest time for which alerts can be silenced, in minutes.
    #[arg(skip = AlertingConfig::default().max_silence_minutes)]
    pub max_silence_minutes: u32,
    /// Longest wait of `?fresh=true` for the upstreams and for the map to show their data; then the newest snapshot is sent.
    /// Must be shorter than `request_timeout`.
    #[arg(skip = Duration::from_secs(10))]
    pub fresh_timeout: Duration,
    /// Longest wait of `/living-map/ready` for each dependency, and of `POST` for the history to find known ids.
    #[arg(skip = Duration::from_secs(1))]
    pub probe_timeout: Duration,
    /// Longest wait of a client that resumes at a position which this replica has not reached yet.
    #[arg(skip = Duration::from_secs(3))]
    pub catch_up_timeout: Duration,
    /// Value of `Retry-After` when a dependency is unavailable. Whole seconds.
    #[arg(skip = Duration::from_secs(5))]
    pub retry_after: Duration,
    /// Longest time of running requests after a stop signal.
    #[arg(skip = Duration::from_secs(10))]
    pub drain_timeout: Duration,
}

impl HttpConfig {
    /// Bytes reserved for a large answer before it is computed: twice the largest page, as rows and as JSON.
    #[must_use]
    pub const fn reserved_bytes(&self) -> usize {
        self.max_page_bytes.saturating_mul(2)
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        defaults()
    }
}
