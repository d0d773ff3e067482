//! `node.metrics.*`.

use serde_json::{Map, Value};

use crate::model::EntityType;

use super::About;
use crate::map::fields::Field;
use crate::map::fold::{Assertion, Fold};
use crate::map::status;

/// What publishers call a field, where that is not the map's own name.
const SYNONYMS: [(&str, &str); 5] = [
    ("memory", "ram"),
    ("label", "name"),
    ("microdao", "microdao_id"),
    ("latency", "latency_ms"),
    ("uptime", "uptime_seconds"),
];

pub(super) fn metrics(fold: &mut Fold<'_>, about: About<'_>) {
    let called = about.names(EntityType::Node, &[], false);
    let Some(key) = fold.ensure(EntityType::Node, &called, Assertion::Outright) else { return };
    let time = fold.time;
    let Some(node) = fold.entity(key) else { return };
    if node.last_active.is_some_and(|last| last > time) {
        return;
    }
    let news = status::metrics_tell(node);
    let mut fields = Map::new();
    let nested = about.get("metrics").and_then(Value::as_object).into_iter().flatten();
    for (name, value) in nested.chain(about.payload).filter(|(_, value)| !value.is_null()) {
        let own = SYNONYMS.iter().find(|(synonym, _)| synonym == name).map_or(name.as_str(), |(_, own)| own);
        // the map's own name counts more than a synonym, wherever it stands
        if own == name || !about.payload.contains_key(own) {
            fields.insert(own.to_owned(), value.clone());
        }
    }
    let said = fields.remove("status");
    fold.set_all(key, &fields);
    match said.as_ref().and_then(Value::as_str).and_then(status::read) {
        Some(status) => fold.set(key, Field::Status, Value::from(status.as_str())),
        None if news => fold.set(key, Field::Status, Value::from("online")),
        None => {}
    }
    fold.active(key);
}
