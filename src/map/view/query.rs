//! Queries: entities by name, lists, relations.

use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::map::names;
use crate::map::state::State;
use crate::map::state::entity::{Entity, Link};
use crate::map::state::item::PublishedItem;
use crate::map::state::slab::EntityKey;
use crate::model::{EntityType, Layer, Status, json};

/// Filters of a list; an entity must match all of them.
#[derive(Debug, Clone, Default)]
pub struct EntityFilter {
    /// The type.
    pub kind: Option<EntityType>,
    /// A layer that lists the entity.
    pub layer: Option<Layer>,
    /// The status.
    pub status: Option<Status>,
    /// The microDAO that the entity belongs to, by any of its names.
    pub microdao_id: Option<String>,
    /// A part of the id, the label or an alias, in any case.
    pub q: Option<String>,
}

/// An entity in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntitySummary {
    /// Canonical id.
    pub id: String,
    /// Type of the entity.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Display name.
    pub label: String,
    /// Status.
    pub status: Status,
    /// Layer that lists it.
    pub layer: Layer,
}

/// One entity in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntityDetail {
    /// Canonical id.
    pub id: String,
    /// Type of the entity.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Home layer.
    pub layer: Layer,
    /// The item in the list of its home layer.
    #[schema(value_type = Object)]
    #[serde(deserialize_with = "json::object")]
    pub data: Map<String, Value>,
    /// Its other names, sorted.
    pub aliases: Vec<String>,
}

/// A relation between two entities.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Relation {
    /// `belongs_to`, `has`, `governs`, `governed_by`, `orbits`, `orbited_by`.
    pub relation: String,
    /// Canonical id of the other entity.
    pub id: String,
    /// Type of the entity.
    #[serde(rename = "type")]
    pub kind: EntityType,
    /// Display name.
    pub label: String,
}

/// One page of entities, ordered by id.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityPage {
    /// The entities.
    pub items: Vec<EntitySummary>,
    /// `true` if more follow the last one.
    pub has_more: bool,
}

/// Order in which types are tried for a name without a type's prefix.
const BARE_NAME_ORDER: [EntityType; 5] =
    [EntityType::Agent, EntityType::Microdao, EntityType::Dao, EntityType::Node, EntityType::Channel];

impl State {
    /// The canonical id of an entity, by any of its names, with or without the type's prefix.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&str> {
        let entity = self.find(name)?;
        entity.is_visible().then_some(&*entity.id)
    }

    /// Every name under which events about an entity may be stored: the canonical id and its aliases, each with and
    /// without prefix. Only `name` itself when it is unknown.
    #[must_use]
    pub fn names(&self, name: &str) -> Vec<String> {
        let Some(entity) = self.find(name) else { return vec![name.to_owned()] };
        let texts = entity.names.iter().map(|name| &*name.text).chain([&*entity.id]);
        let mut all: Vec<String> =
            texts.flat_map(|name| [name, names::own_part(name)]).chain([name]).map(str::to_owned).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// An entity, by any of its names.
    #[must_use]
    pub fn entity(&self, name: &str) -> Option<EntityDetail> {
        let entity = self.find(name)?;
        let published = entity.published.as_ref()?;
        let layer = entity.kind.layer();
        let mut aliases: Vec<String> =
            entity.names.iter().filter(|name| name.text != entity.id).map(|name| name.text.to_string()).collect();
        aliases.sort_unstable();
        Some(EntityDetail {
            id: entity.id.to_string(),
            kind: entity.kind,
            layer,
            data: published.item.json(layer),
            aliases,
        })
    }

    /// Entities ordered by id, starting after `after` and without the first `offset` of them.
    #[must_use]
    pub fn entities(&self, filter: &EntityFilter, after: Option<&str>, offset: usize, limit: usize) -> EntityPage {
        let microdao = filter.microdao_id.as_deref().map(|name| self.find_of(EntityType::Microdao, name));
        if microdao == Some(None) {
            return EntityPage { items: Vec::new(), has_more: false };
        }
        let microdao = microdao.flatten();
        let q = filter.q.as_deref().map(str::to_lowercase);
        let wanted = |entity: &&Entity| {
            let Some(published) = &entity.published else { return false };
            filter.layer.is_none_or(|layer| published.item.layers().contains(&layer))
                && filter.status.is_none_or(|status| published.item.status() == status)
                && microdao.is_none_or(|microdao| entity.belongs_to(microdao))
                && q.as_deref().is_none_or(|q| contains(entity, published, q))
        };
        let summary = |entity: &Entity| {
            let item = &entity.published.as_ref()?.item;
            Some(EntitySummary {
                id: entity.id.to_string(),
                kind: entity.kind,
                label: item.label().to_owned(),
                status: item.status(),
                layer: filter.layer.unwrap_or_else(|| entity.kind.layer()),
            })
        };
        let listed: Box<dyn Iterator<Item = &Entity>> = match filter.kind {
            Some(kind) => Box::new(self.of_kind(kind, after)),
            None => Box::new(self.after(after)),
        };
        let mut found = listed.filter(wanted).skip(offset);
        let items: Vec<EntitySummary> = found.by_ref().take(limit).filter_map(summary).collect();
        EntityPage { items, has_more: found.next().is_some() }
    }

    /// The relations of an entity, sorted; none when the entity is unknown.
    #[must_use]
    pub fn relations(&self, name: &str) -> Option<Vec<Relation>> {
        let entity = self.find(name).filter(|entity| entity.published.is_some())?;
        let relation = |name: &str, key: EntityKey| {
            let other = self.entities.get(key)?;
            let label = other.published.as_ref()?.item.label().to_owned();
            Some(Relation { relation: name.to_owned(), id: other.id.to_string(), kind: other.kind, label })
        };
        let out = entity.references.iter().filter_map(|held| relation(held.link.forward(), held.target?));
        let back = entity.inbound.iter().flat_map(|(link, keys)| keys.iter().map(move |key| (*link, *key)));
        let mut all: Vec<Relation> = out.chain(back.filter_map(|(link, key)| relation(link.backward(), key))).collect();
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    /// Number of entities.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.order.len()
    }

    /// Returns `true` if the map has no entities.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Canonical ids of all agents, sorted: the usage service is polled for each of them.
    #[must_use]
    pub fn agent_ids(&self) -> Vec<String> {
        self.of_kind(EntityType::Agent, None).map(|entity| entity.id.to_string()).collect()
    }

    fn find(&self, name: &str) -> Option<&Entity> {
        let by_name = |name: &str| self.entities.get(*self.index.names.get(name)?);
        if let Some(kind) = EntityType::of_id(name.trim())
            && let Some(entity) = names::prefixed(kind, name).and_then(|name| by_name(&name))
        {
            return Some(entity);
        }
        let bare = BARE_NAME_ORDER.iter().filter_map(|kind| by_name(&names::prefixed(*kind, name)?));
        let mut invisible = None;
        for entity in bare {
            if entity.is_visible() {
                return Some(entity);
            }
            invisible = invisible.or(Some(entity));
        }
        invisible
    }

    fn find_of(&self, kind: EntityType, name: &str) -> Option<EntityKey> {
        self.index.names.get(names::prefixed(kind, name)?.as_str()).copied()
    }

    /// The entities of one type ordered by id, starting after `after`. Ids begin with the type, so they are contiguous.
    pub(in crate::map) fn of_kind(&self, kind: EntityType, after: Option<&str>) -> impl Iterator<Item = &Entity> {
        let prefix = format!("{kind}:");
        let from = after.filter(|after| **after >= *prefix).map_or(Bound::Included(&*prefix), Bound::Excluded);
        let range = self.index.order.range::<str, _>((from, Bound::Unbounded));
        range
            .map(|(_, key)| *key)
            .filter_map(|key| self.entities.get(key))
            .take_while(move |entity| entity.kind == kind)
    }

    fn after(&self, after: Option<&str>) -> impl Iterator<Item = &Entity> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.index.order.range::<str, _>((from, Bound::Unbounded)).filter_map(|(_, key)| self.entities.get(*key))
    }
}

impl Entity {
    fn belongs_to(&self, microdao: EntityKey) -> bool {
        self.references.iter().any(|held| held.link != Link::OrbitedBy && held.target == Some(microdao))
    }
}

impl Link {
    /// Relation of the referring entity to its target.
    const fn forward(self) -> &'static str {
        match self {
            Self::AgentOf | Self::NodeOf | Self::ChannelOf => "belongs_to",
            Self::Governs => "governs",
            Self::OrbitedBy => "orbited_by",
        }
    }

    /// Relation of the target to the referring entity.
    const fn backward(self) -> &'static str {
        match self {
            Self::AgentOf | Self::NodeOf | Self::ChannelOf => "has",
            Self::Governs => "governed_by",
            Self::OrbitedBy => "orbits",
        }
    }
}

/// Returns `true` if id, label or another name contains `q`, given in lower case.
fn contains(entity: &Entity, published: &PublishedItem, q: &str) -> bool {
    published.item.label().to_lowercase().contains(q)
        || entity.id.to_lowercase().contains(q)
        || entity.names.iter().any(|name| name.text.to_lowercase().contains(q))
}
