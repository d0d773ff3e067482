//! Bytes that the kernel holds for a connection before it sends them.

use std::net::TcpListener;

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::net::TcpStream;

/// Limits the unsent bytes of connections accepted by `listener`, so that a write waits for the client instead of filling
/// megabytes of kernel memory: what moves is what the client takes.
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
