//! A request for a slot, in which a fold runs, beside waiting for other folds.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::access::shares::{Client, Full, Pool, Slot};

/// A request for a slot of a pool that keeps its place in the queue while its owner does something else.
pub struct SlotRequest<'a> {
    pool: &'a Pool,
    client: &'a Client,
    deadline: Instant,
    waiting: Option<BoxFuture<'a, Result<Slot, Full>>>,
    slot: Option<Slot>,
}

impl<'a> SlotRequest<'a> {
    /// A request that does not wait yet; it will until `limit` has passed.
    pub fn new(pool: &'a Pool, client: &'a Client, limit: Duration) -> Self {
        Self { pool, client, deadline: Instant::now() + limit, waiting: None, slot: None }
    }

    /// Starts to wait, unless it does.
    pub fn request(&mut self) {
        if self.waiting.is_none() && self.slot.is_none() {
            self.waiting = Some(Box::pin(self.pool.acquire(self.client.clone(), self.deadline)));
        }
    }

    /// Leaves the queue and returns the slot.
    pub fn cancel(&mut self) {
        self.waiting = None;
        self.slot = None;
    }

    /// Returns true if there is a slot.
    pub const fn is_granted(&self) -> bool {
        self.slot.is_some()
    }

    /// The slot, if there is one.
    pub fn take(&mut self) -> Option<Slot> {
        self.slot.take()
    }

    /// Completes when the slot is granted; never if none is requested. Cancel safe.
    ///
    /// # Errors
    /// See [`Pool::acquire`].
    pub async fn granted(&mut self) -> Result<(), Full> {
        let Some(waiting) = &mut self.waiting else { return std::future::pending().await };
        let granted = waiting.await;
        self.waiting = None;
        self.slot = Some(granted?);
        Ok(())
    }
}
