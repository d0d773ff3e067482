//! Answers of upstreams in the map's terms: the form that adapters produce.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entity::{EntityType, Layer};
use super::json;
use super::source::Service;

/// The data of one upstream about one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Type of the entity.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// The upstream's best name for it (an `external_id`, a slug with prefix, else a uuid with prefix).
    pub id: String,
    /// The upstream's other names for it: uuid, slug, `external_id`, without duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Field values under the names of the map's items (`crate::model::layers`); references as the upstream gave them.
    #[serde(default, deserialize_with = "json::object", skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// `true` if a part of the data could not be requested: then absent fields keep the values of earlier answers.
    /// Otherwise an absent field has no value any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// One upstream's whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The upstream.
    pub service: Service,
    /// Data about entities.
    pub entities: Vec<Facts>,
    /// Types that the answer lists in full: an entity that it listed before and does not list now is gone.
    pub complete: Vec<EntityType>,
    /// Data of a layer as a whole (city metrics and quests, usage totals), by field name.
    pub layers: Vec<(Layer, Map<String, Value>)>,
}
