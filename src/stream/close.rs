//! Why a connection ends, and what its client should do about it.
//!
//! Codes are a contract with clients:
//!
//! | code | meaning | client |
//! |---|---|---|
//! | 1012 | the server restarts | reconnects by cursor, after the `reconnect` frame's `after_ms` |
//! | 4000–4499 | ours | reconnects by cursor, with back-off |
//! | 4008 | it did not take what was sent | |
//! | 4012 | it did not answer a ping | |
//! | 4401 | the token that it came with has expired | gets a fresh one first |
//! | 1002 | it broke the WebSocket protocol | does not reconnect: it would happen again |
//! | 1007 | a text message that is not UTF-8 | |
//! | 1008 | more messages, or more bad ones, than allowed | |
//! | 1009 | a message over the size limit | |
//! | 4500–4999 | ours, reserved | does not reconnect |
//!
//! Any other end (1001, 1006, 1011, no code at all) is one to reconnect after.

use std::ops::RangeInclusive;

/// Our own codes after which a client reconnects with its cursor.
pub const RESUMABLE_CODES: RangeInclusive<u16> = 4000..=4499;
/// Our own codes after which it does not.
pub const FINAL_CODES: RangeInclusive<u16> = 4500..=4999;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    Left,
    /// The connection broke.
    Broken,
    /// The client does not speak the protocol.
    Protocol,
    /// Its text is not UTF-8.
    InvalidText,
    /// Its message is too long.
    TooLarge,
    /// It sends too much, or too much that makes no sense.
    TooMany,
    /// It does not take what it is sent.
    Slow,
    /// It does not answer.
    NoPong,
    /// Its token has expired.
    Expired,
    /// The server stops.
    Shutdown,
    /// The server cannot say what the map is.
    Internal,
}

impl CloseReason {
    /// The close code that goes over the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Left | Self::Broken => 1000,
            Self::Protocol => 1002,
            Self::InvalidText => 1007,
            Self::TooMany => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Shutdown => 1012,
            Self::Slow => 4008,
            Self::NoPong => 4012,
            Self::Expired => 4401,
        }
    }

    /// Its name in logs and in the label of `living_map_stream_closed_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::InvalidText => "invalid_text",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Slow => "slow",
            Self::NoPong => "no_pong",
            Self::Expired => "expired",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }
}
