//! The ring buffer that all streaming clients share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::counter;
use tokio::sync::watch;

use super::config::HubConfig;
use super::frame::{Frame, FrameBatch};
use crate::map::Outcome;
use crate::model::{Cursor, Epoch, LogEntry};

/// Result of [`Hub::read`].
#[derive(Debug)]
pub enum RingRead {
    /// The frames after the position; `upto` equals the position if there are none.
    Frames(FrameBatch),
    /// The next frame was evicted, or the position belongs to another log (its epoch differs from that of `oldest`).
    Lagged {
        /// The oldest position that can still be read from.
        oldest: Cursor,
    },
}

/// The ring buffer: one producer and any number of readers, each of which keeps its own position.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    ring: Mutex<Ring>,
    head: watch::Sender<Cursor>,
}

#[derive(Debug)]
struct Ring {
    epoch: Epoch,
    /// The oldest position that can be read from.
    floor: u64,
    /// The newest published position.
    head: u64,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl Hub {
    /// An empty ring at the beginning of the log `epoch`.
    #[must_use]
    pub fn new(config: HubConfig, epoch: Epoch) -> Self {
        let ring = Ring { epoch, floor: 0, head: 0, frames: VecDeque::new(), bytes: 0 };
        Self { config, ring: Mutex::new(ring), head: watch::Sender::new(Cursor { epoch, seq: 0 }) }
    }

    /// Publishes an entry to all clients. Called for every entry, in log order, by the one task that folds them. A
    /// duplicate advances the position without a frame. An entry that does not follow the last one (the first after a
    /// start, or another epoch) clears the ring, so that no reader crosses a gap.
    pub fn publish(&self, entry: &LogEntry, outcome: &Outcome) {
        let cursor = entry.cursor;
        let frame = if outcome.duplicate { None } else { Some(Frame::new(entry, outcome)) };
        let mut ring = self.lock();
        if ring.epoch != cursor.epoch || ring.head.checked_add(1) != Some(cursor.seq) {
            ring.clear(Cursor { seq: cursor.seq.saturating_sub(1), ..cursor });
        }
        ring.head = cursor.seq;
        match frame {
            None => {}
            Some(Ok(frame)) => ring.push(frame, &self.config),
            Some(Err(error)) => {
                tracing::error!(%cursor, %error, "event cannot be encoded; clients get a snapshot instead");
                ring.clear(cursor);
            }
        }
        drop(ring);
        self.head.send_replace(cursor);
    }

    /// Clears the ring and continues at `at`: after a start from a saved snapshot, or when the log was replaced.
    pub fn reset(&self, at: Cursor) {
        self.lock().clear(at);
        self.head.send_replace(at);
    }

    /// The newest published position.
    #[must_use]
    pub fn head(&self) -> Cursor {
        *self.head.borrow()
    }

    /// A receiver of the newest position. Several updates between two reads are seen as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Cursor> {
        self.head.subscribe()
    }

    /// Returns true if every frame after `cursor` is in the ring.
    #[must_use]
    pub fn can_resume(&self, cursor: Cursor) -> bool {
        let ring = self.lock();
        cursor.epoch == ring.epoch && (ring.floor..=ring.head).contains(&cursor.seq)
    }

    /// Returns true if `cursor` was published in this log, whether or not its frame is still in the ring.
    #[must_use]
    pub fn has_published(&self, cursor: Cursor) -> bool {
        let ring = self.lock();
        cursor.epoch == ring.epoch && cursor.seq <= ring.head
    }

    /// The oldest position that can be resumed from.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        let ring = self.lock();
        Cursor { epoch: ring.epoch, seq: ring.floor }
    }

    /// The frames after position `after`: about `max_bytes` of them, and at least one if there is any.
    ///
    /// A position after the head is not an error: a snapshot may be slightly newer than the last frame. Check cursors
    /// that clients sent with [`Hub::can_resume`] first.
    #[must_use]
    pub fn read(&self, after: Cursor, max_bytes: usize) -> RingRead {
        let ring = self.lock();
        if after.epoch != ring.epoch || after.seq < ring.floor {
            return RingRead::Lagged { oldest: Cursor { epoch: ring.epoch, seq: ring.floor } };
        }
        let start = ring.frames.partition_point(|frame| frame.seq() <= after.seq);
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut upto = ring.head.max(after.seq);
        for frame in ring.frames.range(start..) {
            if bytes >= max_bytes && !frames.is_empty() {
                upto = frames.last().map_or(upto, |last: &Arc<Frame>| last.seq());
                break;
            }
            bytes += frame.wire().len();
            frames.push(Arc::clone(frame));
        }
        RingRead::Frames(FrameBatch { after, upto: Cursor { seq: upto, ..after }, frames })
    }

    /// The number of frames in the ring, and their bytes.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let ring = self.lock();
        (ring.frames.len(), ring.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn clear(&mut self, at: Cursor) {
        *self = Self { epoch: at.epoch, floor: at.seq, head: at.seq, frames: VecDeque::new(), bytes: 0 };
    }

    fn push(&mut self, frame: Frame, config: &HubConfig) {
        counter!("living_map_stream_published_total").increment(1);
        self.bytes += frame.bytes();
        self.frames.push_back(Arc::new(frame));
        while self.frames.len() > 1 && (self.frames.len() > config.max_frames || self.bytes > config.max_bytes) {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes();
            self.floor = oldest.seq();
        }
    }
}

#[cfg(test)]
mod tests;
