//! Reading messages from a client, and the replies.

use std::task::{Context, Poll};

use chrono::Utc;

use super::{ClientState, MAX_BUFFERED_PARTS, MAX_ROUNDS, MessageRate, ShardContext, WebSocketClient, next_ping};
use crate::model::json;
use crate::stream::close::CloseReason;
use crate::stream::protocol;
use crate::stream::websocket::decode::{Decoder, Incoming};

impl WebSocketClient {
    /// Reads the client's messages and replies to them. Returns true if there may be more to read.
    pub fn receive(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        shard: &ShardContext<'_>,
    ) -> Result<bool, CloseReason> {
        self.reply_to_all(shard);
        for _ in 0..MAX_ROUNDS {
            if self.buffer.len() >= MAX_BUFFERED_PARTS {
                return Ok(false);
            }
            match self.io.poll_read(cx, scratch) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(read)) if read > 0 => {
                    self.pong_by = None;
                    self.decoder.feed(&scratch[..read]);
                    self.reply_to_all(shard);
                }
                Poll::Ready(end) => {
                    return Err(match self.state {
                        ClientState::Closing { reason, .. } => reason,
                        _ if end.is_ok() => CloseReason::Left,
                        _ => CloseReason::Broken,
                    });
                }
            }
        }
        Ok(true)
    }

    fn reply_to_all(&mut self, shard: &ShardContext<'_>) {
        loop {
            match self.decoder.next(shard.config.max_message_bytes) {
                Ok(None) => return,
                Ok(Some(incoming)) => self.reply(incoming, shard),
                Err(violation) => {
                    // The rest cannot be decoded, and the decoder must not be used after an error.
                    self.decoder = Decoder::default();
                    self.close(violation.reason, violation.text, shard);
                    return;
                }
            }
        }
    }

    fn reply(&mut self, incoming: Incoming, shard: &ShardContext<'_>) {
        if let ClientState::Closing { answered, .. } = &mut self.state {
            *answered |= matches!(incoming, Incoming::Close(_));
            return;
        }
        if shard.now >= self.rate.since + shard.config.rate_window {
            self.rate = MessageRate { since: shard.now, frames: 0, bad: 0 };
        }
        self.rate.frames += 1;
        match incoming {
            Incoming::Pong => {}
            Incoming::Ping(payload) => self.buffer.push(protocol::protocol_pong(&payload)),
            Incoming::Close(code) => {
                self.buffer.discard_unstarted_frames();
                self.buffer.push(protocol::protocol_close(code.unwrap_or(1000), ""));
                let until = shard.now + shard.config.close_timeout;
                self.state = ClientState::Closing { reason: CloseReason::Left, until, answered: true };
                return;
            }
            Incoming::Text(text) => {
                self.ping_at = next_ping(shard);
                match (is_ping(&text), self.position) {
                    (true, Some(position)) => self.buffer.push(protocol::ping(Utc::now(), position).wire().clone()),
                    // The first snapshot, which is on its way, serves as the reply.
                    (true, None) => {}
                    (false, _) => self.reply_with_error(r#"expected {"kind":"ping"}; the stream takes nothing else"#),
                }
            }
            Incoming::Binary => self.reply_with_error("expected text, got a binary message"),
        }
        if self.rate.frames > shard.config.max_client_frames {
            self.close(CloseReason::TooMany, "too many messages", shard);
        } else if self.rate.bad > shard.config.max_bad_frames {
            self.close(CloseReason::TooMany, "too many messages that could not be understood", shard);
        }
    }

    fn reply_with_error(&mut self, message: &str) {
        self.rate.bad += 1;
        self.buffer.push(protocol::error(Utc::now(), "bad_message", message).wire().clone());
    }
}

/// Returns true for a `ping` message: as JSON, or as the bare word that clients of the replaced service send.
fn is_ping(text: &str) -> bool {
    text.trim() == "ping" || json::parse_strict(text.as_bytes()).is_ok_and(|message| message["kind"] == "ping")
}
