//! The entities, each in a slot with a stable key.

use serde::{Deserialize, Serialize};

/// Key of an entity; reused after the entity is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::map) struct EntityKey(u32);

/// Values in numbered slots. Free slots are reused, the one freed last first, so that replicas assign the same keys.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::map) struct Slab<T> {
    slots: Vec<Option<Box<T>>>,
    free: Vec<EntityKey>,
}

impl<T> Slab<T> {
    pub(in crate::map) fn get(&self, key: EntityKey) -> Option<&T> {
        self.slots.get(key.0 as usize)?.as_deref()
    }

    pub(in crate::map) fn get_mut(&mut self, key: EntityKey) -> Option<&mut T> {
        self.slots.get_mut(key.0 as usize)?.as_deref_mut()
    }

    /// Inserts a value; none when every key is in use.
    pub(in crate::map) fn insert(&mut self, value: T) -> Option<EntityKey> {
        if let Some(key) = self.free.pop() {
            *self.slots.get_mut(key.0 as usize)? = Some(Box::new(value));
            return Some(key);
        }
        let key = EntityKey(u32::try_from(self.slots.len()).ok()?);
        self.slots.push(Some(Box::new(value)));
        Some(key)
    }

    pub(in crate::map) fn remove(&mut self, key: EntityKey) -> Option<Box<T>> {
        let value = self.slots.get_mut(key.0 as usize)?.take()?;
        self.free.push(key);
        Some(value)
    }

    /// Number of values.
    pub(in crate::map) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(in crate::map) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.as_deref_mut())
    }

    pub(in crate::map) fn iter(&self) -> impl Iterator<Item = (EntityKey, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| Some((EntityKey(u32::try_from(at).ok()?), slot.as_deref()?)))
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}
