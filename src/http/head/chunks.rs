//! Framing of a chunked body (RFC 9112, 7.1).

use super::lines::Lines;
use super::{Limits, Malformed};

/// Hexadecimal digits of a chunk's size that 64 bits can hold.
const MAX_DIGITS: u8 = 16;

/// Expected next.
#[derive(Debug, Clone)]
enum Next {
    /// A digit of the size, after this number of digits.
    Size(u8),
    /// More blanks, or the extension that they precede.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers(Lines),
}

/// Check of a chunked body: finds its end, however it is cut into pieces. The bytes of extensions are limited by hyper.
#[derive(Debug, Clone)]
pub struct Chunks {
    next: Next,
    /// Size of the current chunk, then what is left of it.
    left: u64,
    limits: Limits,
}

impl Chunks {
    /// Begins before the first chunk; the limits are those of the trailer section.
    pub const fn new(limits: Limits) -> Self {
        Self { next: Next::Size(0), left: 0, limits }
    }

    /// Returns the number of these bytes up to the body's end; `None` if all of them are inside it.
    ///
    /// # Errors
    /// A chunk or the trailer section is malformed.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match &mut self.next {
                Next::Data => {
                    let rest = bytes.len() - at;
                    let taken = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
                    self.left -= taken as u64;
                    at += taken;
                    if self.left == 0 {
                        self.next = Next::DataCr;
                    }
                }
                Next::Trailers(lines) => return Ok(lines.scan(&bytes[at..])?.map(|end| at + end)),
                next => {
                    let next = next.clone();
                    self.next = self.step(&next, byte)?;
                    at += 1;
                }
            }
        }
        Ok(None)
    }

    /// State after this byte of a line of framing.
    fn step(&mut self, next: &Next, byte: u8) -> Result<Next, Malformed> {
        Ok(match (next, byte) {
            (Next::Size(digits), _) if byte.is_ascii_hexdigit() && *digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = (self.left << 4) | u64::from(digit);
                Next::Size(digits + 1)
            }
            (Next::Size(1..) | Next::Blank, b' ' | b'\t') => Next::Blank,
            (Next::Size(1..) | Next::Blank, b';') | (Next::Extension, b'\t' | b' '..=0x7e | 0x80..) => Next::Extension,
            (Next::Size(1..) | Next::Extension, b'\r') => Next::SizeLf,
            (Next::SizeLf, b'\n') if self.left == 0 => Next::Trailers(Lines::of_trailers(self.limits)),
            (Next::SizeLf, b'\n') => Next::Data,
            (Next::DataCr, b'\r') => Next::DataLf,
            (Next::DataLf, b'\n') => Next::Size(0),
            _ => return Err(Malformed::Chunk),
        })
    }
}
