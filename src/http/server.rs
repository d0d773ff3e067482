//! HTTP/1.1 server on hyper. `axum::serve` cannot limit the size of heads, idle time, the number of connections, or the
//! time of a graceful shutdown.

mod accept;
mod connection;
mod socket;

use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::HttpConfig;
use crate::access::address::AddressQuota;
use crate::instruments::{Limit, count_rejected};
use crate::stream::Connection;
use accept::{accept, limit_unsent, reject};
use connection::{ConnectionSlot, serve_connection};
use socket::{Socket, take_tcp_stream};

/// Serves until `shutdown` is cancelled, then lets running requests finish for at most `config.drain_timeout`. Does not
/// wait for streaming clients: the stream module tells them to reconnect and closes them.
///
/// Upgraded connections are [`Socket`]s, out of which [`Connection`] takes the TCP socket. Requests have
/// `ConnectInfo<SocketAddr>` and [`Connection`] in their extensions. A connection that became a stream does not count
/// towards `config.max_connections`.
pub async fn serve(listener: TcpListener, router: Router, config: &HttpConfig, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_header_size(config.max_head_bytes)
        .max_headers(config.max_headers);
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let quota = AddressQuota::new(config.max_connections_per_address, config.unlimited.clone());
    let connections = TaskTracker::new();
    limit_unsent(&listener);
    let abort = CancellationToken::new();
    let _abort_if_dropped = abort.clone().drop_guard();

    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        let Some((stream, peer, slot)) = accepted else { continue };
        let Some(permit) = quota.acquire(peer.ip()) else {
            count_rejected(Limit::ConnectionsAddress);
            reject(&stream);
            continue;
        };
        let handle = Connection::new(take_tcp_stream);
        let socket = Socket::new(stream);
        let connection = serve_connection(http.clone(), socket, peer, handle.clone(), router.clone(), shutdown.clone());
        let abort = abort.clone();
        connections.spawn(async move {
            let slot = ConnectionSlot::new(slot, permit);
            tokio::pin!(connection);
            tokio::select! {
                () = connection.as_mut() => return,
                () = abort.cancelled() => return,
                () = handle.became_stream() => drop(slot),
            }
            tokio::select! {
                () = connection => {}
                () = abort.cancelled() => {}
                () = handle.hung_up() => {}
            }
        });
    }

    drop(listener);
    connections.close();
    if tokio::time::timeout(config.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections that did not finish in time");
        abort.cancel();
        connections.wait().await;
    }
}

#[cfg(test)]
mod tests;
