//! Differences between two maps.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::map::state::State;
use crate::map::state::entity::Entity;

use super::query::EntitySummary;

/// Differences between two maps. Lists are ordered by id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    /// Entities that only the second map has.
    pub added: Vec<EntitySummary>,
    /// Entities that only the first map has, as in the first map.
    pub removed: Vec<EntitySummary>,
    /// Entities that differ.
    pub changed: Vec<ChangedEntity>,
}

/// An entity that differs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ChangedEntity {
    /// The entity in the second map.
    #[serde(flatten)]
    pub entity: EntitySummary,
    /// The fields that differ, ordered by name.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FieldChange {
    /// Name; the path of a field within an object, joined by dots.
    pub field: String,
    /// Value in the first map; also `null` when it is absent.
    pub before: Value,
    /// Value in the second map; also `null` when it is absent.
    pub after: Value,
}

impl State {
    /// The differences of `after` from this map, by entity and field, in all layers that list an entity.
    #[must_use]
    pub fn compare(&self, after: &Self) -> Comparison {
        let mut comparison = Comparison::default();
        let (before_ids, after_ids) = (self.index.order.keys(), after.index.order.keys());
        for id in before_ids.filter(|id| !after.index.order.contains_key(*id)) {
            comparison.removed.extend(self.listed(id).map(|(summary, _)| summary));
        }
        for id in after_ids {
            let Some((entity, now)) = after.listed(id) else { continue };
            match self.listed(id) {
                None => comparison.added.push(entity),
                Some((_, then)) => {
                    let mut fields = Vec::new();
                    differences("", &then, &now, &mut fields);
                    if !fields.is_empty() {
                        comparison.changed.push(ChangedEntity { entity, fields });
                    }
                }
            }
        }
        comparison
    }

    fn listed(&self, id: &str) -> Option<(EntitySummary, Map<String, Value>)> {
        let entity = self.entities.get(*self.index.order.get(id)?)?;
        Some((summary(entity)?, fields_of(entity)?))
    }
}

fn summary(entity: &Entity) -> Option<EntitySummary> {
    let item = &entity.published.as_ref()?.item;
    Some(EntitySummary {
        id: entity.id.to_string(),
        kind: entity.kind,
        label: item.label().to_owned(),
        status: item.status(),
        layer: entity.kind.layer(),
    })
}

/// The fields in any layer; where two layers have a field, that of the home layer.
fn fields_of(entity: &Entity) -> Option<Map<String, Value>> {
    let item = &entity.published.as_ref()?.item;
    let home = entity.kind.layer();
    let mut fields = item.json(home);
    for layer in item.layers().iter().filter(|layer| **layer != home) {
        for (name, value) in item.json(*layer) {
            fields.entry(name).or_insert(value);
        }
    }
    Some(fields)
}

fn differences(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<FieldChange>) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let field = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (before.get(name), after.get(name)) {
            (before, after) if before == after => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => differences(&field, before, after, found),
            (before, after) => {
                let value = |value: Option<&Value>| value.cloned().unwrap_or(Value::Null);
                found.push(FieldChange { field, before: value(before), after: value(after) });
            }
        }
    }
}
