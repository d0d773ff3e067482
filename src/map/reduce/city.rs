//! `city.event.*`: free in form; what names an entity of the map is news about it, and nothing else is.

use serde_json::Value;

use crate::model::EntityType;

use super::About;
use super::agent::presence;
use crate::map::fields::Field;
use crate::map::fold::Fold;
use crate::map::status;

pub(super) fn event(fold: &mut Fold<'_>, about: About<'_>) {
    let (Some(kind), Some(id)) = (about.event.entity_type, about.event.entity_id.as_deref()) else { return };
    let Some(key) = fold.known(kind, id) else { return };
    let said = about.text("status").and_then(status::read);
    match (kind, said) {
        (EntityType::Agent, Some(status)) => presence(fold, key, status),
        (EntityType::Node, Some(status)) => fold.set(key, Field::Status, Value::from(status.as_str())),
        (EntityType::Agent, None) => fold.active(key),
        _ => {}
    }
}
