//! What was learned of an agent and still counts: keys alone, the lessons are in their own memory.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::layers::OpenLessons;

/// Keys that are remembered of one agent; of more, the oldest are not counted any more.
const MOST: usize = 256;
/// Keys that are shown.
const SHOWN: usize = 10;

/// Keys of open lessons, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Lessons(VecDeque<String>);

impl Lessons {
    /// This one is open; whether that is new.
    pub(super) fn open(&mut self, key: &str) -> bool {
        if self.0.iter().any(|known| known == key) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(key.to_owned());
        true
    }

    /// This one does not count any more; whether it did.
    pub(super) fn close(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known != key);
        self.0.len() != before
    }

    /// Another entity is this one.
    pub(super) fn absorb(&mut self, other: Self) {
        for key in other.0 {
            self.open(&key);
        }
    }

    /// As clients see it; none without lessons.
    pub(super) fn shown(&self) -> Option<OpenLessons> {
        let keys: Vec<String> = self.0.iter().rev().take(SHOWN).cloned().collect();
        (!keys.is_empty()).then_some(OpenLessons { count: self.0.len() as u64, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_the_newest_are_shown() {
        let mut lessons = Lessons::default();
        assert_eq!(lessons.shown(), None);
        (0..1_000).for_each(|n| assert!(lessons.open(&format!("k{n}"))));
        assert!(!lessons.open("k999") && lessons.close("k998") && !lessons.close("k0"));
        let shown = lessons.shown().unwrap();
        assert_eq!((shown.count, shown.keys.len()), (255, 10));
        assert_eq!(shown.keys[..2], ["k999", "k997"]);
    }
}
