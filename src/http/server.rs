//! Accepting connections and speaking HTTP/1.1 on them. `axum::serve` has no limits on heads, idle time, connections or
//! the drain at the end, so this is hyper itself.

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
use super::limits::refused;
use crate::access::address::AddressPermit;
use crate::stream::Connection;

/// How long accepting rests after an error such as too many open files, which only other connections' ends can cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is cancelled, then lets requests under way finish for at most `config.drain_timeout`.
/// Streaming clients are not waited for: the stream tells them to reconnect and ends them itself.
///
/// The connections handed to upgrades are `TokioIo<TcpStream>`; requests carry `ConnectInfo<SocketAddr>` and
/// [`Connection`]. One whose answer is a stream does not count in `config.max_connections`.
pub async fn serve(listener: TcpListener, router: Router, config: &HttpConfig, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_header_size(config.max_head_bytes)
        .max_headers(config.max_headers);
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    let _abort_if_dropped = abort.clone().drop_guard();

    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        let Some((socket, peer, slot)) = accepted else { continue };
        let Some(share) = config.connection_shares.take(peer.ip()) else {
            refused("connections_address");
            turn_away(&socket);
            continue;
        };
        let handle = Connection::default();
        let connection = serve_connection(http.clone(), socket, peer, handle.clone(), router.clone(), shutdown.clone());
        let abort = abort.clone();
        connections.spawn(async move {
            let counted = Counted::new(slot, share);
            tokio::pin!(connection);
            tokio::select! {
                () = connection.as_mut() => return,
                () = abort.cancelled() => return,
                () = handle.became_stream() => drop(counted),
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

/// A connection's place among those that speak HTTP.
struct Counted {
    _slot: OwnedSemaphorePermit,
    _share: AddressPermit,
}

impl Counted {
    fn new(slot: OwnedSemaphorePermit, share: AddressPermit) -> Self {
        metrics::gauge!("living_map_http_connections").increment(1);
        Self { _slot: slot, _share: share }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("living_map_http_connections").decrement(1);
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if slots.available_permits() == 0 {
        refused("connections");
    }
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            // answers are written whole: waiting to fill a segment would only delay them
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

/// Says why, as far as that can be said without waiting, and hangs up.
fn turn_away(socket: &TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    // a socket whose buffer has no room for this is none that anybody waits for
    let _ = socket.try_write(ANSWER);
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
            refused("head");
        } else if error.is_timeout() {
            refused("head_time");
        }
        tracing::debug!(%peer, %error, "connection ended badly");
    }
}

#[cfg(test)]
mod tests;
