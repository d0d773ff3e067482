//! The ring that all streaming clients share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use metrics::counter;
use tokio::sync::watch;

use super::config::HubConfig;
use super::filter::LayerSet;
use super::protocol::{self, TextFrame};
use crate::map::Outcome;
use crate::model::{Change, Cursor, EntityType, Epoch, LogEntry};

/// One event, encoded once for everybody.
#[derive(Debug)]
pub struct Frame {
    seq: u64,
    text: TextFrame,
    /// The alerts that it raised or cleared.
    alerts: Box<[TextFrame]>,
    /// All of them, one behind the other.
    wire: Bytes,
    event_type: Box<str>,
    layers: LayerSet,
    /// Canonical ids, ordered.
    entities: Box<[Box<str>]>,
}

impl Frame {
    /// The frame of an entry, and of what it did to the map.
    ///
    /// # Errors
    /// When a value does not serialise, which JSON values always do.
    pub fn new(entry: &LogEntry, outcome: &Outcome) -> serde_json::Result<Self> {
        let event = &entry.event;
        let home = event.entity_type.map(EntityType::layer);
        let subject = outcome.entity_id.as_deref().or(event.entity_id.as_deref());
        let mut entities: Vec<Box<str>> =
            outcome.changes.iter().filter_map(Change::entity_id).chain(subject).map(Box::from).collect();
        entities.sort_unstable();
        entities.dedup();
        let text = protocol::event(entry, outcome)?;
        let alerts: Box<[TextFrame]> = outcome.alerts.iter().map(|change| protocol::alert(entry, change)).collect();
        let wire = if alerts.is_empty() {
            text.wire().clone()
        } else {
            let frames: Vec<&[u8]> = std::iter::once(&text).chain(&alerts).map(|frame| &**frame.wire()).collect();
            frames.concat().into()
        };
        Ok(Self {
            seq: entry.cursor.seq,
            text,
            alerts,
            wire,
            event_type: event.event_type.as_str().into(),
            layers: outcome.changes.iter().map(Change::layer).chain(home).collect(),
            entities: entities.into_boxed_slice(),
        })
    }

    /// Its position in the log.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The WebSocket text frame, header and all, and those of the alerts behind it.
    #[must_use]
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The JSON of the alerts that it raised or cleared.
    pub fn alerts(&self) -> impl Iterator<Item = Bytes> {
        self.alerts.iter().map(TextFrame::json)
    }

    /// The event's JSON alone.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.text.json()
    }

    /// The event's subject.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The layers it concerns: those it changed, and the one its entity is at home in.
    #[must_use]
    pub const fn layers(&self) -> LayerSet {
        self.layers
    }

    /// Whether it is about the entity with this canonical id, or changed it.
    #[must_use]
    pub fn concerns(&self, id: &str) -> bool {
        self.entities.binary_search_by(|entity| (**entity).cmp(id)).is_ok()
    }

    /// What keeping it costs in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entities: usize = self.entities.iter().map(|entity| entity.len() + size_of::<Box<str>>()).sum();
        size_of::<Self>() + self.wire.len() + self.event_type.len() + entities
    }
}

/// Consecutive frames of the ring.
#[derive(Debug, Clone)]
pub struct Batch {
    /// They are all that follows this position…
    pub after: Cursor,
    /// …up to and including this one. Positions without a frame were duplicates.
    pub upto: Cursor,
    /// The frames, in order.
    pub frames: Vec<Arc<Frame>>,
}

impl Batch {
    /// Whether it has what follows `position`.
    #[must_use]
    pub fn goes_on_from(&self, position: Cursor) -> bool {
        position.epoch == self.after.epoch && (self.after.seq..self.upto.seq).contains(&position.seq)
    }

    /// The frames behind `position`.
    #[must_use]
    pub fn behind(&self, position: Cursor) -> &[Arc<Frame>] {
        let start = self.frames.partition_point(|frame| frame.seq <= position.seq);
        &self.frames[start..]
    }
}

/// What the ring has to say about a position.
#[derive(Debug)]
pub enum Read {
    /// What follows it; `upto` is the position itself when nothing does.
    Frames(Batch),
    /// The ring has not what follows it any more, or it is a position of another log: then its epoch is not that of
    /// `oldest`.
    Lagged {
        /// The oldest position that can still be continued from.
        oldest: Cursor,
    },
}

/// The ring: one producer, any number of readers, each with a position of its own.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    ring: Mutex<Ring>,
    head: watch::Sender<Cursor>,
}

#[derive(Debug)]
struct Ring {
    epoch: Epoch,
    /// Reading can begin after this position.
    floor: u64,
    /// The position published last.
    head: u64,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl Hub {
    /// An empty ring over the log `epoch`, at its beginning.
    #[must_use]
    pub fn new(config: HubConfig, epoch: Epoch) -> Self {
        let ring = Ring { epoch, floor: 0, head: 0, frames: VecDeque::new(), bytes: 0 };
        Self { config, ring: Mutex::new(ring), head: watch::Sender::new(Cursor { epoch, seq: 0 }) }
    }

    /// Shows an entry to all clients. Called for every entry, in the log's order, by the one task that folds them; a
    /// duplicate advances the position without a frame. An entry that does not follow the last one (the first after a
    /// start, another epoch) begins a new ring, so that nobody reads across a gap.
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
                tracing::error!(%cursor, %error, "an event cannot be encoded, clients get a snapshot in its place");
                ring.clear(cursor);
            }
        }
        drop(ring);
        self.head.send_replace(cursor);
    }

    /// Begins a new ring at `at`: after a start from a saved map, or when the log is another one.
    pub fn reset(&self, at: Cursor) {
        self.lock().clear(at);
        self.head.send_replace(at);
    }

    /// The position published last.
    #[must_use]
    pub fn head(&self) -> Cursor {
        *self.head.borrow()
    }

    /// Tells of every new position. Wake-ups that come faster than they are taken become one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Cursor> {
        self.head.subscribe()
    }

    /// Whether a client that has everything up to `cursor` can be given all that follows.
    #[must_use]
    pub fn can_resume(&self, cursor: Cursor) -> bool {
        let ring = self.lock();
        cursor.epoch == ring.epoch && (ring.floor..=ring.head).contains(&cursor.seq)
    }

    /// Whether `cursor` is a position of this log that was published, in the ring or before it.
    #[must_use]
    pub fn has_passed(&self, cursor: Cursor) -> bool {
        let ring = self.lock();
        cursor.epoch == ring.epoch && cursor.seq <= ring.head
    }

    /// The oldest position that a client can be given all that follows of.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        let ring = self.lock();
        Cursor { epoch: ring.epoch, seq: ring.floor }
    }

    /// The frames after position `after`, about `max_bytes` of them and at least one if there is any.
    ///
    /// A position in the future is no error: a snapshot may be newer than the last frame by a moment. Cursors from
    /// outside are checked with [`Hub::can_resume`] first.
    #[must_use]
    pub fn read(&self, after: Cursor, max_bytes: usize) -> Read {
        let ring = self.lock();
        if after.epoch != ring.epoch || after.seq < ring.floor {
            return Read::Lagged { oldest: Cursor { epoch: ring.epoch, seq: ring.floor } };
        }
        let start = ring.frames.partition_point(|frame| frame.seq <= after.seq);
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut upto = ring.head.max(after.seq);
        for frame in ring.frames.range(start..) {
            if bytes >= max_bytes && !frames.is_empty() {
                upto = frames.last().map_or(upto, |last: &Arc<Frame>| last.seq);
                break;
            }
            bytes += frame.wire().len();
            frames.push(Arc::clone(frame));
        }
        Read::Frames(Batch { after, upto: Cursor { seq: upto, ..after }, frames })
    }

    /// Frames and bytes held now.
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
            self.floor = oldest.seq;
        }
    }
}

#[cfg(test)]
mod tests;
