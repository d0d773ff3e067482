//! A set of map layers, for filters and snapshots.

use crate::model::Layer;

/// A subset of the four layers, as a bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LayerSet(u8);

impl LayerSet {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// All four layers.
    pub const ALL: Self = Self(0b1111);

    /// This set with `layer` added.
    #[must_use]
    pub const fn with(self, layer: Layer) -> Self {
        Self(self.0 | 1 << layer as u8)
    }

    /// Returns true if the set contains `layer`.
    #[must_use]
    pub const fn contains(self, layer: Layer) -> bool {
        self.0 & 1 << layer as u8 != 0
    }

    /// Returns true if the two sets have a layer in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The layers of the set, in the order of [`Layer::ALL`].
    #[must_use]
    pub fn to_vec(self) -> Vec<Layer> {
        Layer::ALL.iter().copied().filter(|layer| self.contains(*layer)).collect()
    }
}

impl FromIterator<Layer> for LayerSet {
    fn from_iter<I: IntoIterator<Item = Layer>>(layers: I) -> Self {
        layers.into_iter().fold(Self::NONE, Self::with)
    }
}
