//! The connection that hyper reads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::{Limits, Malformed, Messages};
use crate::instruments::count_rejected;

/// Findings of a [`Reader`] about the newest request of its connection, for the service that answers it. hyper calls the
/// service before it reads the next request.
#[derive(Debug, Default)]
pub struct Findings {
    rejected: OnceLock<Malformed>,
    handshake: AtomicBool,
    head_begun: AtomicBool,
}

impl Findings {
    /// Reason for rejecting the request, which stands for the one that was received.
    pub fn rejected(&self) -> Option<Malformed> {
        self.rejected.get().copied()
    }

    /// Returns true for a request for a WebSocket. The connection must end unless it becomes one: the bytes after it are not
    /// checked.
    pub fn is_handshake(&self) -> bool {
        self.handshake.load(Ordering::Relaxed)
    }

    /// Returns true if a part of the next head has arrived, possibly together with the request before it.
    pub fn has_begun_head(&self) -> bool {
        self.head_begun.load(Ordering::Relaxed)
    }
}

/// A connection of which hyper reads well-formed requests only, and never bytes of two of them at once.
#[derive(Debug)]
pub struct Reader<S> {
    stream: S,
    messages: Messages,
    findings: Arc<Findings>,
    /// Longest time for which the bytes after a malformed request are discarded: closing a connection with unread bytes can
    /// lose the answer.
    discard: Duration,
    /// End of discarding.
    discard_until: Option<Pin<Box<Sleep>>>,
    /// A body was malformed.
    failed: bool,
}

impl<S> Reader<S> {
    /// A connection before its first request. Bytes after a malformed one are discarded for at most `discard`.
    pub fn new(stream: S, limits: Limits, discard: Duration, findings: Arc<Findings>) -> Self {
        Self { stream, messages: Messages::new(limits), findings, discard, discard_until: None, failed: false }
    }

    /// The stream, and the bytes read from it that hyper has not taken.
    pub fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.messages.into_rest())
    }

    /// Passes the state of the messages to the service.
    fn report(&self) {
        if let Some(malformed) = self.messages.rejected()
            && self.findings.rejected.set(malformed).is_ok()
        {
            count(malformed);
        }
        if self.messages.is_handshake() {
            self.findings.handshake.store(true, Ordering::Relaxed);
        }
        self.findings.head_begun.store(self.messages.has_begun_head(), Ordering::Relaxed);
    }

    /// Notes that a body is malformed.
    fn fail(&mut self, malformed: Malformed) -> io::Error {
        self.failed = true;
        count(malformed);
        io::Error::new(io::ErrorKind::InvalidData, malformed)
    }
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Completes when the connection can be closed without losing its last answer: at once, unless its last request was
    /// malformed.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.findings.rejected().is_none() && !self.failed {
            return Poll::Ready(());
        }
        let discard = self.discard;
        let end = self.discard_until.get_or_insert_with(|| Box::pin(sleep(discard)));
        let mut bytes = [0; 4_096];
        loop {
            if end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reader<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let bytes = self.messages.take(buffer.remaining()).map_err(|malformed| self.fail(malformed))?;
            self.report();
            if !bytes.is_empty() {
                buffer.put_slice(&bytes);
                return Poll::Ready(Ok(()));
            }
            if self.findings.rejected().is_some() {
                // the answer, which is being written, ends the connection
                return Poll::Pending;
            }
            let begin = buffer.filled().len();
            let ended = match ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Some(Malformed::TooSlow),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => (buffer.filled().len() == begin).then_some(Malformed::Incomplete),
            };
            if let Some(malformed) = ended {
                if self.messages.has_begun_head() {
                    self.messages.reject(malformed);
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            let received = self.messages.receive(&buffer.filled()[begin..]);
            let passed = received.map_err(|malformed| self.fail(malformed))?;
            buffer.set_filled(begin + passed);
            self.report();
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Reader<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.poll_discard(cx).map(Ok)
    }
}

/// Counts a malformed request.
fn count(malformed: Malformed) {
    match malformed.limit() {
        Some(limit) => count_rejected(limit),
        None => counter!("living_map_http_malformed_requests_total", "reason" => malformed.group()).increment(1),
    }
}
