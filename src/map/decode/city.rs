//! `city.event.*`: free in form; only statuses and activity of entities that are on the map have a meaning.

use serde_json::Value;

use crate::map::fields::Field;
use crate::map::names::{Name, NameKind};
use crate::map::status;
use crate::model::EntityType;

use super::agent::presence;
use super::assertion::{Assertion, EntitySelector, Operation};
use super::reader::EventReader;

pub(super) fn event(reader: EventReader<'_>) -> Option<Assertion<'_>> {
    let kind = reader.event.entity_type?;
    let name = Name::read(kind, reader.event.entity_id.as_deref()?, NameKind::External)?;
    let operations = match (kind, reader.text("status").and_then(status::read)) {
        (EntityType::Agent, Some(status)) => presence(status).collect(),
        (EntityType::Node, Some(status)) => vec![Operation::Set(Field::Status, Value::from(status.as_str()))],
        (EntityType::Agent, None) => vec![Operation::Activity],
        _ => return None,
    };
    Some(Assertion { entity: EntitySelector::Known(vec![name]), operations })
}
