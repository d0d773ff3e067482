//! Which experiences were counted already.

use std::collections::{HashSet, VecDeque};

/// Ids (by their hash) for a time, and not more than so many.
#[derive(Debug, Default)]
pub struct Seen {
    known: HashSet<u64>,
    order: VecDeque<(i64, u64)>,
}

impl Seen {
    /// Notes an id that came at `now_ms`; false if it was known. Two ids have one hash about once in 10^7 full memories.
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

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_its_time_and_as_long_as_there_is_room() {
        let mut seen = Seen::default();
        assert!(seen.insert(1, 0, 100, 10));
        assert!(!seen.insert(1, 100, 100, 10));
        assert!(seen.insert(1, 101, 100, 10), "its time is over");
        for id in 2..100 {
            assert!(seen.insert(id, 102, 100, 10));
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.insert(1, 103, 100, 10), "there was no room for it");
    }
}
