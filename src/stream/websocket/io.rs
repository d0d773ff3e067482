//! The byte stream of a client after the upgrade.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::stream::connection::Connection;

/// A byte stream to a client: the bare TCP socket if there is one, since hyper's wrappers cost memory and an indirect
/// call for each write; otherwise (TLS, a pipe in a test) hyper's stream.
#[derive(Debug)]
pub enum Io {
    /// The bare socket.
    Tcp(TcpStream),
    /// Hyper's stream over any other connection.
    Other(Box<TokioIo<Upgraded>>),
}

impl Io {
    /// Unwraps an upgraded connection. Also returns the bytes that the client sent right after its request.
    pub fn of_upgraded(upgraded: Upgraded, connection: &Connection) -> (Self, Bytes) {
        let (stream, leftover) = match connection.take_tcp_stream(upgraded) {
            Ok(parts) => parts,
            Err(upgraded) => return (Self::Other(Box::new(TokioIo::new(upgraded))), Bytes::new()),
        };
        // Frames are written whole, so Nagle's algorithm would only delay them. If the option cannot be set, the socket
        // is dead, and the first write fails.
        let _ = stream.set_nodelay(true);
        (Self::Tcp(stream), leftover)
    }

    /// The address of the peer, if it is known.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Other(_) => None,
        }
    }

    /// Reads into `buffer`. Returns 0 at the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut read))?,
            Self::Other(stream) => ready!(Pin::new(stream).poll_read(cx, &mut read))?,
        }
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Writes as much of `slices` as the socket accepts.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, slices) {
            // One `write` is cheaper than one `writev`, and most writes have one frame.
            (Self::Tcp(stream), [slice]) => Pin::new(stream).poll_write(cx, slice),
            (Self::Tcp(stream), _) => Pin::new(stream).poll_write_vectored(cx, slices),
            (Self::Other(stream), _) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// Flushes the buffers of layers above the socket.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}
