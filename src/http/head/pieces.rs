//! Outcome of a connection whose bytes arrive in given pieces, for tests.

use super::{Limits, Malformed, Messages};

/// Limits of the tests.
pub const LIMITS: Limits = Limits { bytes: 8_192, fields: 20 };

/// Everything that a connection releases, and why it ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes for the HTTP server.
    pub released: Vec<u8>,
    /// The last of the released requests stands for one with a malformed head.
    pub rejected: Option<Malformed>,
    /// Error in a body. How much of the body is released before it depends on the pieces.
    pub failed: Option<Malformed>,
}

impl Outcome {
    /// Receives these pieces one after the other.
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut messages = Messages::new(LIMITS);
        let mut released = Vec::new();
        let failed = pieces.into_iter().find_map(|piece| receive(&mut messages, piece, &mut released).err());
        Self { released, rejected: messages.rejected(), failed }
    }
}

fn receive(messages: &mut Messages, piece: &[u8], released: &mut Vec<u8>) -> Result<(), Malformed> {
    let passed = messages.receive(piece)?;
    released.extend_from_slice(&piece[..passed]);
    loop {
        let taken = messages.take(7)?;
        if taken.is_empty() {
            return Ok(());
        }
        released.extend_from_slice(&taken);
    }
}
