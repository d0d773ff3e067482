//! HTTP/1.1 server on hyper. `axum::serve` cannot limit the size of heads, idle time, the number of connections, or the
//! time of a graceful shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::config::HttpConfig;
use super::limits::count_rejected;
use crate::access::address::{AddressPermit, AddressQuota};
use crate::stream::Connection;

/// Pause after a failed accept, such as too many open files, which ends only when other connections close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is cancelled, then lets running requests finish for at most `config.drain_timeout`. Does not
/// wait for streaming clients: the stream module tells them to reconnect and closes them.
///
/// Upgraded connections are `TokioIo<TcpStream>`. Requests have `ConnectInfo<SocketAddr>` and [`Connection`] in their
/// extensions. A connection that became a stream does not count towards `config.max_connections`.
pub async fn serve(listener: TcpListener, router: Router, config: &HttpConfig, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_header_size(config.max_head_bytes)
        .max_headers(config.max_headers);
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let quota = AddressQuota::new(config.max_connections_per_address, config.unlimited.clone());
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    let _abort_if_dropped = abort.clone().drop_guard();

    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        let Some((socket, peer, slot)) = accepted else { continue };
        let Some(permit) = quota.acquire(peer.ip()) else {
            count_rejected("connections_address");
            reject(&socket);
            continue;
        };
        let handle = Connection::default();
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

/// Slot of an open HTTP connection, released when dropped.
struct ConnectionSlot {
    _total: OwnedSemaphorePermit,
    _of_address: AddressPermit,
}

impl ConnectionSlot {
    fn new(total: OwnedSemaphorePermit, of_address: AddressPermit) -> Self {
        metrics::gauge!("living_map_http_connections").increment(1);
        Self { _total: total, _of_address: of_address }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        metrics::gauge!("living_map_http_connections").decrement(1);
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if slots.available_permits() == 0 {
        count_rejected("connections");
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
fn reject(socket: &TcpStream) {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    // best effort: the send buffer of a new socket is empty
    let _ = socket.try_write(RESPONSE);
}

async fn serve_connection(
    http: http1::Builder,
    socket: TcpStream,
    peer: SocketAddr,
    handle: Connection,
    router: Router,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(handle.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse_too_large() {
            count_rejected("head");
        } else if error.is_timeout() {
            count_rejected("head_time");
        }
        tracing::debug!(%peer, %error, "connection closed with an error");
    }
}

#[cfg(test)]
mod tests;
