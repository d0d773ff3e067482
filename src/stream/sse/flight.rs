//! What is under way to one client.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The one chunk that the HTTP server holds for a client. Its bytes tell when they are dropped, which is when the socket
/// has taken them: so a client has at most one chunk under way, and the time for which it takes nothing is known.
#[derive(Debug, Default)]
pub struct Flight {
    /// When what is under way must have been taken.
    deadline: Mutex<Option<Instant>>,
    landed: Notify,
}

impl Flight {
    /// Sends a chunk on its way, to be taken before `deadline`.
    pub fn launch(self: &Arc<Self>, bytes: Bytes, deadline: Instant) -> Bytes {
        self.set(Some(deadline));
        Bytes::from_owner(Chunk { bytes, flight: Arc::clone(self) })
    }

    /// Returns once nothing is under way. For one caller at a time.
    pub async fn landed(&self) {
        while self.deadline().is_some() {
            self.landed.notified().await;
        }
    }

    /// When what is under way must have been taken; none when nothing is.
    pub fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

/// Bytes that say when they are gone.
struct Chunk {
    bytes: Bytes,
    flight: Arc<Flight>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.flight.set(None);
        self.flight.landed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_chunk_is_under_way_until_its_last_part_is_dropped() {
        let flight = Arc::new(Flight::default());
        flight.landed().now_or_never().expect("nothing is under way");
        let mut chunk = flight.launch(Bytes::from_static(b"abc"), Instant::now());
        let part = chunk.split_to(1);
        drop(chunk);
        assert!(flight.deadline().is_some() && flight.landed().now_or_never().is_none());
        assert_eq!(part, "a");
        drop(part);
        flight.landed().now_or_never().expect("nothing is under way");
    }
}
