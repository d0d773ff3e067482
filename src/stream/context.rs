//! State shared by all clients of both transports.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::StreamConfig;
use super::hub::Hub;
use super::slots::ClientSlots;
use super::sources::StreamSources;
use crate::access::address::AddressQuota;

/// State shared by clients, shards and the admission of new clients.
pub struct StreamContext {
    /// The settings.
    pub config: StreamConfig,
    /// The ring buffer.
    pub hub: Arc<Hub>,
    /// Snapshots and evicted frames.
    pub sources: StreamSources,
    /// Cancelled when all clients must be closed.
    pub shutdown: CancellationToken,
    /// Limits on clients.
    pub slots: ClientSlots,
    /// Tasks that end soon after the shutdown.
    pub tasks: TaskTracker,
}

impl StreamContext {
    /// The shared state of a server without clients.
    pub fn new(config: StreamConfig, hub: Arc<Hub>, sources: StreamSources, shutdown: CancellationToken) -> Self {
        let slots = ClientSlots::new(
            config.max_clients,
            AddressQuota::new(config.max_clients_per_address, config.unlimited.clone()),
        );
        Self { config, hub, sources, shutdown, slots, tasks: TaskTracker::new() }
    }
}
