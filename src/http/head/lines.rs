//! Bytes of a head or of a trailer section, checked as they arrive.

use super::{Limits, Malformed};

/// Expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The request line, or an empty line before it, which is skipped (RFC 9112, 2.2).
    Start,
    StartLf,
    RequestLine,
    RequestLineLf,
    /// A field, or the empty line that ends the section.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
}

/// Check of the lines of a head or of a trailer section: finds its end, however it is cut into pieces.
#[derive(Debug, Clone)]
pub struct Lines {
    next: Next,
    limits: Limits,
    /// Bytes seen.
    seen: usize,
    /// Bytes of the empty lines before the request line.
    blank: usize,
    fields: usize,
}

impl Lines {
    /// Begins before a request line.
    pub const fn of_head(limits: Limits) -> Self {
        Self { next: Next::Start, limits, seen: 0, blank: 0, fields: 0 }
    }

    /// Begins before the first trailer field.
    pub const fn of_trailers(limits: Limits) -> Self {
        Self { next: Next::Line, limits, seen: 0, blank: 0, fields: 0 }
    }

    /// Bytes seen so far.
    pub const fn seen(&self) -> usize {
        self.seen
    }

    /// Bytes of the empty lines before the request line.
    pub const fn blank(&self) -> usize {
        self.blank
    }

    /// Returns the number of these bytes up to the section's end; `None` if all of them are inside it.
    ///
    /// # Errors
    /// A line is malformed, or the section exceeds the limits.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.seen += 1;
            if self.seen > self.limits.bytes {
                return Err(Malformed::TooLarge);
            }
            let next = self.step(byte)?;
            self.next = match next {
                Some(next) => next,
                None => return Ok(Some(index + 1)),
            };
        }
        Ok(None)
    }

    /// State after this byte; `None` at the end of the section.
    fn step(&mut self, byte: u8) -> Result<Option<Next>, Malformed> {
        let next = match (self.next, byte) {
            (Next::Start, b'\r') => Next::StartLf,
            (Next::RequestLine, b'\r') => Next::RequestLineLf,
            (Next::Value, b'\r') => Next::ValueLf,
            (Next::Line, b'\r') => Next::EndLf,
            (Next::StartLf, b'\n') => {
                self.blank = self.seen;
                Next::Start
            }
            (Next::RequestLineLf | Next::ValueLf, b'\n') => Next::Line,
            (Next::EndLf, b'\n') => return Ok(None),
            (Next::StartLf | Next::RequestLineLf | Next::ValueLf | Next::EndLf, _) | (_, b'\n') => {
                return Err(Malformed::LineEnd);
            }
            (Next::Value, b'\t') => Next::Value,
            (Next::Line, b' ' | b'\t') => return Err(Malformed::Folded),
            (Next::Name, b' ' | b'\t') => return Err(Malformed::BlankBeforeColon),
            // a line without a colon
            (Next::Name, b'\r') => return Err(Malformed::Field),
            (_, 0..=0x1f | 0x7f) => return Err(Malformed::Control),
            (Next::Start, byte) if is_token(byte) => Next::RequestLine,
            (Next::Start, _) => return Err(Malformed::RequestLine),
            (Next::RequestLine, _) => Next::RequestLine,
            (Next::Line, byte) if is_token(byte) => {
                self.fields += 1;
                if self.fields > self.limits.fields {
                    return Err(Malformed::TooManyFields);
                }
                Next::Name
            }
            (Next::Name, b':') | (Next::Value, _) => Next::Value,
            (Next::Name, byte) if is_token(byte) => Next::Name,
            (Next::Line | Next::Name, _) => return Err(Malformed::Field),
        };
        Ok(Some(next))
    }
}

/// Returns true for a character of methods and names of fields (`tchar`, RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
