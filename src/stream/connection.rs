//! What a streaming answer does to the connection that carries it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// The connection of a request, in the request's extensions. An answer that does not end says so here, and ends the
/// connection here when its client takes nothing any more: the HTTP server does not ask a body for more before it has
/// written what it got, so the body alone could not.
#[derive(Debug, Clone, Default)]
pub struct Connection(Arc<Tokens>);

#[derive(Debug, Default)]
struct Tokens {
    streaming: CancellationToken,
    hang_up: CancellationToken,
}

impl Connection {
    /// Its answer is a stream from now on: it is counted among the streaming clients, not among the requests.
    pub fn becomes_stream(&self) {
        self.0.streaming.cancel();
    }

    /// Ends it, with whatever is under way.
    pub fn hang_up(&self) {
        self.0.hang_up.cancel();
    }

    /// Returns once its answer is a stream.
    pub async fn became_stream(&self) {
        self.0.streaming.cancelled().await;
    }

    /// Returns once it is to end.
    pub async fn hung_up(&self) {
        self.0.hang_up.cancelled().await;
    }
}
