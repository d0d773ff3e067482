//! Snapshots and replays that a shard has requested for its clients.
//!
//! Each request runs in a separate task: a source that computes, panics or hangs delays only the clients that wait
//! for it, not the shard.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::access::shares::{Client, QueueConfig, Queues, Served};
use crate::model::Cursor;
use crate::stream::context::StreamContext;
use crate::stream::layers::LayerSet;
use crate::stream::sources::{Replay, SnapshotJson};

/// Maximum number of concurrent replay requests of a shard. It bounds the batches held, however many clients lag.
const MAX_REPLAYS: u64 = 16;

/// Identifies a client of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId {
    /// Key in the shard's slab.
    pub key: usize,
    /// Distinguishes the client from a later one with the same key.
    pub serial: u64,
}

/// Clients that wait for snapshots. There is one request for each set of layers, however many clients wait for it.
#[derive(Default)]
pub struct PendingSnapshots {
    waiting: HashMap<LayerSet, Vec<ClientId>>,
    requests: FuturesUnordered<BoxFuture<'static, (LayerSet, Option<SnapshotJson>)>>,
}

impl PendingSnapshots {
    /// Adds a client that waits for a snapshot of `layers`, and requests the snapshot if the client is the first.
    pub fn request(&mut self, client: ClientId, layers: LayerSet, context: &StreamContext) {
        let waiting = self.waiting.entry(layers).or_default();
        waiting.push(client);
        if waiting.len() == 1 {
            let source = Arc::clone(&context.sources.snapshot);
            let snapshot = tokio::spawn(async move { source(layers).await });
            let snapshot = tokio::time::timeout(context.config.stall_timeout, snapshot);
            let request = async move { (layers, snapshot.await.ok().and_then(Result::ok)) };
            self.requests.push(request.boxed());
        }
    }

    /// The next finished request: the clients that waited for it, and the snapshot (`None` if it failed). Returns
    /// `None` if there is no request. Cancel safe.
    pub async fn next(&mut self) -> Option<(Vec<ClientId>, Option<SnapshotJson>)> {
        let (layers, snapshot) = self.requests.next().await?;
        Some((self.waiting.remove(&layers).unwrap_or_default(), snapshot))
    }
}

/// Clients that wait for replays, of which [`MAX_REPLAYS`] are requested at a time, in fair shares.
pub struct PendingReplays {
    queues: Queues<Client, (ClientId, Cursor)>,
    requests: FuturesUnordered<BoxFuture<'static, (Client, ClientId, Option<Replay>)>>,
}

impl Default for PendingReplays {
    fn default() -> Self {
        // bounded by the shard's clients, each of which waits for one replay
        let queue = QueueConfig { per_client: usize::MAX, clients: usize::MAX, ..QueueConfig::default() };
        Self { queues: Queues::new(MAX_REPLAYS, 1, queue), requests: FuturesUnordered::default() }
    }
}

impl PendingReplays {
    /// Adds a client that needs the frames after `position`, and shares replays as `owner`.
    pub fn enqueue(&mut self, owner: &Client, client: ClientId, position: Cursor) {
        // does not fail: the queues are not limited
        let _ = self.queues.push(owner, 1, (client, position));
    }

    /// Requests replays for queued clients up to the limit; clients that are no longer connected are dropped.
    pub fn request_queued(&mut self, context: &StreamContext, is_connected: impl Fn(ClientId) -> bool) {
        while let Some(Served { client: owner, item: (client, position), .. }) = self.queues.serve() {
            if !is_connected(client) {
                self.queues.release(&owner, 1);
                continue;
            }
            // without a timeout: the source has one
            let source = Arc::clone(&context.sources.replay);
            let replay = tokio::spawn(source(owner.clone(), position));
            self.requests.push(async move { (owner, client, replay.await.ok()) }.boxed());
        }
    }

    /// The next finished request: the client, and the result (`None` if the source panicked). Returns `None` if there
    /// is no request. Cancel safe.
    pub async fn next(&mut self) -> Option<(ClientId, Option<Replay>)> {
        let (owner, client, replay) = self.requests.next().await?;
        self.queues.release(&owner, 1);
        Some((client, replay))
    }
}
