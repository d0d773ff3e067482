//! The socket of an HTTP connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::accept::lift_unsent_limit;

/// A TCP socket, read and written by hyper.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// The socket of an accepted connection.
    pub const fn new(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// The TCP socket, and the bytes read from it that hyper has not taken.
    pub fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, Bytes::new())
    }
}

/// Takes the TCP socket out of an upgraded connection. Also returns the bytes that were read from it after the request,
/// in their order.
///
/// # Errors
/// The connection, if it is not a [`Socket`].
pub fn take_tcp_stream(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Socket>>()?;
    let (stream, unread) = parts.io.into_inner().into_parts();
    lift_unsent_limit(&stream);
    let mut read = BytesMut::with_capacity(parts.read_buf.len() + unread.len());
    // A copy, since even an empty slice would keep all of the HTTP server's read buffer alive.
    read.extend_from_slice(&parts.read_buf);
    read.extend_from_slice(&unread);
    Ok((stream, read.freeze()))
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
