//! Positions in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Identity of one log, 1 to 16 lower-case hexadecimal digits. A recreated log gets a new epoch, so that a cursor of
/// the old log is rejected instead of denoting another position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A position in one log; data at a cursor includes the event at this position. The text form (`<epoch>.<sequence>`) is
/// opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor {
    /// The log this position belongs to.
    pub epoch: Epoch,
    /// 1 for the first event; 0 is before the first event.
    pub seq: u64,
}

/// The text is not a cursor of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a cursor returned by this server, for example 5f3a9c.1042")]
pub struct InvalidCursor;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.is_empty() || !text.bytes().all(hex) {
            return Err(InvalidCursor);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidCursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, seq) = text.split_once('.').ok_or(InvalidCursor)?;
        if seq.is_empty() || !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidCursor);
        }
        Ok(Self { epoch: epoch.parse()?, seq: seq.parse().map_err(|_| InvalidCursor)? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let cursor = Cursor { epoch: Epoch(0x005f_3a9c), seq: 1042 };
        assert_eq!(cursor.to_string(), "5f3a9c.1042");
        assert_eq!("5f3a9c.1042".parse(), Ok(cursor));
    }

    #[test]
    fn malformed_cursors_are_rejected() {
        for text in ["", ".", "1", "1.", ".1", "g.1", "1.-1", "1.+1", "A.1", "1.99999999999999999999", "1.1.1", "1.1 "]
        {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text:?}");
        }
    }
}
