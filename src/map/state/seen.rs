//! Detection of duplicate events.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Number of remembered events. Part of the state, so that all replicas decide alike. A producer retries within
/// minutes; the history detects duplicates of any age.
pub(in crate::map) const WINDOW: usize = 131_072;

/// The ids of the latest [`WINDOW`] events.
#[derive(Debug, Default)]
pub(in crate::map) struct SeenEvents {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl SeenEvents {
    /// Adds an id; returns whether it is new.
    pub(in crate::map) fn insert(&mut self, id: Uuid) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        if self.order.len() >= WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(id);
        true
    }
}

impl Serialize for SeenEvents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.order.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SeenEvents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let order = VecDeque::<Uuid>::deserialize(deserializer)?;
        Ok(Self { ids: order.iter().copied().collect(), order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_forgets_the_oldest_id() {
        let mut seen = SeenEvents::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=WINDOW {
            assert!(seen.insert(id(number)));
        }
        assert!(!seen.insert(id(1)));
        assert!(seen.insert(id(0)));
        assert_eq!(seen.ids.len(), WINDOW);
    }
}
