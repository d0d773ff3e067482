//! Control of the HTTP connection that carries a streaming response.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// A handle on the connection of a request, stored in the request's extensions. A streaming response uses it to
/// announce itself, and to end the connection of a client that does not read: the HTTP server polls a body only after
/// it has written the previous chunk, so the body alone cannot end it.
#[derive(Debug, Clone, Default)]
pub struct Connection(Arc<Tokens>);

#[derive(Debug, Default)]
struct Tokens {
    streaming: CancellationToken,
    hang_up: CancellationToken,
}

impl Connection {
    /// Marks the response as a stream: the connection counts as a streaming client and no longer as a request.
    pub fn becomes_stream(&self) {
        self.0.streaming.cancel();
    }

    /// Closes the connection immediately; unwritten data is lost.
    pub fn hang_up(&self) {
        self.0.hang_up.cancel();
    }

    /// Completes when the response is marked as a stream.
    pub async fn became_stream(&self) {
        self.0.streaming.cancelled().await;
    }

    /// Completes when the connection must be closed.
    pub async fn hung_up(&self) {
        self.0.hang_up.cancelled().await;
    }
}
