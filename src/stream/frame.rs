//! An encoded event with the fields that filters need, and batches of them.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::layers::LayerSet;
use super::protocol::{self, TextFrame};
use crate::map::Outcome;
use crate::model::{Change, Cursor, EntityType, LogEntry};

/// One event, encoded once for all clients.
#[derive(Debug)]
pub struct Frame {
    seq: u64,
    logged_at: DateTime<Utc>,
    text: TextFrame,
    /// `alert` frames of the alerts that the event raised or cleared.
    alerts: Box<[TextFrame]>,
    /// `text` and `alerts`, concatenated.
    wire: Bytes,
    event_type: Box<str>,
    layers: LayerSet,
    /// Canonical ids, sorted.
    entities: Box<[Box<str>]>,
}

impl Frame {
    /// Encodes an entry and its effect on the map.
    ///
    /// # Errors
    /// A value cannot be serialized. JSON values always can.
    pub fn new(entry: &LogEntry, outcome: &Outcome) -> serde_json::Result<Self> {
        let event = &entry.event;
        let own_layer = event.entity_type.map(EntityType::layer);
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
            logged_at: entry.logged_at,
            text,
            alerts,
            wire,
            event_type: event.event_type.as_str().into(),
            layers: outcome.changes.iter().map(Change::layer).chain(own_layer).collect(),
            entities: entities.into_boxed_slice(),
        })
    }

    /// Position in the log.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Time at which the log took the event.
    #[must_use]
    pub const fn logged_at(&self) -> DateTime<Utc> {
        self.logged_at
    }

    /// The WebSocket text frame with its header, followed by the frames of its alerts.
    #[must_use]
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The JSON of the `alert` frames.
    pub fn alerts(&self) -> impl Iterator<Item = Bytes> {
        self.alerts.iter().map(TextFrame::json)
    }

    /// The JSON of the `event` frame.
    #[must_use]
    pub fn json(&self) -> Bytes {
        self.text.json()
    }

    /// The event's subject.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The layers that the event changed, and the layer of its entity.
    #[must_use]
    pub const fn layers(&self) -> LayerSet {
        self.layers
    }

    /// Returns true if the event is about the entity with this canonical id, or changed it.
    #[must_use]
    pub fn concerns(&self, id: &str) -> bool {
        self.entities.binary_search_by(|entity| (**entity).cmp(id)).is_ok()
    }

    /// Approximate memory use in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entities: usize = self.entities.iter().map(|entity| entity.len() + size_of::<Box<str>>()).sum();
        size_of::<Self>() + self.wire.len() + self.event_type.len() + entities
    }
}

/// Consecutive frames of the log.
#[derive(Debug, Clone)]
pub struct FrameBatch {
    /// The position before the first frame.
    pub after: Cursor,
    /// The last position covered. Covered positions without a frame were duplicates.
    pub upto: Cursor,
    /// The frames, in order.
    pub frames: Vec<Arc<Frame>>,
}

impl FrameBatch {
    /// Returns true if the batch covers the position after `position`.
    #[must_use]
    pub fn continues_from(&self, position: Cursor) -> bool {
        position.epoch == self.after.epoch && (self.after.seq..self.upto.seq).contains(&position.seq)
    }

    /// The frames after `position`.
    #[must_use]
    pub fn frames_after(&self, position: Cursor) -> &[Arc<Frame>] {
        let start = self.frames.partition_point(|frame| frame.seq <= position.seq);
        &self.frames[start..]
    }
}
