//! W3C Trace Context: the header `traceparent`.

use std::fmt;
use std::str::FromStr;

/// Trace id and span id of a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    /// Trace id; not zero.
    pub trace_id: u128,
    /// Span id; not zero.
    pub span_id: u64,
    /// `true` if the trace is sampled.
    pub sampled: bool,
}

impl Traceparent {
    /// Name of the HTTP and NATS header, and of the `CloudEvents` attribute.
    pub const NAME: &str = "traceparent";

    /// The trace id in events: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

/// The text is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 00-<32 hexadecimal digits>-<16>-<2>, in lower case")]
pub struct InvalidTraceparent;

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    /// Parses version 00; later versions may append fields, and start with the same ones.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let mut fields = text.trim_matches([' ', '\t']).split('-');
        let mut field = |digits| hexadecimal(fields.next()?, digits);
        let mut read = || Some((field(2)?, field(32)?, field(16)?, field(2)?));
        let (version, trace_id, span_id, flags) = read().ok_or(InvalidTraceparent)?;
        let more = fields.next().is_some();
        let span_id = u64::try_from(span_id).map_err(|_| InvalidTraceparent)?;
        if version == 0xff || (version == 0 && more) || trace_id == 0 || span_id == 0 {
            return Err(InvalidTraceparent);
        }
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(text, 16).ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn text_form_round_trips() {
        let read: Traceparent = EXAMPLE.parse().unwrap();
        assert_eq!((read.to_string().as_str(), read.sampled), (EXAMPLE, true));
        assert_eq!(read.trace(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!EXAMPLE.replace("-01", "-00").parse::<Traceparent>().unwrap().sampled);
    }

    #[test]
    fn only_later_versions_may_have_more_fields() {
        assert!(EXAMPLE.replacen("00", "cc", 1).parse::<Traceparent>().is_ok());
        assert!(format!("{}-more", EXAMPLE.replacen("00", "cc", 1)).parse::<Traceparent>().is_ok());
        assert!(format!("{EXAMPLE}-more").parse::<Traceparent>().is_err());
    }

    #[test]
    fn invalid_traceparents_are_rejected() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(text.parse::<Traceparent>(), Err(InvalidTraceparent), "{text}");
        }
    }
}
