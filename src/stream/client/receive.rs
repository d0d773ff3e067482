//! What a client sends, and the answers.

use std::task::{Context, Poll};

use chrono::Utc;

use super::{Client, MAX_ANSWERS, MAX_ROUNDS, Phase, Rate, Turn, ping_time};
use crate::stream::close::CloseReason;
use crate::stream::decode::{Decoder, Incoming};
use crate::stream::protocol;

impl Client {
    /// Reads what the client sent and answers it; true when there may be more to read.
    pub fn receive(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], turn: &Turn<'_>) -> Result<bool, CloseReason> {
        self.answer_all(turn);
        for _ in 0..MAX_ROUNDS {
            if self.outbox.len() >= MAX_ANSWERS {
                return Ok(false);
            }
            match self.io.poll_read(cx, scratch) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(read)) if read > 0 => {
                    self.pong_by = None;
                    self.decoder.feed(&scratch[..read]);
                    self.answer_all(turn);
                }
                Poll::Ready(end) => {
                    return Err(match self.phase {
                        Phase::Closing { reason, .. } => reason,
                        _ if end.is_ok() => CloseReason::Left,
                        _ => CloseReason::Broken,
                    });
                }
            }
        }
        Ok(true)
    }

    fn answer_all(&mut self, turn: &Turn<'_>) {
        loop {
            match self.decoder.next(turn.config.max_message_bytes) {
                Ok(None) => return,
                Ok(Some(incoming)) => self.answer(incoming, turn),
                Err(violation) => {
                    // What comes after it cannot be understood, and the decoder is of no use any more.
                    self.decoder = Decoder::default();
                    self.close(violation.reason, violation.text, turn);
                    return;
                }
            }
        }
    }

    fn answer(&mut self, incoming: Incoming, turn: &Turn<'_>) {
        if let Phase::Closing { answered, .. } = &mut self.phase {
            *answered |= matches!(incoming, Incoming::Close(_));
            return;
        }
        if turn.now >= self.rate.since + turn.config.rate_window {
            self.rate = Rate { since: turn.now, frames: 0, bad: 0 };
        }
        self.rate.frames += 1;
        match incoming {
            Incoming::Pong => {}
            Incoming::Ping(payload) => self.outbox.push(protocol::protocol_pong(&payload)),
            Incoming::Close(code) => {
                self.outbox.keep_frame_under_way();
                self.outbox.push(protocol::protocol_close(code.unwrap_or(1000), ""));
                let until = turn.now + turn.config.close_timeout;
                self.phase = Phase::Closing { reason: CloseReason::Left, until, answered: true };
                return;
            }
            Incoming::Text(text) => {
                self.ping_at = ping_time(turn);
                match (is_ping(&text), self.position) {
                    (true, Some(position)) => self.outbox.push(protocol::ping(Utc::now(), position).wire().clone()),
                    // Its first snapshot is on its way and will do as an answer.
                    (true, None) => {}
                    (false, _) => self.complain(r#"expected {"kind":"ping"}; the stream takes nothing else"#),
                }
            }
            Incoming::Binary => self.complain("expected text, got a binary message"),
        }
        if self.rate.frames > turn.config.max_client_frames {
            self.close(CloseReason::TooMany, "too many messages", turn);
        } else if self.rate.bad > turn.config.max_bad_frames {
            self.close(CloseReason::TooMany, "too many messages that could not be understood", turn);
        }
    }

    fn complain(&mut self, message: &str) {
        self.rate.bad += 1;
        self.outbox.push(protocol::error(Utc::now(), "bad_message", message).wire().clone());
    }
}

/// Whether a client asks for a sign of life: as JSON, or as the bare word that clients of the old service send.
fn is_ping(text: &str) -> bool {
    text.trim() == "ping"
        || serde_json::from_str::<serde_json::Value>(text).is_ok_and(|message| message["kind"] == "ping")
}
