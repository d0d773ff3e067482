//! Batches of frames, cached for all clients that lag.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::batch_builder::BATCH_EVENTS;
use crate::model::Cursor;
use crate::stream::FrameBatch;

/// Approximate memory use of a cached batch in addition to its frames.
const OVERHEAD_BYTES: usize = 256;

/// A cache of batches, bounded in bytes, with LRU eviction.
#[derive(Debug)]
pub struct BatchCache {
    max_bytes: usize,
    bytes: usize,
    /// By the position before the first frame.
    by_start: BTreeMap<u64, CachedBatch>,
}

#[derive(Debug)]
struct CachedBatch {
    batch: Arc<FrameBatch>,
    bytes: usize,
    used: Instant,
}

impl BatchCache {
    pub const fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0, by_start: BTreeMap::new() }
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batch that covers the position after `position`.
    pub fn get(&mut self, position: Cursor, now: Instant) -> Option<Arc<FrameBatch>> {
        // no batch spans a multiple of BATCH_EVENTS
        let from = position.seq / BATCH_EVENTS * BATCH_EVENTS;
        let mut nearest = self.by_start.range_mut(from..=position.seq).rev();
        let (_, cached) = nearest.find(|(_, cached)| cached.batch.continues_from(position))?;
        cached.used = now;
        Some(Arc::clone(&cached.batch))
    }

    /// Adds a batch, unless a longer one with the same start is cached.
    pub fn insert(&mut self, batch: Arc<FrameBatch>, now: Instant) {
        let start = batch.after.seq;
        if self.by_start.get(&start).is_some_and(|cached| cached.batch.upto.seq >= batch.upto.seq) {
            return;
        }
        let bytes = OVERHEAD_BYTES + batch.frames.iter().map(|frame| frame.bytes()).sum::<usize>();
        self.remove(start);
        self.bytes += bytes;
        self.by_start.insert(start, CachedBatch { batch, bytes, used: now });
        // the new batch stays, whatever its size
        while self.bytes > self.max_bytes && self.by_start.len() > 1 {
            let others = self.by_start.iter().filter(|(other, _)| **other != start);
            let Some(oldest) = others.min_by_key(|(_, cached)| cached.used).map(|(start, _)| *start) else { break };
            self.remove(oldest);
        }
    }

    /// Removes the batches last used before `since`.
    pub fn remove_unused_since(&mut self, since: Instant) {
        self.by_start.retain(|_, cached| cached.used >= since);
        self.bytes = self.by_start.values().map(|cached| cached.bytes).sum();
    }

    pub fn clear(&mut self) {
        self.by_start.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, start: u64) {
        if let Some(cached) = self.by_start.remove(&start) {
            self.bytes -= cached.bytes;
        }
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

    fn batch(after: u64, upto: u64) -> Arc<FrameBatch> {
        Arc::new(FrameBatch { after: at(after), upto: at(upto), frames: Vec::new() })
    }

    #[test]
    fn a_position_finds_the_batch_that_continues_from_it() {
        let mut cache = BatchCache::new(usize::MAX);
        let now = Instant::now();
        // a short batch at the former end of the log, and one of another fold that reaches beyond it
        for (after, upto) in [(1_000, 1_010), (512, 1_024), (1_024, 1_500)] {
            cache.insert(batch(after, upto), now);
        }
        let found = |cache: &mut BatchCache, seq| cache.get(at(seq), now).map(|batch| batch.after.seq);
        for (seq, after) in [
            (511, None),
            (512, Some(512)),
            (1_005, Some(1_000)),
            (1_015, Some(512)),
            (1_024, Some(1_024)),
            (1_500, None),
        ] {
            assert_eq!(found(&mut cache, seq), after, "{seq}");
        }
        cache.insert(batch(1_000, 1_005), now);
        assert_eq!(found(&mut cache, 1_007), Some(1_000), "a shorter batch does not replace a longer one");
    }

    #[test]
    fn the_bytes_are_bounded_and_the_least_recently_used_goes() {
        let mut cache = BatchCache::new(3 * OVERHEAD_BYTES);
        let start = Instant::now();
        let second = |seconds| start + Duration::from_secs(seconds);
        for number in 0..3 {
            cache.insert(batch(number * 10, number * 10 + 10), second(number));
        }
        assert!(cache.get(at(0), second(4)).is_some());
        cache.insert(batch(30, 40), second(5));
        assert_eq!(cache.bytes(), 3 * OVERHEAD_BYTES);
        assert!(cache.get(at(10), second(6)).is_none() && cache.get(at(0), second(6)).is_some());
        cache.remove_unused_since(second(6));
        assert_eq!(cache.bytes(), OVERHEAD_BYTES);
    }
}
