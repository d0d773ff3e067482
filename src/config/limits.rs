//! What a request may be.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use ipnet::IpNet;

use super::value::{network, seconds};

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

    /// Requests a second of one address, and of one token, over ten seconds; 0 is any number
    #[arg(long, env = "REQUESTS_PER_SECOND", value_name = "REQUESTS_PER_SECOND", default_value_t = 1_000)]
    pub requests_per_second: u32,

    /// Events that one address, and one token, may publish a second, over ten seconds; 0 is any number
    #[arg(long, env = "PUBLISHED_PER_SECOND", value_name = "PUBLISHED_PER_SECOND", default_value_t = 10_000)]
    pub published_per_second: u32,

    /// Tokens that are not taken of one address a minute, before it is asked to wait; 0 is any number
    #[arg(long, env = "AUTH_FAILURES_PER_MINUTE", value_name = "AUTH_FAILURES_PER_MINUTE", default_value_t = 60)]
    pub auth_failures_per_minute: u32,

    /// Addresses and networks that no limit by address holds for, separated by commas
    #[arg(long, env = "UNLIMITED_ADDRESSES", value_name = "UNLIMITED_ADDRESSES", default_value = "127.0.0.0/8,::1", value_delimiter = ',', value_parser = network)]
    pub unlimited_addresses: Vec<IpNet>,

    /// Proxies whose X-Forwarded-For says where a request comes from, separated by commas
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,

    /// Connections at one time, streams not counted; more wait
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "MAX_CONNECTIONS", default_value_t = 20_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_connections: usize,

    /// The same for one address; more are closed at once
    #[arg(long, env = "MAX_CONNECTIONS_PER_ADDRESS", value_name = "MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_address: u32,

    /// Bytes of a request's line and headers; more is answered 431
    #[arg(long, env = "MAX_HEAD_BYTES", value_name = "MAX_HEAD_BYTES", default_value_t = 32 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(8_192..=1 << 20))]
    pub max_head_bytes: usize,

    /// Headers of a request; more is answered 431
    #[arg(long, env = "MAX_HEADERS", value_name = "MAX_HEADERS", default_value_t = 100,
        value_parser = RangedU64ValueParser::<usize>::new().range(10..=1_000))]
    pub max_headers: usize,

    /// Bytes of a request's path and query; more is answered 414
    #[arg(long, env = "MAX_URI_BYTES", value_name = "MAX_URI_BYTES", default_value_t = 8 * 1024,
        value_parser = RangedU64ValueParser::<usize>::new().range(256..=65_536))]
    pub max_uri_bytes: usize,

    /// Seconds in which the head of a connection's next request must be complete, idle time included
    #[arg(long = "idle-timeout-seconds", env = "IDLE_TIMEOUT_SECONDS", value_name = "IDLE_TIMEOUT_SECONDS", default_value = "75", value_parser = seconds)]
    pub idle_timeout: Duration,

    /// Seconds in which a request's body must be there; longer is answered 408
    #[arg(long = "body-timeout-seconds", env = "BODY_TIMEOUT_SECONDS", value_name = "BODY_TIMEOUT_SECONDS", default_value = "10", value_parser = seconds)]
    pub body_timeout: Duration,

    /// Tickets for streams that are outstanding at one time
    #[arg(long, env = "MAX_TICKETS", value_name = "MAX_TICKETS", default_value_t = 10_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub max_tickets: usize,

    /// Seconds that a request may take
    #[arg(long = "request-timeout-seconds", env = "REQUEST_TIMEOUT_SECONDS", value_name = "REQUEST_TIMEOUT_SECONDS", default_value = "30", value_parser = seconds)]
    pub request_timeout: Duration,
}
