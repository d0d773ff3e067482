//! Changes of the map, and how a client applies them.
//!
//! Patches are JSON Merge Patch (RFC 7396) with one reading fixed: the map has no absent fields, so where the RFC
//! deletes a field, the field is `null` afterwards. Lists (arrays) inside an entity are replaced whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::entity::{EntityType, Layer};
use super::json;

/// One change of the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Change {
    /// An entity was added or changed. Applied to an empty object, the patch is the whole entity.
    Upsert {
        /// The layer whose list holds the entity.
        layer: Layer,
        /// Type of the entity; layer and type determine the list, see [`list_of`].
        #[serde(rename = "type")]
        kind: EntityType,
        /// Canonical id.
        id: String,
        /// JSON Merge Patch on the list's item.
        #[schema(value_type = Object)]
        #[serde(deserialize_with = "json::object")]
        patch: Map<String, Value>,
    },
    /// An entity left the layer.
    Remove {
        /// The layer whose list held the entity.
        layer: Layer,
        /// Type of the entity.
        #[serde(rename = "type")]
        kind: EntityType,
        /// Canonical id.
        id: String,
    },
    /// A layer's own fields changed.
    Totals {
        /// The layer.
        layer: Layer,
        /// JSON Merge Patch on the layer object; never touches its lists.
        #[schema(value_type = Object)]
        #[serde(deserialize_with = "json::object")]
        patch: Map<String, Value>,
    },
}

impl Change {
    /// The layer this change is in.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        match self {
            Self::Upsert { layer, .. } | Self::Remove { layer, .. } | Self::Totals { layer, .. } => *layer,
        }
    }

    /// The entity it concerns; none for a layer's totals.
    #[must_use]
    pub fn entity_id(&self) -> Option<&str> {
        match self {
            Self::Upsert { id, .. } | Self::Remove { id, .. } => Some(id),
            Self::Totals { .. } => None,
        }
    }
}

/// The name of the list that holds entities of `kind` in `layer`: `planets`, `nodes` and `channels` are lists of their
/// own, everything else is in `items`. All lists are ordered by id.
#[must_use]
pub const fn list_of(layer: Layer, kind: EntityType) -> &'static str {
    match (layer, kind) {
        (Layer::Space, EntityType::Dao) => "planets",
        (Layer::Space, EntityType::Node) => "nodes",
        (Layer::City, EntityType::Channel) => "channels",
        _ => "items",
    }
}

/// The patch that turns `before` into `after`; empty when they are equal. A field of `before` that `after` lacks
/// becomes `null`.
#[must_use]
pub fn diff(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, new) in after {
        match (before.get(key), new) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(key.clone(), Value::Object(diff(old, new)));
            }
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        if before[key] != Value::Null {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

/// Applies `patch` to `target`.
pub fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match (target.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Applies `change` to the `layers` object of a snapshot, as a client does.
pub fn apply(layers: &mut Map<String, Value>, change: &Change) {
    let layer = layers.entry(change.layer().as_str()).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(layer) = layer else { return };
    match change {
        Change::Totals { patch, .. } => merge(layer, patch),
        Change::Upsert { layer: name, kind, id, patch } => {
            let Some(items) = list_mut(layer, list_of(*name, *kind)) else { return };
            match position(items, id) {
                Ok(at) => {
                    if let Value::Object(item) = &mut items[at] {
                        merge(item, patch);
                    }
                }
                Err(at) => items.insert(at, Value::Object(patch.clone())),
            }
        }
        Change::Remove { layer: name, kind, id } => {
            let Some(items) = list_mut(layer, list_of(*name, *kind)) else { return };
            if let Ok(at) = position(items, id) {
                items.remove(at);
            }
        }
    }
}

fn list_mut<'a>(layer: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    layer.entry(name).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
}

fn position(items: &[Value], id: &str) -> Result<usize, usize> {
    items.binary_search_by(|item| item["id"].as_str().unwrap_or_default().cmp(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object: {value}") };
        map
    }

    #[test]
    fn a_diff_applied_gives_the_new_object() {
        let before = object(json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "gone": 3}));
        let after = object(json!({"a": 1, "b": {"c": 5, "d": 2}, "e": [], "new": null, "gone": null}));
        let patch = diff(&before, &after);
        assert_eq!(Value::Object(patch.clone()), json!({"b": {"c": 5}, "e": [], "new": null, "gone": null}));
        let mut merged = before;
        merge(&mut merged, &patch);
        assert_eq!(merged, after);
    }

    #[test]
    fn the_shared_vectors_hold() {
        #[derive(Deserialize)]
        struct Vector {
            name: String,
            before: Map<String, Value>,
            changes: Vec<Change>,
            after: Map<String, Value>,
        }
        for file in
            [include_str!("../../tests/vectors/fold.json"), include_str!("../../tests/vectors/fold-random.json")]
        {
            let vectors: Vec<Vector> = serde_json::from_str(file).unwrap();
            assert!(!vectors.is_empty());
            for mut vector in vectors {
                for change in &vector.changes {
                    apply(&mut vector.before, change);
                }
                assert_eq!(vector.before, vector.after, "{}", vector.name);
            }
        }
    }

    #[test]
    fn lists_stay_ordered_by_id() {
        let mut layers = Map::new();
        for id in ["agent:b", "agent:a", "agent:c"] {
            let patch = object(json!({"id": id}));
            apply(&mut layers, &Change::Upsert { layer: Layer::Agents, kind: EntityType::Agent, id: id.into(), patch });
        }
        apply(&mut layers, &Change::Remove { layer: Layer::Agents, kind: EntityType::Agent, id: "agent:b".into() });
        assert_eq!(layers["agents"], json!({"items": [{"id": "agent:a"}, {"id": "agent:c"}]}));
    }
}
