//! What is on its way to one client beside the ring's frames.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// One piece of a frame.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    ends_frame: bool,
}

/// Shared bytes with the place up to which they are written. Empty for nearly all clients nearly all the time, and
/// without an allocation then.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// The first piece is what is left of a frame whose beginning is written.
    mid_frame: bool,
}

impl Outbox {
    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Number of pieces not yet written.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes not yet written.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one whole frame.
    pub fn push(&mut self, frame: Bytes) {
        self.add(frame, true);
    }

    /// Adds one frame that is in parts.
    pub fn push_parts<const N: usize>(&mut self, parts: [Bytes; N]) {
        for (index, part) in parts.into_iter().enumerate() {
            self.add(part, index + 1 == N);
        }
    }

    /// Adds one whole frame of which `written` bytes are written already.
    pub fn push_rest(&mut self, frame: &Bytes, written: usize) {
        debug_assert!(self.is_empty(), "the rest of a frame must follow its beginning");
        self.mid_frame = written > 0;
        self.add(frame.slice(written..), true);
    }

    fn add(&mut self, bytes: Bytes, ends_frame: bool) {
        self.bytes += bytes.len();
        self.pieces.push_back(Piece { bytes, ends_frame });
    }

    /// The bytes to write next; returns how many of `slices` are filled.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece.bytes);
            filled += 1;
        }
        filled
    }

    /// The first `written` bytes are written.
    pub fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.pieces.front_mut() {
            if written < first.bytes.len() {
                self.mid_frame |= written > 0;
                first.bytes.advance(written);
                return;
            }
            written -= first.bytes.len();
            self.mid_frame = !first.ends_frame;
            self.pieces.pop_front();
        }
        self.pieces = VecDeque::new();
    }

    /// Forgets all frames of which nothing is written.
    pub fn keep_frame_under_way(&mut self) {
        let kept = if self.mid_frame {
            self.pieces.iter().position(|piece| piece.ends_frame).map_or(0, |at| at + 1)
        } else {
            0
        };
        self.pieces.truncate(kept);
        self.bytes = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = outbox.fill(&mut slices);
            let next: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            outbox.advance(next.len());
            out.extend(next);
        }
        assert_eq!(outbox.bytes(), 0);
        out
    }

    #[test]
    fn bytes_come_out_in_order_however_they_are_taken() {
        for step in 1..12 {
            let mut outbox = Outbox::default();
            outbox.push_parts([Bytes::from_static(b"ab"), Bytes::from_static(b"cde"), Bytes::from_static(b"f")]);
            outbox.push(Bytes::from_static(b"ghi"));
            assert_eq!(written(&mut outbox, step), b"abcdefghi", "{step}");
        }
    }

    #[test]
    fn a_frame_is_never_cut() {
        for taken in 0..9 {
            let mut outbox = Outbox::default();
            outbox.push_parts([Bytes::from_static(b"ab"), Bytes::from_static(b"cde")]);
            outbox.push(Bytes::from_static(b"ghi"));
            outbox.advance(taken);
            outbox.keep_frame_under_way();
            let left: &[u8] = match taken {
                0 | 5 | 8 => b"",
                1..5 => &b"abcde"[taken..],
                _ => &b"abcdeghi"[taken..],
            };
            assert_eq!(written(&mut outbox, 100), left, "{taken}");
        }
    }
}
