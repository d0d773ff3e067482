//! Response bodies in pieces.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::budget::Permit;

/// Bytes of a piece of an encoded answer: little memory remains when the last of its bytes waits for the socket, and few
/// pieces make up a large answer.
const PIECE_BYTES: usize = 256 * 1024;

/// Body of known length in pieces. Between two pieces other tasks run: a compression of the whole answer at once would
/// occupy the thread.
pub struct Pieces {
    queue: VecDeque<Bytes>,
    left: u64,
    paused: bool,
}

impl Pieces {
    /// A body of these pieces.
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { queue: pieces.into(), left, paused: true }
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.queue.is_empty() && !std::mem::replace(&mut self.paused, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(piece) = self.queue.pop_front() else { return Poll::Ready(None) };
        self.left -= piece.len() as u64;
        self.paused = false;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.queue.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Body whose bytes are in flight until the socket has accepted them.
pub struct TrackedBody {
    body: Body,
    permit: Permit,
}

impl TrackedBody {
    /// Tracks a body with a permit of its size.
    pub const fn new(body: Body, permit: Permit) -> Self {
        Self { body, permit }
    }
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|piece| self.permit.attach(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Writer into pieces. Each is one allocation, which is freed when the piece has been written.
#[derive(Debug)]
pub struct PieceWriter {
    done: Vec<Bytes>,
    current: Vec<u8>,
    max_bytes: usize,
    written: usize,
}

impl PieceWriter {
    /// A writer of any number of pieces.
    pub const fn unbounded() -> Self {
        Self::bounded(usize::MAX)
    }

    /// A writer that fails beyond `max_bytes`.
    pub const fn bounded(max_bytes: usize) -> Self {
        Self { done: Vec::new(), current: Vec::new(), max_bytes, written: 0 }
    }

    /// The pieces written.
    pub fn finish(mut self) -> Vec<Bytes> {
        if !self.current.is_empty() {
            self.current.shrink_to_fit();
            self.done.push(self.current.into());
        }
        self.done
    }
}

impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max_bytes - self.written {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut left = bytes;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(PIECE_BYTES - self.current.len()));
            self.current.extend_from_slice(now);
            left = later;
            if self.current.len() == PIECE_BYTES {
                self.done.push(std::mem::replace(&mut self.current, Vec::with_capacity(PIECE_BYTES)).into());
            }
        }
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::to_bytes;
    use hyper::body::Body as _;

    use super::*;

    #[tokio::test]
    async fn pieces_have_a_known_length_and_every_byte() {
        let text: Vec<u8> = (0..=250).cycle().take(3 * PIECE_BYTES + 7).collect();
        let mut writer = PieceWriter::unbounded();
        for part in text.chunks(100_003) {
            writer.write_all(part).unwrap();
        }
        let pieces = writer.finish();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 7]);
        let body = Pieces::new(pieces);
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        assert!(to_bytes(Body::new(body), usize::MAX).await.unwrap() == text);
        assert_eq!(Pieces::new(Vec::new()).size_hint().exact(), Some(0));
    }

    #[test]
    fn a_bounded_writer_fails_beyond_its_bound() {
        let mut writer = PieceWriter::bounded(10);
        writer.write_all(b"0123456789").unwrap();
        assert!(writer.write_all(b"x").is_err());
    }
}
