//! Bytes that wait to be written to one client, in addition to the frames of the ring.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A part of a frame.
#[derive(Debug)]
struct FramePart {
    bytes: Bytes,
    ends_frame: bool,
}

/// A queue of shared bytes. Nearly always empty, and without an allocation then.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    parts: VecDeque<FramePart>,
    bytes: usize,
    /// The first part belongs to a frame that is partly written.
    mid_frame: bool,
}

impl WriteBuffer {
    /// Returns true if everything is written.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The number of unwritten parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The number of unwritten bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a complete frame.
    pub fn push(&mut self, frame: Bytes) {
        self.add(frame, true);
    }

    /// Appends a frame given in parts.
    pub fn push_parts<const N: usize>(&mut self, parts: [Bytes; N]) {
        for (index, part) in parts.into_iter().enumerate() {
            self.add(part, index + 1 == N);
        }
    }

    /// Appends the rest of a frame of which `written` bytes are already written.
    pub fn push_rest(&mut self, frame: &Bytes, written: usize) {
        debug_assert!(self.is_empty(), "the rest of a frame must follow its beginning");
        self.mid_frame = written > 0;
        self.add(frame.slice(written..), true);
    }

    fn add(&mut self, bytes: Bytes, ends_frame: bool) {
        self.bytes += bytes.len();
        self.parts.push_back(FramePart { bytes, ends_frame });
    }

    /// Fills `slices` with the next bytes to write. Returns the number of slices filled.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(&part.bytes);
            filled += 1;
        }
        filled
    }

    /// Removes the first `written` bytes.
    pub fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.parts.front_mut() {
            if written < first.bytes.len() {
                self.mid_frame |= written > 0;
                first.bytes.advance(written);
                return;
            }
            written -= first.bytes.len();
            self.mid_frame = !first.ends_frame;
            self.parts.pop_front();
        }
        self.parts = VecDeque::new();
    }

    /// Removes all frames of which no byte is written.
    pub fn discard_unstarted_frames(&mut self) {
        let remaining =
            if self.mid_frame { self.parts.iter().position(|part| part.ends_frame).map_or(0, |at| at + 1) } else { 0 };
        self.parts.truncate(remaining);
        self.bytes = self.parts.iter().map(|part| part.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(buffer: &mut WriteBuffer, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !buffer.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = buffer.fill(&mut slices);
            let next: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(step).collect();
            buffer.advance(next.len());
            out.extend(next);
        }
        assert_eq!(buffer.bytes(), 0);
        out
    }

    #[test]
    fn bytes_keep_their_order_at_any_write_size() {
        for step in 1..12 {
            let mut buffer = WriteBuffer::default();
            buffer.push_parts([Bytes::from_static(b"ab"), Bytes::from_static(b"cde"), Bytes::from_static(b"f")]);
            buffer.push(Bytes::from_static(b"ghi"));
            assert_eq!(written(&mut buffer, step), b"abcdefghi", "{step}");
        }
    }

    #[test]
    fn a_partly_written_frame_is_completed() {
        for taken in 0..9 {
            let mut buffer = WriteBuffer::default();
            buffer.push_parts([Bytes::from_static(b"ab"), Bytes::from_static(b"cde")]);
            buffer.push(Bytes::from_static(b"ghi"));
            buffer.advance(taken);
            buffer.discard_unstarted_frames();
            let left: &[u8] = match taken {
                0 | 5 | 8 => b"",
                1..5 => &b"abcde"[taken..],
                _ => &b"abcdeghi"[taken..],
            };
            assert_eq!(written(&mut buffer, 100), left, "{taken}");
        }
    }
}
