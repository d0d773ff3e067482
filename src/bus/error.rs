//! Errors of reading and changing streams.

/// Why a stream could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server did not answer, or `JetStream` is disabled.
    #[error("JetStream is unavailable: {0}")]
    Unavailable(String),
    /// The server rejected the request.
    #[error("the NATS server rejected a request about stream '{stream}': {problem}")]
    Rejected {
        /// The stream.
        stream: String,
        /// The server's error message, with its code.
        problem: String,
    },
}
