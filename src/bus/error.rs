//! Errors of reading and changing streams.

use super::connection::ApiError;

/// Why a stream could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server did not answer, `JetStream` is disabled, or a permission is missing.
    #[error(transparent)]
    Unavailable(#[from] ApiError),
    /// The server rejected the request.
    #[error("the NATS server rejected a request about stream '{stream}': {problem}")]
    Rejected {
        /// The stream.
        stream: String,
        /// The server's error message, with its code.
        problem: String,
    },
}
