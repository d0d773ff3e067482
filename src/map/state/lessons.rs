//! Keys of the open lessons about an agent. The lessons themselves are in the lesson store.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::layers::OpenLessons;

/// Most keys per agent; beyond it the oldest are dropped.
const MAX_KEYS: usize = 256;
/// Most keys shown to clients.
const MAX_SHOWN: usize = 10;

/// Keys, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::map) struct OpenLessonKeys(VecDeque<String>);

impl OpenLessonKeys {
    /// Adds a key; returns whether it is new.
    pub(in crate::map) fn open(&mut self, key: &str) -> bool {
        if self.0.iter().any(|known| known == key) {
            return false;
        }
        if self.0.len() >= MAX_KEYS {
            self.0.pop_front();
        }
        self.0.push_back(key.to_owned());
        true
    }

    /// Removes a key; returns whether it was there.
    pub(in crate::map) fn close(&mut self, key: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known != key);
        self.0.len() != before
    }

    /// Adds the keys of a merged entity.
    pub(in crate::map) fn merge(&mut self, other: Self) {
        for key in other.0 {
            self.open(&key);
        }
    }

    /// Number and newest keys, as shown to clients; none without open lessons.
    pub(in crate::map) fn shown(&self) -> Option<OpenLessons> {
        let keys: Vec<String> = self.0.iter().rev().take(MAX_SHOWN).cloned().collect();
        (!keys.is_empty()).then_some(OpenLessons { count: self.0.len() as u64, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_the_newest_are_shown() {
        let mut lessons = OpenLessonKeys::default();
        assert_eq!(lessons.shown(), None);
        (0..1_000).for_each(|n| assert!(lessons.open(&format!("k{n}"))));
        assert!(!lessons.open("k999") && lessons.close("k998") && !lessons.close("k0"));
        let shown = lessons.shown().unwrap();
        assert_eq!((shown.count, shown.keys.len()), (255, 10));
        assert_eq!(shown.keys[..2], ["k999", "k997"]);
    }
}
