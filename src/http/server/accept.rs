//! Accepting connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::instruments::{Limit, count_rejected};

/// Pause after a failed accept, such as too many open files, which ends only when other connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits the bytes that the kernel holds for connections accepted by `listener` before it sends them, so that a write
/// waits for the client instead of filling megabytes of kernel memory: what moves is what the client takes.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn limit_unsent(listener: &TcpListener) {
    const UNSENT_BYTES: u32 = 32 * 1024;
    if let Err(error) = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::debug!(%error, "could not set TCP_NOTSENT_LOWAT");
    }
}

/// Removes the limit of [`limit_unsent`]: streams have a write buffer and limits of their own.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn lift_unsent_limit(stream: &TcpStream) {
    // fails only if the socket is dead, which the next write reports
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(0);
}

/// Without effect: this system's limit cannot be set.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const fn limit_unsent(_listener: &TcpListener) {}

/// Without effect, like [`limit_unsent`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const fn lift_unsent_limit(_stream: &TcpStream) {}

/// The next connection, once a slot is free; `None` if it failed.
pub async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if slots.available_permits() == 0 {
        count_rejected(Limit::Connections);
    }
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            // responses are written at once, so Nagle's algorithm would only delay them
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%peer, %error, "could not set TCP_NODELAY");
            }
            Some((socket, peer, slot))
        }
        Err(error) => {
            tracing::warn!(%error, "could not accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Sends 503 without waiting, as the connection is closed next.
pub fn reject(socket: &TcpStream) {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    // best effort: the send buffer of a new socket is empty
    let _ = socket.try_write(RESPONSE);
}
