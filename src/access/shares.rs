//! Fair shares of bounded resources: computations, bytes of memory, outstanding tickets.
//!
//! A [`Pool`] has a number of slots. A [`Client`] holds at most all but one of them (of a pool of one, that one), so that
//! another client finds a slot. Requests that find none wait in a queue of their client; the queues are served in turn.
//! One client's thousand requests therefore delay another client's by one of them, not by a thousand.
//!
//! | part | content |
//! |---|---|
//! | `client` | the token, else the address |
//! | `queues` | which request is served next: no I/O, no clock |
//! | `pool` | waiting, slots that return themselves, metrics |

mod client;
mod pool;
mod queues;

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::config::defaults;
use crate::config::value::seconds;

pub use client::Client;
pub use pool::{Full, Pool, PoolUse, Slot};
pub use queues::{QueueFull, Queues, Served, Usage};

/// Requests that may wait for a slot of a pool. The numbers hold for each pool.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Limits")]
pub struct QueueConfig {
    /// Requests of one client (a token, else an address; IPv6: a /64 network) that wait for a slot of a pool at one time.
    ///
    /// Beyond: answered 503, counted in `living_map_pool_refused_total`.
    #[arg(id = "POOL_QUEUE_PER_CLIENT", env, long = "pool-queue-per-client", default_value_t = 100,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub per_client: usize,
    /// Clients that wait for a slot of a pool at one time.
    ///
    /// Beyond: answered 503, counted in `living_map_pool_refused_total`.
    #[arg(id = "POOL_WAITING_CLIENTS", env, long = "pool-waiting-clients", default_value_t = 1_000,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub clients: usize,
    /// Longest wait of a request for a slot of a pool, in seconds. Time travel waits and
    /// computes for up to 20 s instead.
    ///
    /// Beyond: answered 503, counted in `living_map_pool_refused_total`.
    #[arg(id = "POOL_WAIT_SECONDS", env, long = "pool-wait-seconds", default_value = "10", value_parser = seconds)]
    pub wait: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        defaults()
    }
}
