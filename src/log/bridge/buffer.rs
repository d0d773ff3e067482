//! Received messages that wait to be appended, bounded by bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::instruments::{Limit, count_rejected};
use crate::log::jetstream::BridgedMessage;

/// Memory of a waiting message besides its content, in bytes.
const OVERHEAD: usize = 512;

/// Received messages. Those being appended count as waiting.
#[derive(Debug)]
pub struct MessageBuffer {
    limit: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<BridgedMessage>,
    bytes: usize,
    /// True since a message was dropped, until the next one is accepted.
    full: bool,
}

/// Result of [`MessageBuffer::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The message waits.
    Accepted,
    /// The message was dropped, the first one since the buffer is full.
    Full,
    /// The message was dropped, as others before.
    StillFull,
}

impl MessageBuffer {
    /// An empty buffer for `limit` bytes. A single larger message is accepted alone.
    pub fn new(limit: usize) -> Self {
        Self { limit, waiting: Mutex::default(), arrived: Notify::new(), dropped: AtomicU64::new(0) }
    }

    /// Adds a message, or drops it if the buffer is full.
    pub fn push(&self, message: BridgedMessage) -> Pushed {
        let size = size(&message);
        let mut waiting = self.waiting();
        if waiting.bytes > 0 && waiting.bytes + size > self.limit {
            let first = !std::mem::replace(&mut waiting.full, true);
            drop(waiting);
            count_rejected(Limit::BridgeBuffer);
            self.count_dropped(1);
            return if first { Pushed::Full } else { Pushed::StillFull };
        }
        waiting.full = false;
        waiting.bytes += size;
        waiting.messages.push_back(message);
        show(waiting.bytes);
        drop(waiting);
        self.arrived.notify_one();
        Pushed::Accepted
    }

    /// Up to `most` messages, at least one; waits for the first.
    pub async fn next(&self, most: usize) -> Vec<BridgedMessage> {
        loop {
            let taken = self.take(most);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    /// Up to `most` messages, without waiting.
    pub fn take(&self, most: usize) -> Vec<BridgedMessage> {
        let mut waiting = self.waiting();
        let count = waiting.messages.len().min(most);
        waiting.messages.drain(..count).collect()
    }

    /// Frees the memory of messages that were taken.
    pub fn release(&self, taken: &[BridgedMessage]) {
        let mut waiting = self.waiting();
        waiting.bytes = waiting.bytes.saturating_sub(taken.iter().map(size).sum());
        show(waiting.bytes);
    }

    /// Counts messages that were not recorded.
    pub fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
        metrics::counter!("living_map_bridge_messages_total", "outcome" => "dropped").increment(count);
    }

    /// Messages that were not recorded since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes of waiting messages.
    pub fn bytes(&self) -> usize {
        self.waiting().bytes
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(message: &BridgedMessage) -> usize {
    message.log_size() + message.subject().len() + OVERHEAD
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the size is far below 2^52")]
fn show(bytes: usize) {
    metrics::gauge!("living_map_bridge_buffer_bytes").set(bytes as f64);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(bytes: usize) -> BridgedMessage {
        BridgedMessage::new("rag.x".to_owned(), None, Bytes::from(vec![b'x'; bytes]), None)
    }

    #[tokio::test]
    async fn a_full_buffer_drops_the_newest_and_counts_them() {
        let buffer = MessageBuffer::new(10_000);
        assert_eq!(buffer.push(message(20_000)), Pushed::Accepted, "a larger message is accepted alone");
        assert_eq!(buffer.push(message(1)), Pushed::Full);
        assert_eq!(buffer.push(message(1)), Pushed::StillFull);
        let taken = buffer.next(10).await;
        assert_eq!(buffer.push(message(1)), Pushed::StillFull, "messages being appended count");
        buffer.release(&taken);
        assert_eq!((buffer.bytes(), buffer.dropped()), (0, 3));
        assert_eq!(buffer.push(message(1)), Pushed::Accepted);
        assert_eq!(buffer.push(message(20_000)), Pushed::Full, "a new burst");
        assert_eq!((taken.len(), buffer.take(10).len(), buffer.take(10).len()), (1, 1, 0));
    }
}
