//! Stretches of consecutive frames, kept for all who are behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::map::State;
use crate::model::{Cursor, LogEntry};
use crate::stream::{Frame, FrameBatch};

/// A stretch ends at each multiple of this many positions, so that folds from different states make the same ones…
pub const STRETCH_EVENTS: u64 = 1_024;

/// …or when its frames are this many bytes.
const STRETCH_BYTES: usize = 256 * 1024;

/// What is kept beside the frames, about.
const OVERHEAD_BYTES: usize = 256;

/// Within bounded bytes; those that were used longest ago go first.
#[derive(Debug)]
pub struct Segments {
    max_bytes: usize,
    bytes: usize,
    /// By the position they begin behind.
    by_start: BTreeMap<u64, Segment>,
}

#[derive(Debug)]
struct Segment {
    batch: Arc<FrameBatch>,
    bytes: usize,
    used: Instant,
}

impl Segments {
    pub const fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, by_start: BTreeMap::new() }
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one that goes on from `position`.
    pub fn get(&mut self, position: Cursor, now: Instant) -> Option<Arc<FrameBatch>> {
        // none begins before the multiple and goes on behind it
        let from = position.seq / STRETCH_EVENTS * STRETCH_EVENTS;
        let mut nearest = self.by_start.range_mut(from..=position.seq).rev();
        let (_, segment) = nearest.find(|(_, segment)| segment.batch.continues_from(position))?;
        segment.used = now;
        Some(Arc::clone(&segment.batch))
    }

    pub fn put(&mut self, batch: Arc<FrameBatch>, now: Instant) {
        let start = batch.after.seq;
        if self.by_start.get(&start).is_some_and(|held| held.batch.upto.seq >= batch.upto.seq) {
            return;
        }
        let bytes = OVERHEAD_BYTES + batch.frames.iter().map(|frame| frame.bytes()).sum::<usize>();
        self.take(start);
        self.bytes += bytes;
        self.by_start.insert(start, Segment { batch, bytes, used: now });
        // the one just made is wanted, however large it is
        while self.bytes > self.max_bytes && self.by_start.len() > 1 {
            let others = self.by_start.iter().filter(|(other, _)| **other != start);
            let Some(oldest) = others.min_by_key(|(_, segment)| segment.used).map(|(start, _)| *start) else { break };
            self.take(oldest);
        }
    }

    /// Lets those go that were not used since.
    pub fn forget_unused_since(&mut self, since: Instant) {
        self.by_start.retain(|_, segment| segment.used >= since);
        self.bytes = self.by_start.values().map(|segment| segment.bytes).sum();
    }

    pub fn clear(&mut self) {
        self.by_start.clear();
        self.bytes = 0;
    }

    fn take(&mut self, start: u64) {
        if let Some(segment) = self.by_start.remove(&start) {
            self.bytes -= segment.bytes;
        }
    }
}

/// Why a fold does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// This position is not held.
    Hole(u64),
    /// The frame at this position cannot be encoded.
    Frame(u64),
}

/// A fold that cuts what it does into stretches.
pub struct Cutter {
    state: Box<State>,
    /// The position folded last; without a hole up to here.
    at: Cursor,
    after: Cursor,
    frames: Vec<Arc<Frame>>,
    bytes: usize,
}

impl Cutter {
    /// Goes on from `state`.
    pub fn new(state: State) -> Self {
        let at = state.cursor();
        Self { state: Box::new(state), at, after: at, frames: Vec::new(), bytes: 0 }
    }

    /// Where it is.
    pub const fn at(&self) -> Cursor {
        self.at
    }

    /// Folds what comes next, up to `to`, into stretches; a last one that ends at `to`. Entries behind it are left.
    pub fn fold(&mut self, entries: &[LogEntry], to: u64) -> Result<Vec<Arc<FrameBatch>>, Broken> {
        let mut made = Vec::new();
        for entry in entries.iter().take_while(|entry| entry.cursor.seq <= to) {
            let next = self.at.seq + 1;
            if entry.cursor.seq != next {
                return Err(Broken::Hole(next));
            }
            let outcome = self.state.apply(entry);
            self.at = entry.cursor;
            if !outcome.duplicate {
                let frame = Frame::new(entry, &outcome).map_err(|_| Broken::Frame(next))?;
                self.bytes += frame.bytes();
                self.frames.push(Arc::new(frame));
            }
            if next.is_multiple_of(STRETCH_EVENTS) || self.bytes >= STRETCH_BYTES || next == to {
                made.push(Arc::new(self.cut()));
            }
        }
        Ok(made)
    }

    fn cut(&mut self) -> FrameBatch {
        let batch = FrameBatch { after: self.after, upto: self.at, frames: std::mem::take(&mut self.frames) };
        (self.after, self.bytes) = (self.at, 0);
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Epoch;

    fn at(seq: u64) -> Cursor {
        Cursor { epoch: Epoch(1), seq }
    }

    fn stretch(after: u64, upto: u64) -> Arc<FrameBatch> {
        Arc::new(FrameBatch { after: at(after), upto: at(upto), frames: Vec::new() })
    }

    #[test]
    fn a_position_finds_the_stretch_that_continues_from_it() {
        let mut segments = Segments::new(usize::MAX);
        let now = Instant::now();
        // a short one at what was the end, and one of another fold that goes past it
        for (after, upto) in [(1_000, 1_010), (512, 1_024), (1_024, 1_500)] {
            segments.put(stretch(after, upto), now);
        }
        let found = |segments: &mut Segments, seq| segments.get(at(seq), now).map(|batch| batch.after.seq);
        for (seq, after) in [
            (511, None),
            (512, Some(512)),
            (1_005, Some(1_000)),
            (1_015, Some(512)),
            (1_024, Some(1_024)),
            (1_500, None),
        ] {
            assert_eq!(found(&mut segments, seq), after, "{seq}");
        }
        segments.put(stretch(1_000, 1_005), now);
        assert_eq!(found(&mut segments, 1_007), Some(1_000), "a shorter one does not take the place of a longer one");
    }

    #[test]
    fn the_bytes_are_bounded_and_what_was_used_longest_ago_goes_first() {
        let mut segments = Segments::new(3 * OVERHEAD_BYTES);
        let start = Instant::now();
        let second = |seconds| start + Duration::from_secs(seconds);
        for number in 0..3 {
            segments.put(stretch(number * 10, number * 10 + 10), second(number));
        }
        assert!(segments.get(at(0), second(4)).is_some());
        segments.put(stretch(30, 40), second(5));
        assert_eq!(segments.bytes(), 3 * OVERHEAD_BYTES);
        assert!(segments.get(at(10), second(6)).is_none() && segments.get(at(0), second(6)).is_some());
        segments.forget_unused_since(second(6));
        assert_eq!(segments.bytes(), OVERHEAD_BYTES);
    }
}
