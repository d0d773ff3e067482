//! The handle on all streaming clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::StreamConfig;
use super::filter::{Guest, LayerSet, StreamOptions};
use super::handshake::{self, UpgradeError};
use super::hub::Hub;
use super::io::Io;
use super::replay::ReplaySource;
use super::shard::{NEWCOMERS_AT_ONCE, Newcomer, Shard};
use super::sse;
use crate::access::address::AddressPermit;
use crate::model::Cursor;

/// A snapshot as JSON, and the position it is exact at.
#[derive(Debug, Clone)]
pub struct SnapshotJson {
    /// The position.
    pub cursor: Cursor,
    /// The JSON, shared by all who get it.
    pub json: Bytes,
}

/// Gives a snapshot of some layers. It should hand out the same bytes for a while (see
/// [`StreamConfig::min_bytes_per_second`] on what that bounds), and they should be no older than the ring is long.
pub type SnapshotSource = Arc<dyn Fn(LayerSet) -> BoxFuture<'static, SnapshotJson> + Send + Sync>;

/// Where clients get what the ring has not.
#[derive(Clone)]
pub struct Sources {
    /// The map as it is, for those who begin, and for those who cannot go on.
    pub snapshot: SnapshotSource,
    /// What the ring has left behind, for those who can.
    pub replay: ReplaySource,
}

/// All streaming clients. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    shared: sse::Shared,
    clients: Arc<AtomicUsize>,
    next_shard: AtomicUsize,
    shards: Vec<mpsc::Sender<Newcomer>>,
    tasks: TaskTracker,
}

/// One client's place among [`StreamConfig::max_clients`] and those of its address, given back when dropped.
#[derive(Debug)]
pub struct Place {
    clients: Arc<AtomicUsize>,
    transport: Transport,
    _share: Option<AddressPermit>,
    until: Option<Instant>,
}

/// How a client is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket.
    WebSocket,
    /// Server-sent events.
    Sse,
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

impl Place {
    fn take(clients: &Arc<AtomicUsize>, config: &StreamConfig, transport: Transport, guest: Guest) -> Option<Self> {
        let refused = |limit: &'static str| counter!("living_map_limits_refused_total", "limit" => limit).increment(1);
        let share = guest.address.map(|address| config.shares.take(address));
        if matches!(share, Some(None)) {
            refused("streams_address");
            return None;
        }
        let more = |now: usize| (now < config.max_clients).then_some(now + 1);
        if clients.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            refused("streams");
            return None;
        }
        gauge!("living_map_stream_clients", "transport" => transport.as_str()).increment(1.0);
        Some(Self { clients: Arc::clone(clients), transport, _share: share.flatten(), until: guest.until })
    }

    /// When its client has to go, since its token expires.
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.fetch_sub(1, Ordering::AcqRel);
        gauge!("living_map_stream_clients", "transport" => self.transport.as_str()).decrement(1.0);
    }
}

impl Streams {
    /// Starts the shards on the current tokio runtime. When `shutdown` is cancelled, clients are told to come back, and
    /// closed; [`Streams::closed`] waits for that.
    #[must_use]
    pub fn start(config: StreamConfig, hub: &Arc<Hub>, sources: &Sources, shutdown: CancellationToken) -> Self {
        let config = Arc::new(config);
        let tasks = TaskTracker::new();
        let number = match config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let shards = (0..number)
            .map(|_| {
                let (sender, newcomers) = mpsc::channel(NEWCOMERS_AT_ONCE);
                let shard =
                    Shard::new(Arc::clone(&config), Arc::clone(hub), sources.clone(), newcomers, shutdown.clone());
                // A shard makes thousands of calls on sockets before it is done; the budget that tokio gives each task
                // would make ready sockets look busy. It yields by itself.
                tasks.spawn(tokio::task::unconstrained(shard.run()));
                sender
            })
            .collect();
        let next_shard = AtomicUsize::new(0);
        let shared = sse::Shared { config, hub: Arc::clone(hub), sources: sources.clone(), shutdown };
        Self { inner: Arc::new(Inner { shared, clients: Arc::default(), next_shard, shards, tasks }) }
    }

    /// Checks a request to `/living-map/stream` and agrees to switch it to WebSocket; the client is served from then on.
    /// The body of the request is not looked at.
    ///
    /// # Errors
    /// Why it is refused; nothing is left behind then.
    pub fn upgrade(&self, request: &mut Parts, options: StreamOptions) -> Result<Response<Body>, UpgradeError> {
        let inner = &*self.inner;
        let retry_after = inner.shared.config.retry_after;
        let response = handshake::response(request)?;
        handshake::check_origin(&request.headers, &inner.shared.config.allowed_origins)?;
        if inner.shared.shutdown.is_cancelled() {
            return Err(UpgradeError::Stopping { retry_after });
        }
        let on_upgrade = request.extensions.remove::<OnUpgrade>().ok_or(UpgradeError::NotUpgradable)?;
        let place = self.take_place(Transport::WebSocket, options.guest).ok_or(UpgradeError::Full { retry_after })?;
        let shard = inner.shards[inner.next_shard.fetch_add(1, Ordering::Relaxed) % inner.shards.len()].clone();
        let upgraded = tokio::time::timeout(inner.shared.config.upgrade_timeout, on_upgrade);
        let shutdown = inner.shared.shutdown.clone();
        inner.tasks.spawn(async move {
            match shutdown.run_until_cancelled(upgraded).await {
                Some(Ok(Ok(upgraded))) => {
                    let (io, leftover) = Io::of_upgraded(upgraded);
                    // Fails only when the shard has stopped, and then the client has to come back anyway.
                    let _ = shard.send(Newcomer { io, leftover, options, place }).await;
                }
                Some(Ok(Err(error))) => tracing::debug!(%error, "a client was lost while it was upgraded"),
                Some(Err(_)) => tracing::debug!("a client did not take the answer to its upgrade in time"),
                None => {}
            }
        });
        Ok(response.map(|()| Body::empty()))
    }

    pub(super) fn shared(&self) -> &sse::Shared {
        &self.inner.shared
    }

    pub(super) fn take_place(&self, transport: Transport, guest: Guest) -> Option<Place> {
        Place::take(&self.inner.clients, &self.inner.shared.config, transport, guest)
    }

    /// Runs a task that ends soon after the shutdown.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(task);
    }

    /// Number of clients, those in the middle of the upgrade included.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.inner.clients.load(Ordering::Acquire)
    }

    /// Waits until all clients are gone after the shutdown.
    pub async fn closed(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}
