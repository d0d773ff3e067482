//! HTTP/1.1 server on hyper. `axum::serve` cannot limit the size of heads, idle time, the rate of reading, the number of
//! connections, or the time of a graceful shutdown.

mod accept_thread;
mod acceptor;
mod activity;
mod connection;
mod pulse;
mod slots;
mod socket;
mod unsent;

use std::io;
use std::sync::Arc;

use axum::Router;
use hyper::server::conn::http1;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::config::HttpConfig;
use super::head::Limits;
use super::probes;
use crate::access::address::AddressQuota;
use crate::instruments::Limit;
use acceptor::{Acceptor, Pool};
use activity::Timeouts;
use connection::ConnectionServer;
use pulse::Pulse;
use slots::Slots;
use unsent::limit_unsent;

pub use accept_thread::AcceptThread;

/// Serves until `shutdown` is cancelled, then lets running requests finish for at most `config.drain_timeout`. Does not
/// wait for streaming clients: the stream module tells them to reconnect and closes them.
///
/// `thread` accepts the connections, and answers probes that arrive beyond `config.max_connections` or while the calling
/// runtime is busy. Requests have `ConnectInfo<SocketAddr>` and [`Connection`](crate::stream::Connection) in their
/// extensions. A connection that became a stream does not count towards `config.max_connections`.
pub async fn serve(
    thread: &AcceptThread,
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    shutdown: CancellationToken,
) {
    let server = Server::new(config, shutdown);
    let main = Handle::current();
    let probes = probes::reserved_router(&router, main.clone(), config);
    let pulse = Arc::new(Pulse::new());
    let beating = Arc::clone(&pulse);
    let _beat = AbortOnDropHandle::new(tokio::spawn(async move { beating.beat().await }));
    let pools = vec![server.pool(router, main), server.reserve(probes, thread)];
    server.run(thread, listener, pools, pulse).await;
}

/// Serves a few connections on `thread`, like [`serve`], for probes and metrics.
pub async fn serve_probes(
    thread: &AcceptThread,
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    shutdown: CancellationToken,
) {
    let config = HttpConfig { max_connections: config.reserved_connections, ..config.clone() };
    let server = Server::new(&config, shutdown);
    let pools = vec![server.pool(router, thread.runtime().clone())];
    server.run(thread, listener, pools, Arc::new(Pulse::new())).await;
}

/// A listener's connections.
struct Server<'a> {
    config: &'a HttpConfig,
    shutdown: CancellationToken,
    connections: TaskTracker,
    /// Closes all connections.
    abort: CancellationToken,
    _abort_if_dropped: DropGuard,
}

impl<'a> Server<'a> {
    fn new(config: &'a HttpConfig, shutdown: CancellationToken) -> Self {
        let abort = CancellationToken::new();
        let guard = abort.clone().drop_guard();
        Self { config, shutdown, connections: TaskTracker::new(), abort, _abort_if_dropped: guard }
    }

    fn http(&self) -> http1::Builder {
        let mut http = http1::Builder::new();
        // the socket limits the time of a head, and the reader its size, before characters of a query become three
        let largest = self.config.max_head_bytes.saturating_mul(3);
        http.header_read_timeout(None).max_header_size(largest).max_headers(self.config.max_headers);
        http
    }

    fn connection_server(&self, http: http1::Builder, router: Router, timeouts: Timeouts) -> ConnectionServer {
        let limits = Limits::from(self.config);
        ConnectionServer { http, router, limits, timeouts, shutdown: self.shutdown.clone(), abort: self.abort.clone() }
    }

    /// Connections within the limit.
    fn pool(&self, router: Router, runtime: Handle) -> Pool {
        let server = self.connection_server(self.http(), router, Timeouts::new(self.config));
        Pool { limit: Limit::Connections, slots: Slots::new(self.config.max_connections), server, runtime }
    }

    /// Connections beyond the limit, for one request each.
    fn reserve(&self, router: Router, thread: &AcceptThread) -> Pool {
        let mut http = self.http();
        http.keep_alive(false);
        let server = self.connection_server(http, router, Timeouts::reserved(self.config));
        let slots = Slots::new(self.config.reserved_connections);
        Pool { limit: Limit::ConnectionsReserved, slots, server, runtime: thread.runtime().clone() }
    }

    async fn run(self, thread: &AcceptThread, listener: TcpListener, pools: Vec<Pool>, pulse: Arc<Pulse>) {
        let listener = match into_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "connections cannot be accepted"),
        };
        let quota = AddressQuota::new(self.config.max_connections_per_address, self.config.unlimited.clone());
        let acceptor = Acceptor { pools, quota, pulse, connections: self.connections.clone() };
        let stop = self.shutdown.clone();
        let abort = self.abort.clone();
        let accepting = async move {
            abort.run_until_cancelled(acceptor.run(listener, stop)).await;
        };
        if let Err(error) = thread.spawn(accepting).await {
            tracing::error!(%error, "accepting connections ended");
        }
        self.connections.close();
        if tokio::time::timeout(self.config.drain_timeout, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "closing connections that did not finish in time");
            self.abort.cancel();
            self.connections.wait().await;
        }
    }
}

/// The listener without its registration at the current runtime.
fn into_std(listener: TcpListener) -> io::Result<std::net::TcpListener> {
    let listener = listener.into_std()?;
    limit_unsent(&listener);
    Ok(listener)
}

#[cfg(test)]
mod tests;
