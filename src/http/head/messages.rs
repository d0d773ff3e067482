//! The requests of a connection, one after the other.

use bytes::{Bytes, BytesMut};

use super::chunks::Chunks;
use super::lines::Lines;
use super::parse::{Framing, Head, parse};
use super::{Limits, Malformed};

/// Released in place of a malformed head, so that its answer follows those of the requests before it.
const REJECTED: &[u8] = b"GET / HTTP/1.1\r\nHost: rejected.invalid\r\nConnection: close\r\n\r\n";
/// Like [`REJECTED`], for a request whose answer has no body.
const REJECTED_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: rejected.invalid\r\nConnection: close\r\n\r\n";

/// The bytes of a connection, released to the HTTP server message by message: never bytes of two requests at once, and none
/// after a malformed head.
#[derive(Debug)]
pub struct Messages {
    limits: Limits,
    inside: Inside,
    /// Received and not yet checked, or checked and incomplete: at most a head and what one read returned.
    held: BytesMut,
    /// Released and not yet taken.
    released: Bytes,
}

/// Part of a message.
#[derive(Debug)]
enum Inside {
    Head(Lines),
    /// A body with this number of bytes left, at least one.
    Length(u64),
    Chunked(Chunks),
    /// After the handshake of a WebSocket.
    WebSocket,
    /// After a malformed head.
    Rejected(Malformed),
    /// In a malformed body that arrived together with its head, which is released before the error.
    Failed(Malformed),
}

impl Messages {
    /// Begins before the first request.
    pub fn new(limits: Limits) -> Self {
        let inside = Inside::Head(Lines::of_head(limits));
        Self { limits, inside, held: BytesMut::new(), released: Bytes::new() }
    }

    /// Takes received bytes. Returns the number of those, from the first on, that the HTTP server may have as they are; the others
    /// are kept. Must be called when [`Self::take`] has returned nothing, which may then return more.
    ///
    /// # Errors
    /// A body is malformed. A malformed head is no error; see [`Self::rejected`].
    pub fn receive(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let passed = match &self.inside {
            Inside::Rejected(_) => return Ok(0),
            Inside::Failed(malformed) => return Err(*malformed),
            Inside::Head(_) if self.held.is_empty() => self.pass_head(bytes),
            Inside::Head(_) => 0,
            _ => self.pass_body(bytes)?,
        };
        if !matches!(self.inside, Inside::Rejected(_) | Inside::Failed(_)) {
            self.held.extend_from_slice(&bytes[passed..]);
        }
        Ok(passed)
    }

    /// Next bytes for the HTTP server, at most `max`; none if more must be received.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn take(&mut self, max: usize) -> Result<Bytes, Malformed> {
        if let Inside::Failed(malformed) = self.inside {
            return Err(malformed);
        }
        if self.released.is_empty() && !self.held.is_empty() {
            self.release()?;
        }
        Ok(self.released.split_to(max.min(self.released.len())))
    }

    /// Returns true inside a head, as far as [`Self::take`] has seen it.
    pub fn has_begun_head(&self) -> bool {
        matches!(&self.inside, Inside::Head(lines) if lines.seen() > lines.blank())
    }

    /// Rejects the request whose head is being received.
    pub fn reject(&mut self, malformed: Malformed) {
        let head = std::mem::take(&mut self.held);
        self.reject_head(&head, malformed);
    }

    /// Reason why no bytes are released any more.
    pub const fn rejected(&self) -> Option<Malformed> {
        match self.inside {
            Inside::Rejected(malformed) => Some(malformed),
            _ => None,
        }
    }

    /// Returns true after a request for a WebSocket: everything after it is passed on unchecked.
    pub const fn is_handshake(&self) -> bool {
        matches!(self.inside, Inside::WebSocket)
    }

    /// Bytes that were received and not taken.
    pub fn into_rest(self) -> Bytes {
        if self.held.is_empty() { self.released } else { [&self.released[..], &self.held].concat().into() }
    }

    /// Checks bytes that begin with a head. Returns how many of them may pass as they are: none, unless the head is complete and
    /// need not be rewritten.
    fn pass_head(&mut self, bytes: &[u8]) -> usize {
        let Inside::Head(lines) = &mut self.inside else { return 0 };
        let complete = match lines.scan(bytes) {
            Ok(Some(end)) if lines.blank() == 0 => parse(&bytes[..end], self.limits).map(|head| Some((end, head))),
            Ok(_) => Ok(None),
            Err(malformed) => Err(malformed),
        };
        match complete {
            Err(malformed) => self.reject_head(bytes, malformed),
            Ok(Some((end, head))) if head.rewritten.is_none() => {
                self.enter(&head);
                let body = self.pass_body(&bytes[end..]).unwrap_or_else(|malformed| {
                    // the answer needs the head
                    self.inside = Inside::Failed(malformed);
                    0
                });
                return end + body;
            }
            // released from the bytes that are kept
            Ok(_) => *self = Self::new(self.limits),
        }
        0
    }

    /// Checks bytes that begin inside a body. Returns how many of them belong to the message.
    fn pass_body(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let end = match &mut self.inside {
            Inside::Head(_) | Inside::Rejected(_) => return Ok(0),
            Inside::Failed(malformed) => return Err(*malformed),
            Inside::WebSocket => None,
            Inside::Chunked(chunks) => chunks.scan(bytes)?,
            Inside::Length(left) => {
                let end = usize::try_from(*left).ok().filter(|left| *left <= bytes.len());
                *left = left.saturating_sub(bytes.len() as u64);
                end
            }
        };
        if end.is_some() {
            self.inside = Inside::Head(Lines::of_head(self.limits));
        }
        Ok(end.unwrap_or(bytes.len()))
    }

    /// Releases the beginning of the bytes that are kept: a head once it is complete, or a part of a body.
    fn release(&mut self) -> Result<(), Malformed> {
        let Inside::Head(lines) = &mut self.inside else {
            let mut held = std::mem::take(&mut self.held);
            let passed = self.pass_body(&held)?;
            self.released = held.split_to(passed).freeze();
            self.keep(held);
            return Ok(());
        };
        match lines.scan(&self.held[lines.seen()..]) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(malformed) => {
                self.reject(malformed);
                return Ok(());
            }
        }
        let (seen, blank) = (lines.seen(), lines.blank());
        let mut held = std::mem::take(&mut self.held);
        let bytes = held.split_to(seen).split_off(blank).freeze();
        match parse(&bytes, self.limits) {
            Ok(head) => {
                self.enter(&head);
                self.released = head.rewritten.unwrap_or(bytes);
                self.keep(held);
            }
            Err(malformed) => self.reject_head(&bytes, malformed),
        }
        Ok(())
    }

    /// Keeps what is left of the received bytes. An idle connection holds no memory.
    fn keep(&mut self, rest: BytesMut) {
        self.held = if rest.is_empty() { BytesMut::new() } else { rest };
    }

    /// Continues after a valid head.
    fn enter(&mut self, head: &Head) {
        self.inside = match head.framing {
            _ if head.handshake => Inside::WebSocket,
            Framing::Length(0) => Inside::Head(Lines::of_head(self.limits)),
            Framing::Length(length) => Inside::Length(length),
            Framing::Chunked => Inside::Chunked(Chunks::new(self.limits)),
        };
    }

    fn reject_head(&mut self, head: &[u8], malformed: Malformed) {
        self.released = Bytes::from_static(if head.starts_with(b"HEAD ") { REJECTED_HEAD } else { REJECTED });
        self.held = BytesMut::new();
        self.inside = Inside::Rejected(malformed);
    }
}
