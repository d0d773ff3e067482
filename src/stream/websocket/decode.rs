//! A strict decoder of the WebSocket frames that clients send (RFC 6455).

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::stream::close::CloseReason;

/// Maximum payload of a control frame in bytes (RFC 6455, 5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// A message or control frame from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message; its content is ignored.
    Binary,
    /// A ping, which must be answered with its payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close frame, with its code if there is one.
    Close(Option<u16>),
}

/// A protocol violation that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The reason that determines the close code.
    pub reason: CloseReason,
    /// The text of the close frame.
    pub text: &'static str,
}

const fn protocol(text: &'static str) -> Violation {
    Violation { reason: CloseReason::Protocol, text }
}

/// Decodes a client's bytes into messages. Holds at most one incomplete frame and one incomplete message, and no
/// allocation without them.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    message: Option<(Data, Vec<u8>)>,
}

impl Decoder {
    /// Appends received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message or control frame, if it is complete. The decoder must not be used after an error.
    ///
    /// # Errors
    /// The protocol violation. A message over `max_bytes` is rejected before it is received completely.
    pub fn next(&mut self, max_bytes: usize) -> Result<Option<Incoming>, Violation> {
        while let Some((header, payload)) = self.next_frame(max_bytes)? {
            let incoming = match header.opcode {
                OpCode::Control(kind) => Some(control(kind, payload)?),
                OpCode::Data(kind) => self.data(kind, header.is_final, payload)?,
            };
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
        Ok(None)
    }

    fn next_frame(&mut self, max_bytes: usize) -> Result<Option<(FrameHeader, Vec<u8>)>, Violation> {
        let mut cursor = Cursor::new(&self.buffer);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| protocol("unknown opcode"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let held = self.message.as_ref().map_or(0, |(_, held)| held.len());
        let length = check(&header, length, held, max_bytes)?;
        let Some(mask) = header.mask else { return Err(protocol("frames from a client must be masked")) };
        let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let end = start.saturating_add(length);
        let Some(masked) = self.buffer.get(start..end) else { return Ok(None) };
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        if end == self.buffer.len() {
            self.buffer = Vec::new();
        } else {
            self.buffer.drain(..end);
        }
        Ok(Some((header, payload)))
    }

    fn data(&mut self, kind: Data, is_final: bool, payload: Vec<u8>) -> Result<Option<Incoming>, Violation> {
        let (kind, message) = match (kind, self.message.take()) {
            (Data::Continue, Some((kind, mut message))) => {
                message.extend_from_slice(&payload);
                (kind, message)
            }
            (Data::Continue, None) => return Err(protocol("a continuation without a beginning")),
            (_, Some(_)) => return Err(protocol("a new message inside another")),
            (kind, None) => (kind, payload),
        };
        if !is_final {
            self.message = Some((kind, message));
            return Ok(None);
        }
        if kind == Data::Binary {
            return Ok(Some(Incoming::Binary));
        }
        let text = String::from_utf8(message)
            .map_err(|_| Violation { reason: CloseReason::InvalidText, text: "text must be UTF-8" })?;
        Ok(Some(Incoming::Text(text)))
    }
}

/// Validates a header and returns the payload length.
fn check(header: &FrameHeader, length: u64, held: usize, max_bytes: usize) -> Result<usize, Violation> {
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(protocol("reserved bits without an extension"));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if matches!(header.opcode, OpCode::Control(_)) {
        if !header.is_final {
            return Err(protocol("a control frame in fragments"));
        }
        if length > MAX_CONTROL_BYTES {
            return Err(protocol("a control frame over 125 bytes"));
        }
    } else if held.saturating_add(length) > max_bytes {
        return Err(Violation { reason: CloseReason::TooLarge, text: "message too long" });
    }
    Ok(length)
}

fn control(kind: Control, payload: Vec<u8>) -> Result<Incoming, Violation> {
    match kind {
        Control::Ping => Ok(Incoming::Ping(payload)),
        Control::Pong => Ok(Incoming::Pong),
        Control::Close => match payload.split_first_chunk::<2>() {
            None if payload.is_empty() => Ok(Incoming::Close(None)),
            None => Err(protocol("a close code of one byte")),
            Some((code, reason)) => {
                let code = u16::from_be_bytes(*code);
                if !CloseCode::from(code).is_allowed() {
                    return Err(protocol("a close code that must not be sent"));
                }
                if std::str::from_utf8(reason).is_err() {
                    return Err(Violation { reason: CloseReason::InvalidText, text: "a close reason must be UTF-8" });
                }
                Ok(Incoming::Close(Some(code)))
            }
        },
        Control::Reserved(_) => Err(protocol("unknown opcode")),
    }
}

#[cfg(test)]
mod tests;
