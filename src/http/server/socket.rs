//! The socket of an HTTP connection, with the deadlines of reading a head and of writing a response.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Phase, Timeouts};
use super::unsent::lift_unsent_limit;
use crate::http::head::reader::{Findings, Reader};
use crate::instruments::{Limit, count_rejected};
use crate::stream::Connection;

/// A TCP socket, read by a [`Reader`] and written by hyper.
///
/// It has one timer, which is set only where a read or write has to wait, and stays where it is while it is not later
/// than the deadline: a request that arrives at once and a response that is taken at once cost no timer.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    findings: Arc<Findings>,
    connection: Connection,
    timeouts: Timeouts,
    timer: Option<Pin<Box<Sleep>>>,
    /// A read waits without a deadline, since a request is being answered.
    reads_without_deadline: bool,
    pace: Pace,
}

impl Socket {
    /// The socket of an accepted connection. A connection that became a stream has the stream's deadlines instead of
    /// `timeouts`.
    pub const fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        findings: Arc<Findings>,
        connection: Connection,
        timeouts: Timeouts,
    ) -> Self {
        let (timer, reads_without_deadline) = (None, false);
        Self { stream, activity, findings, connection, timeouts, timer, reads_without_deadline, pace: Pace::NEW }
    }

    /// The end of a connection whose next request does not arrive in time.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.findings.has_begun_head() {
            // it came together with the request before it
            self.activity.received();
        }
        let (phase, since) = self.activity.phase();
        self.reads_without_deadline = matches!(phase, Phase::Busy | Phase::Flushing);
        match phase {
            Phase::Idle => {
                ready!(self.poll_timer(since + self.timeouts.idle, cx));
                // as if the client had closed it
                Poll::Ready(Ok(()))
            }
            Phase::Head => {
                ready!(self.poll_timer(since + self.timeouts.head, cx));
                count_rejected(Limit::HeadTime);
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the head of a request did not arrive in time",
                )))
            }
            Phase::Busy | Phase::Flushing => Poll::Pending,
        }
    }

    /// Returns true if a read waits that began during a response, and no timer will repeat it.
    fn lacks_read_deadline(&self) -> bool {
        let repeated = self.timer.as_ref().is_some_and(|timer| !timer.is_elapsed());
        self.reads_without_deadline && (!repeated || self.findings.has_begun_head())
    }

    /// The end of a connection whose client reads too slowly.
    fn poll_write_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.connection.is_stream() {
            return Poll::Pending;
        }
        let deadline = self.pace.wait(Instant::now(), self.timeouts.stall);
        ready!(self.poll_timer(deadline, cx));
        count_rejected(Limit::ResponseRate);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")))
    }

    /// Completes at `deadline`.
    fn poll_timer(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            // it was set for an earlier deadline, which no longer applies
            timer.as_mut().reset(deadline);
        }
    }

    fn written(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.poll_write_deadline(cx),
            Poll::Ready(Ok(bytes)) => {
                self.pace.moved(bytes, self.timeouts.bytes_per_second);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

/// Delay of a client behind the slowest permitted rate, in one response. Only time in which the socket accepts nothing
/// counts.
#[derive(Debug)]
struct Pace {
    waiting_since: Option<Instant>,
    behind: Duration,
}

impl Pace {
    const NEW: Self = Self { waiting_since: None, behind: Duration::ZERO };

    /// Notes that the client accepts nothing at `now`. Returns the time at which it will be `limit` behind.
    fn wait(&mut self, now: Instant, limit: Duration) -> Instant {
        *self.waiting_since.get_or_insert(now) + limit.saturating_sub(self.behind)
    }

    /// Notes that the client made room for `bytes`.
    fn moved(&mut self, bytes: usize, bytes_per_second: u32) {
        if let Some(since) = self.waiting_since.take() {
            self.behind += since.elapsed();
        }
        if !self.behind.is_zero() {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.behind = self.behind.saturating_sub(Duration::from_secs(1) * bytes / bytes_per_second);
        }
    }
}

/// Takes the TCP socket out of an upgraded connection. Also returns the bytes that were read from it after the request,
/// in their order.
///
/// # Errors
/// The connection, if it is not a [`Socket`] in a [`Reader`].
pub fn take_tcp_stream(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Reader<Socket>>>()?;
    let (Socket { stream, .. }, unread) = parts.io.into_inner().into_parts();
    lift_unsent_limit(&stream);
    let mut read = BytesMut::with_capacity(parts.read_buf.len() + unread.len());
    // A copy, since even an empty slice would keep all of the HTTP server's read buffer alive.
    read.extend_from_slice(&parts.read_buf);
    read.extend_from_slice(&unread);
    Ok((stream, read.freeze()))
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => self.poll_read_deadline(cx),
            read @ Poll::Ready(_) => {
                if buffer.filled().len() > before {
                    self.activity.received();
                }
                read
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.activity.flushed() {
            self.pace = Pace::NEW;
            if self.lacks_read_deadline() {
                // hyper does not repeat a read that waits
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts_against_a_slow_client() {
        let mut pace = Pace::NEW;
        pace.moved(1 << 30, 1024);
        tokio::time::advance(LIMIT * 2).await;
        assert_eq!(pace.wait(Instant::now(), LIMIT), Instant::now() + LIMIT, "large writes before give no credit");
        tokio::time::advance(LIMIT / 2).await;
        assert_eq!(pace.wait(Instant::now(), LIMIT), Instant::now() + LIMIT / 2);
        pace.moved(5 * 1024, 1024);
        assert_eq!(pace.wait(Instant::now(), LIMIT), Instant::now() + LIMIT / 2 + Duration::from_secs(5));
        pace.moved(1 << 20, 1024);
        assert_eq!(pace.wait(Instant::now(), LIMIT), Instant::now() + LIMIT);
    }

    #[tokio::test]
    async fn a_delay_in_one_answer_is_forgotten_in_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let timeouts = Timeouts::new(&crate::http::HttpConfig::default());
        let mut socket =
            Socket::new(stream, Arc::new(Activity::new()), Arc::default(), Connection::default(), timeouts);
        socket.pace.behind = LIMIT / 2;
        socket.activity.begin_response();
        socket.flush().await.unwrap();
        assert_eq!(socket.pace.behind, LIMIT / 2, "the answer goes on");
        socket.activity.end_response();
        socket.flush().await.unwrap();
        assert_eq!(socket.pace.behind, Duration::ZERO);
    }
}
