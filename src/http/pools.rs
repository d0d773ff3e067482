//! Pools that clients share: queries of the database, memory for request bodies, and those of other modules.

use std::time::Duration;

use tokio::time::Instant;

use super::config::HttpConfig;
use super::error::{DEFAULT_RETRY_AFTER, Problem};
use crate::access::shares::{Client, Full, Pool, PoolUse, Slot};

/// Pools that clients share.
#[derive(Debug, Clone)]
pub struct HttpPools {
    wait: Duration,
    queries: Pool,
    bodies: Pool,
    others: Vec<Pool>,
}

impl HttpPools {
    /// Pools of queries and bodies, without any slot in use, beside `others`, whose use is reported with theirs.
    #[must_use]
    pub fn new(config: &HttpConfig, others: Vec<Pool>) -> Self {
        let HttpConfig { queue, queries, max_body_bytes, .. } = *config;
        // one client's largest body leaves room for another's
        let bytes = config.bodies_bytes.max(max_body_bytes.saturating_mul(2));
        Self {
            wait: queue.wait,
            queries: Pool::new("queries", queries, queue),
            bodies: Pool::of_bytes("bodies", bytes, max_body_bytes, queue),
            others,
        }
    }

    /// Use of each pool.
    pub fn usage(&self) -> impl Iterator<Item = PoolUse> {
        [&self.queries, &self.bodies].into_iter().chain(&self.others).map(Pool::usage)
    }

    /// Room for a request body of `bytes`, held until the slot is dropped.
    ///
    /// # Errors
    /// 503: too many requests wait, or there was no room in time.
    pub async fn body(&self, client: Client, bytes: usize) -> Result<Slot, Problem> {
        let slot = self.bodies.acquire_many(client, bytes, Instant::now() + self.wait).await;
        slot.map_err(|full| unavailable(full, "the memory for request bodies is in use"))
    }

    /// A slot for a query of the database.
    ///
    /// # Errors
    /// 503: too many requests wait, or no slot became free in time.
    pub async fn query(&self, client: Client) -> Result<Slot, Problem> {
        let slot = self.queries.acquire(client, Instant::now() + self.wait).await;
        slot.map_err(|full| unavailable(full, "the database answers other requests"))
    }
}

fn unavailable(full: Full, busy: &str) -> Problem {
    Problem::unavailable(format!("{busy}: {full}"), DEFAULT_RETRY_AFTER)
}
