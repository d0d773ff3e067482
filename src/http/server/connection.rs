//! Serving one connection.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::socket::Socket;
use crate::access::address::AddressPermit;
use crate::instruments::{Limit, count_rejected};
use crate::stream::Connection;

/// Slot of an open HTTP connection, released when dropped.
pub struct ConnectionSlot {
    _total: OwnedSemaphorePermit,
    _of_address: AddressPermit,
}

impl ConnectionSlot {
    /// Counts a connection that holds these permits.
    pub fn new(total: OwnedSemaphorePermit, of_address: AddressPermit) -> Self {
        metrics::gauge!("living_map_http_connections").increment(1);
        Self { _total: total, _of_address: of_address }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        metrics::gauge!("living_map_http_connections").decrement(1);
    }
}

/// Answers the requests of a connection until it ends.
pub async fn serve_connection(
    http: http1::Builder,
    socket: Socket,
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
            count_rejected(Limit::Head);
        } else if error.is_timeout() {
            count_rejected(Limit::HeadTime);
        }
        tracing::debug!(%peer, %error, "connection closed with an error");
    }
}
