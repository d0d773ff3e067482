//! Reads requests in front of hyper, which answers a malformed head with an empty 400 and accepts some ambiguous ones: finds the
//! end of each message, percent-encodes what browsers encode in a query, and rejects what RFC 9112 leaves ambiguous.
//!
//! [`lines`] checks the bytes of a head, [`parse`] its meaning, [`chunks`] the framing of a chunked body; [`messages`] puts them
//! together for a connection. No I/O and no clock in here, except for [`reader`].

mod chunks;
mod lines;
mod malformed;
mod messages;
mod parse;
#[cfg(any(test, fuzzing))]
pub mod pieces;
pub mod reader;
mod target;

pub use malformed::{GROUPS, Malformed};
pub use messages::Messages;

use super::config::HttpConfig;

/// Limits of a head, and of the trailer section of a chunked body.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes, with the request line and all line ends.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

impl From<&HttpConfig> for Limits {
    fn from(config: &HttpConfig) -> Self {
        Self { bytes: config.max_head_bytes, fields: config.max_headers }
    }
}

#[cfg(test)]
mod tests;
