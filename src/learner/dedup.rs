//! Deduplication of experiences.

use std::collections::{HashSet, VecDeque};

/// Remembers hashes of ids for a limited time, up to a maximum number.
#[derive(Debug, Default)]
pub struct Deduplicator {
    known: HashSet<u64>,
    order: VecDeque<(i64, u64)>,
}

impl Deduplicator {
    /// Remembers an id that came at `now_ms`; false if it is known. Two ids have the same hash about once in 10^7 full
    /// memories.
    pub fn insert(&mut self, hash: u64, now_ms: i64, ttl_ms: i64, max: usize) -> bool {
        while let Some((at, old)) = self.order.front().copied() {
            if now_ms.saturating_sub(at) <= ttl_ms && self.order.len() < max.max(1) {
                break;
            }
            self.order.pop_front();
            self.known.remove(&old);
        }
        let new = self.known.insert(hash);
        if new {
            self.order.push_back((now_ms, hash));
        }
        new
    }

    /// Number of remembered ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True when no id is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_until_it_expires_or_is_evicted() {
        let mut dedup = Deduplicator::default();
        assert!(dedup.insert(1, 0, 100, 10));
        assert!(!dedup.insert(1, 100, 100, 10));
        assert!(dedup.insert(1, 101, 100, 10), "expired");
        for id in 2..100 {
            assert!(dedup.insert(id, 102, 100, 10));
        }
        assert_eq!(dedup.len(), 10);
        assert!(dedup.insert(1, 103, 100, 10), "evicted");
    }
}
