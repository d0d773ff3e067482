//! Errors of connecting, and of requests.

use super::permissions::PermissionError;
use crate::tls::InvalidFile;

/// Why connecting cannot be attempted.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// Invalid address. The message does not repeat it, since it may contain a password.
    #[error("NATS_URL: invalid address, expected nats://host:port or tls://host:port: {0}")]
    Address(String),
    /// Settings that exclude each other, or one without another that it needs.
    #[error("{0}")]
    Contradiction(String),
    /// A file with credentials, certificates or a key cannot be used.
    #[error(transparent)]
    File(#[from] InvalidFile),
    /// Contradictory options.
    #[error("the connection to NATS cannot be set up: {0}")]
    Setup(#[from] async_nats::ConnectError),
}

/// Why a request to the `JetStream` API has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// The account lacks a permission.
    #[error(transparent)]
    Denied(#[from] PermissionError),
    /// Nothing answers to requests.
    #[error("JetStream is unavailable: it is not enabled on this server, in this domain or for this account")]
    Disabled,
    /// The server did not answer.
    #[error("JetStream is unavailable: {0}")]
    NoAnswer(String),
}
