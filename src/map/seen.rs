//! Which events were folded already.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// How many of the last events are remembered. Part of the state, so that all replicas decide alike; a producer that
/// sends again does so within minutes, and history keeps each event once for good.
pub(super) const WINDOW: usize = 131_072;

/// The ids of the last [`WINDOW`] events.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Seen {
    /// Notes an id; whether it is new.
    pub(super) fn insert(&mut self, id: Uuid) -> bool {
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

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.order.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let order = VecDeque::<Uuid>::deserialize(deserializer)?;
        Ok(Self { ids: order.iter().copied().collect(), order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_when_the_window_is_full() {
        let mut seen = Seen::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=WINDOW {
            assert!(seen.insert(id(number)));
        }
        assert!(!seen.insert(id(1)));
        assert!(seen.insert(id(0)));
        assert_eq!(seen.ids.len(), WINDOW);
    }
}
