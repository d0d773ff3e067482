//! Typed access to an event's payload.

use serde_json::{Map, Value};

use crate::map::fields;
use crate::map::names::{self, Name, NameKind};
use crate::model::{EntityType, Event};

use super::assertion::Operation;

/// An event whose payload is a JSON object.
#[derive(Clone, Copy)]
pub(super) struct EventReader<'a> {
    pub(super) event: &'a Event,
    pub(super) payload: &'a Map<String, Value>,
}

impl<'a> EventReader<'a> {
    /// None for any other payload.
    pub(super) fn new(event: &'a Event) -> Option<Self> {
        Some(Self { event, payload: event.payload.as_object()? })
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.payload.get(name)
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    pub(super) fn id(self, name: &str) -> Option<String> {
        names::raw_id(self.get(name)?)
    }

    pub(super) fn number(self, name: &str) -> Option<f64> {
        fields::number(self.get(name)?)
    }

    pub(super) fn count(self, name: &str) -> Option<u64> {
        fields::count(self.get(name)?)
    }

    pub(super) fn is_true(self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    /// The names of the event's entity, if it is of this type: the `entity_id` of the envelope, then the ids in these
    /// fields, and the slug if `slug`.
    pub(super) fn names(self, kind: EntityType, ids: &[&str], slug: bool) -> Vec<Name> {
        let own = self.event.entity_id.clone().filter(|_| self.event.entity_type == Some(kind));
        let ids = ids.iter().filter_map(|name| self.id(name)).map(|id| (id, NameKind::External));
        let slug = self.id("slug").filter(|_| slug).map(|slug| (slug, NameKind::Slug));
        let mut found: Vec<Name> = Vec::new();
        // the slug first: `entity_id` may be made from it, and would hide that it is a slug
        for (raw, name_kind) in slug.into_iter().chain(own.map(|id| (id, NameKind::External))).chain(ids) {
            if let Some(name) =
                Name::read(kind, &raw, name_kind).filter(|name| !found.iter().any(|n| n.text == name.text))
            {
                found.push(name);
            }
        }
        found
    }

    /// The fields that an `updated` event changes: its `changes`, or the payload itself.
    pub(super) fn changes(self) -> &'a Map<String, Value> {
        self.get("changes").and_then(Value::as_object).unwrap_or(self.payload)
    }

    /// A hint from the payload's field of this name; none when it is absent or not a field of this type.
    pub(super) fn hint(self, kind: EntityType, name: &str) -> Option<Operation<'a>> {
        let value = self.get(name)?;
        Some(Operation::Hint(fields::field_named(kind, name)?, value))
    }
}

/// The operations of an update: each known field with a valid value, and the slug as another name.
pub(super) fn update(kind: EntityType, changes: &Map<String, Value>) -> impl Iterator<Item = Operation<'_>> {
    let slug = changes.get("slug").and_then(names::raw_id).and_then(|slug| Name::read(kind, &slug, NameKind::Slug));
    set_all(kind, changes).chain(slug.map(Operation::AddSlug))
}

/// Each known field with a valid value.
fn set_all(kind: EntityType, changes: &Map<String, Value>) -> impl Iterator<Item = Operation<'_>> {
    let read = move |(name, value): (&String, &Value)| fields::read(kind, name, value);
    changes.iter().filter_map(read).map(|(field, value)| Operation::Set(field, value))
}
