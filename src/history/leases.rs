//! Leases: a name that one process holds for a time. The time is measured by the database's clock, so that the clocks of the
//! replicas need not agree.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Result;

/// The state of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The caller holds it.
    pub held: bool,
    /// Fencing token. It is incremented when the holder changes, and when a holder acquires the lease again after it
    /// expired: of two processes that believe to hold the lease, the one with the higher token does.
    pub token: u64,
    /// The note of the current or last holder.
    pub note: String,
}

/// Proof of leadership for a write, which fails once a later leader has acquired the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Name of the lease.
    pub lease: &'static str,
    /// Fencing token; `None` where there can be no other process.
    pub token: Option<u64>,
}

/// Lease store. Methods may be called from any task, one call at a time for each name and holder.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Acquires or renews the lease `name` for `holder`, until `ttl` from now, and stores `note` with it. A lease of another
    /// holder that has not expired is left unchanged.
    async fn acquire(&self, name: &str, holder: Uuid, ttl: Duration, note: &str) -> Result<Lease>;

    /// Ends the lease with this token, so that others can acquire it at once; false if it expired or has another token.
    async fn release(&self, name: &str, token: u64) -> Result<bool>;
}
