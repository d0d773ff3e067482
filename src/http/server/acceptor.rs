//! Accepting connections, and choosing who serves them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::ConnectionServer;
use super::pulse::Pulse;
use super::slots::{NoSlot, Slot, Slots};
use crate::access::address::{AddressPermit, AddressQuota};
use crate::http::probes;
use crate::instruments::{Limit, count_rejected};

/// Pause after a failed accept, such as too many open files, which ends only when other connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Value of `Retry-After` for rejected connections.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Connections with a common limit.
pub struct Pool {
    /// Counts connections that found no slot.
    pub limit: Limit,
    /// Slots of the connections.
    pub slots: Arc<Slots>,
    /// Serves the connections.
    pub server: ConnectionServer,
    /// Runtime that serves them.
    pub runtime: Handle,
}

/// An accepted connection with its permits.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    permit: AddressPermit,
}

/// Accepts connections.
pub struct Acceptor {
    /// Pools in the order in which they are asked for a slot.
    pub pools: Vec<Pool>,
    /// Connections of each address.
    pub quota: AddressQuota,
    /// Responsiveness of the runtime of the first pool.
    pub pulse: Arc<Pulse>,
    /// Tasks of the connections.
    pub connections: TaskTracker,
}

impl Acceptor {
    /// Accepts connections until `stop`.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "connections cannot be accepted"),
        };
        while let Some(accepted) = stop.run_until_cancelled(accept(&listener)).await {
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer).await,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    self.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection in the first pool that has a slot. If there is none, or none for this address, it is answered
    /// 503 and closed.
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(permit) = self.quota.acquire(peer.ip()) else {
            count_rejected(Limit::ConnectionsAddress);
            return reject(stream, "this address has too many connections (MAX_CONNECTIONS_PER_ADDRESS)");
        };
        for (index, pool) in self.pools.iter().enumerate() {
            let slot = match pool.slots.acquire(peer.ip()) {
                Ok(slot) => slot,
                Err(no_slot) => {
                    count_rejected(if no_slot == NoSlot::Share { Limit::ConnectionsShare } else { pool.limit });
                    continue;
                }
            };
            let accepted = Accepted { stream, peer, slot, permit };
            match self.pools.last() {
                Some(reserve) if index == 0 && self.pools.len() > 1 && self.pulse.is_busy() => {
                    let (server, runtime) = (pool.server.clone(), pool.runtime.clone());
                    let sorting = sort(accepted, server, runtime, reserve.server.clone(), self.connections.clone());
                    self.connections.spawn_on(sorting, &reserve.runtime);
                }
                _ => spawn(accepted, pool.server.clone(), &pool.runtime, &self.connections),
            }
            // a connection served by this thread reads its request before the next one could take its slot
            return tokio::task::yield_now().await;
        }
        let detail = "all connections that this address may have are in use (MAX_CONNECTIONS, RESERVED_CONNECTIONS)";
        reject(stream, detail);
    }

    fn make_room(&self) {
        if let Some(pool) = self.pools.first() {
            pool.slots.evict();
        }
    }
}

async fn accept(listener: &tokio::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    // responses are written at once, so Nagle's algorithm would only delay them
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "could not set TCP_NODELAY");
    }
    // for the runtime that will serve it
    Ok((stream.into_std()?, peer))
}

/// Serves a connection on `runtime`.
fn spawn(accepted: Accepted, server: ConnectionServer, runtime: &Handle, connections: &TaskTracker) {
    let Accepted { stream, peer, slot, permit } = accepted;
    let serving = async move {
        match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => server.serve(stream, peer, slot, permit).await,
            Err(error) => tracing::warn!(%peer, %error, "a connection cannot be served"),
        }
    };
    connections.spawn_on(serving, runtime);
}

/// Serves a connection that was accepted while `runtime` was busy: on the current one with `probes` if its first bytes
/// ask for a probe, and otherwise on `runtime` with `server`, which reads these bytes again.
async fn sort(
    accepted: Accepted,
    server: ConnectionServer,
    runtime: Handle,
    probes: ConnectionServer,
    connections: TaskTracker,
) {
    let Accepted { stream, peer, slot, permit } = accepted;
    let sorted = async {
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let mut head = [0; probes::MAX_REQUEST_LINE];
        let peeked = tokio::select! {
            peeked = tokio::time::timeout(probes.timeouts.head, stream.peek(&mut head)) => peeked.unwrap_or(Ok(0))?,
            () = slot.activity.evicted() => return Ok(None),
        };
        io::Result::Ok(Some((stream, probes::is_probe(&head[..peeked]))))
    };
    match sorted.await {
        Ok(Some((stream, true))) => probes.serve(stream, peer, slot, permit).await,
        Ok(Some((stream, false))) => match stream.into_std() {
            Ok(stream) => spawn(Accepted { stream, peer, slot, permit }, server, &runtime, &connections),
            Err(error) => tracing::warn!(%peer, %error, "a connection cannot be served"),
        },
        Ok(None) => {}
        Err(error) => tracing::debug!(%peer, %error, "a connection was lost before its first request"),
    }
}

/// Sends 503 without waiting, and closes the connection.
fn reject(mut stream: TcpStream, detail: &str) {
    let body = json!({"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": detail});
    let body = body.to_string();
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: {}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        RETRY_AFTER.as_secs(),
        body.len()
    );
    // best effort: the socket does not block, and the send buffer of a new one is empty
    let _ = stream.write(response.as_bytes());
    // a request that has arrived already would turn the end of the connection into a reset, which discards the response
    let _ = stream.read(&mut [0; 4_096]);
}
