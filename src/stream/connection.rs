//! Control of the connection that carries a stream.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Takes the TCP socket out of an upgraded connection, with the bytes read from it after the request.
pub type TakeTcpStream = fn(Upgraded) -> Result<(TcpStream, Bytes), Upgraded>;

/// A handle on the connection of a request, stored in the request's extensions. A streaming response uses it to
/// announce itself, and to end the connection of a client that does not read: the HTTP server polls a body only after
/// it has written the previous chunk, so the body alone cannot end it.
#[derive(Clone)]
pub struct Connection {
    tokens: Arc<Tokens>,
    take_tcp_stream: TakeTcpStream,
}

#[derive(Debug, Default)]
struct Tokens {
    streaming: CancellationToken,
    hang_up: CancellationToken,
}

impl Connection {
    /// A connection that is still an HTTP connection.
    #[must_use]
    pub fn new(take_tcp_stream: TakeTcpStream) -> Self {
        Self { tokens: Arc::default(), take_tcp_stream }
    }

    /// Marks the response as a stream: the connection counts as a streaming client and no longer as a request.
    pub fn becomes_stream(&self) {
        self.tokens.streaming.cancel();
    }

    /// Closes the connection immediately; unwritten data is lost.
    pub fn hang_up(&self) {
        self.tokens.hang_up.cancel();
    }

    /// Returns true if the response is marked as a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.tokens.streaming.is_cancelled()
    }

    /// Completes when the response is marked as a stream.
    pub async fn became_stream(&self) {
        self.tokens.streaming.cancelled().await;
    }

    /// Completes when the connection must be closed.
    pub async fn hung_up(&self) {
        self.tokens.hang_up.cancelled().await;
    }

    /// Takes the TCP socket out of this connection after its upgrade.
    ///
    /// # Errors
    /// The upgraded connection, if it is not a TCP socket.
    pub(super) fn take_tcp_stream(&self, upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
        (self.take_tcp_stream)(upgraded)
    }
}

impl Default for Connection {
    /// A connection over any byte stream.
    fn default() -> Self {
        Self::new(Err)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Connection").field(&self.tokens).finish()
    }
}
