//! Close codes, and how clients must react to them.
//!
//! The codes are a contract with clients:
//!
//! | code | meaning | client |
//! |---|---|---|
//! | 1012 | the server restarts | reconnects by cursor, after the `reconnect` frame's `after_ms` |
//! | 4000–4499 | application codes | reconnects by cursor, with back-off |
//! | 4008 | the client reads too slowly | |
//! | 4012 | the client did not answer a ping | |
//! | 4401 | the token of the connection has expired | gets a fresh token first |
//! | 1002 | the client violated the WebSocket protocol | does not reconnect: it would happen again |
//! | 1007 | a text message that is not UTF-8 | |
//! | 1008 | more messages, or more invalid messages, than allowed | |
//! | 1009 | a message over the size limit | |
//! | 4500–4999 | application codes, reserved | does not reconnect |
//!
//! After any other end (1001, 1006, 1011, no code at all) the client reconnects.

use std::ops::RangeInclusive;

/// Application codes after which a client reconnects with its cursor.
pub const RESUMABLE_CODES: RangeInclusive<u16> = 4000..=4499;
/// Application codes after which a client does not reconnect.
pub const FINAL_CODES: RangeInclusive<u16> = 4500..=4999;

/// The reason for the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed the connection.
    Left,
    /// The connection broke.
    Broken,
    /// The client violated the protocol.
    Protocol,
    /// A text message is not UTF-8.
    InvalidText,
    /// A message is too long.
    TooLarge,
    /// The client sends too many messages, or too many invalid messages.
    TooMany,
    /// The client reads too slowly.
    Slow,
    /// The client did not answer a ping.
    NoPong,
    /// The client's token has expired.
    Expired,
    /// The server is stopping.
    Shutdown,
    /// No snapshot is available.
    Internal,
}

impl CloseReason {
    /// The close code on the wire.
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

    /// The name in logs and in the label of `living_map_stream_closed_total`.
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
