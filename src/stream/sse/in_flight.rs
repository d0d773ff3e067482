//! Tracking of the chunk that the HTTP server holds for a client.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

/// At most one chunk in flight. The chunk is delivered when its bytes are dropped, which is when the socket has
/// accepted them; this also measures how long a client does not read.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Deadline for the delivery of the chunk in flight.
    deadline: Mutex<Option<Instant>>,
    delivered: Notify,
}

impl InFlight {
    /// Marks `bytes` as in flight, to be delivered before `deadline`. The returned bytes must be passed to the HTTP
    /// server.
    pub fn track(self: &Arc<Self>, bytes: Bytes, deadline: Instant) -> Bytes {
        self.set(Some(deadline));
        Bytes::from_owner(TrackedChunk { bytes, in_flight: Arc::clone(self) })
    }

    /// Completes when no chunk is in flight. There must be one waiting caller at most.
    pub async fn delivered(&self) {
        while self.deadline().is_some() {
            self.delivered.notified().await;
        }
    }

    /// Deadline for the delivery of the chunk in flight, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

/// Bytes that report when they are dropped.
struct TrackedChunk {
    bytes: Bytes,
    in_flight: Arc<InFlight>,
}

impl AsRef<[u8]> for TrackedChunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for TrackedChunk {
    fn drop(&mut self) {
        self.in_flight.set(None);
        self.in_flight.delivered.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_chunk_is_in_flight_until_its_last_part_is_dropped() {
        let in_flight = Arc::new(InFlight::default());
        in_flight.delivered().now_or_never().expect("no chunk is in flight");
        let mut chunk = in_flight.track(Bytes::from_static(b"abc"), Instant::now());
        let part = chunk.split_to(1);
        drop(chunk);
        assert!(in_flight.deadline().is_some() && in_flight.delivered().now_or_never().is_none());
        assert_eq!(part, "a");
        drop(part);
        in_flight.delivered().now_or_never().expect("no chunk is in flight");
    }
}
