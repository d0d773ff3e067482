//! The WebSocket transport: the upgrade, and the shards that own the sockets.

mod client;
mod decode;
mod handshake;
mod io;
mod pending;
mod ready;
mod shard;
mod write_buffer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::context::StreamContext;
use super::options::StreamOptions;
use super::slots::Transport;
use client::UpgradedConnection;
use io::Io;
use shard::{MAX_WAITING_CONNECTIONS, Shard};

pub use handshake::UpgradeError;

/// The running shards. New clients are assigned round-robin.
pub struct Shards {
    next: AtomicUsize,
    senders: Vec<mpsc::Sender<UpgradedConnection>>,
}

impl Shards {
    /// Starts the configured number of shards on the current tokio runtime.
    pub fn start(context: &Arc<StreamContext>) -> Self {
        let number = match context.config.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let senders = (0..number)
            .map(|_| {
                let (sender, upgraded) = mpsc::channel(MAX_WAITING_CONNECTIONS);
                let shard = Shard::new(Arc::clone(context), upgraded);
                // A shard makes thousands of socket calls in one poll. With tokio's budget for each task, ready sockets
                // would look busy; the shard yields by itself instead.
                context.tasks.spawn(tokio::task::unconstrained(shard.run()));
                sender
            })
            .collect();
        Self { next: AtomicUsize::new(0), senders }
    }

    /// Checks a request and accepts its upgrade; a shard serves the client once the connection is upgraded. See
    /// [`Streams::upgrade`](super::Streams::upgrade).
    pub fn upgrade<E: From<UpgradeError>>(
        &self,
        context: &Arc<StreamContext>,
        request: &mut Parts,
        options: StreamOptions,
        admit: impl FnOnce() -> Result<(), E>,
    ) -> Result<Response<Body>, E> {
        let retry_after = context.config.retry_after;
        let response = handshake::response(request)?;
        handshake::check_origin(request, &context.config.allowed_origins)?;
        if context.shutdown.is_cancelled() {
            return Err(UpgradeError::Stopping { retry_after }.into());
        }
        let on_upgrade = request.extensions.remove::<OnUpgrade>().ok_or(UpgradeError::NotUpgradable)?;
        let connection = request.extensions.remove::<Connection>().unwrap_or_default();
        let slot = context.slots.acquire(Transport::WebSocket, &options.client);
        let slot = slot.ok_or(UpgradeError::Full { retry_after })?;
        admit()?;
        let shard = self.senders[self.next.fetch_add(1, Ordering::Relaxed) % self.senders.len()].clone();
        let upgraded = tokio::time::timeout(context.config.upgrade_timeout, on_upgrade);
        let shutdown = context.shutdown.clone();
        context.tasks.spawn(async move {
            match shutdown.run_until_cancelled(upgraded).await {
                Some(Ok(Ok(upgraded))) => {
                    let (io, leftover) = Io::of_upgraded(upgraded, &connection);
                    // Fails only if the shard has stopped; the client must reconnect then in any case.
                    let _ = shard.send(UpgradedConnection { io, leftover, options, slot }).await;
                }
                Some(Ok(Err(error))) => tracing::debug!(%error, "connection lost during the upgrade"),
                Some(Err(_)) => tracing::debug!("upgrade timed out"),
                None => {}
            }
        });
        Ok(response.map(|()| Body::empty()))
    }
}
