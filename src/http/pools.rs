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
    parsed: Pool,
    parsed_bytes: usize,
    others: Vec<Pool>,
}

impl HttpPools {
    /// Pools of queries and bodies, also as parsed, without any slot in use, beside `others`, whose use is reported with theirs.
    #[must_use]
    pub fn new(config: &HttpConfig, others: Vec<Pool>) -> Self {
        let HttpConfig { queue, queries, max_body_bytes, .. } = *config;
        // one client's largest body leaves room for another's
        let bytes = config.bodies_bytes.max(max_body_bytes.saturating_mul(2));
        Self {
            wait: queue.wait,
            queries: Pool::new("queries", queries, queue),
            bodies: Pool::of_bytes("bodies", bytes, max_body_bytes, queue),
            parsed: Pool::of_bytes("parsed_bodies", config.parsed_bytes, config.parsed_bytes / 2, queue),
            parsed_bytes: config.parsed_bytes / 2,
            others,
        }
    }

    /// Use of each pool.
    pub fn usage(&self) -> impl Iterator<Item = PoolUse> {
        [&self.queries, &self.bodies, &self.parsed].into_iter().chain(&self.others).map(Pool::usage)
    }

    /// Room for a request body of `bytes`, held until the slot is dropped.
    ///
    /// # Errors
    /// 503: too many requests wait, or there was no room in time.
    pub async fn body(&self, client: Client, bytes: usize) -> Result<Slot, Problem> {
        let slot = self.bodies.acquire_many(client, bytes, Instant::now() + self.wait).await;
        slot.map_err(|full| unavailable(full, "the memory for request bodies is in use"))
    }

    /// Room for the values of a request body, about `bytes` of memory, held until the slot is dropped.
    ///
    /// # Errors
    /// 413: more than one body may take. 503: too many requests wait, or there was no room in time.
    pub async fn parsed_body(&self, client: Client, bytes: usize) -> Result<Slot, Problem> {
        if bytes > self.parsed_bytes {
            let limit = format_args!("{} bytes of memory for its JSON values", self.parsed_bytes);
            return Err(Problem::too_large(limit));
        }
        let slot = self.parsed.acquire_many(client, bytes, Instant::now() + self.wait).await;
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
