//! What an upstream said, in the map's words: the form in which adapters hand answers to the fold.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entity::{EntityType, Layer};
use super::source::Service;

/// What one upstream says about one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// The best name this upstream has for it (an `external_id`, a slug with prefix, else a uuid with prefix).
    pub id: String,
    /// Its other names at this upstream: uuid, slug, `external_id`, without duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Field values under the names the map's items use (`crate::model::layers`); references are raw, as the upstream
    /// gave them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// Whether the upstream would have said more and could not be asked: then a field that is absent stays what this
    /// upstream said before. Otherwise an absent field is one that it does not say any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// One upstream's whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Who said it.
    pub service: Service,
    /// The entities it spoke of.
    pub entities: Vec<Facts>,
    /// Types of which the answer is the full list, so that an entity this upstream named before and does not name now
    /// is gone from it.
    pub complete: Vec<EntityType>,
    /// Data of a layer as a whole (city metrics and quests, usage totals), by field name.
    pub layers: Vec<(Layer, Map<String, Value>)>,
}
