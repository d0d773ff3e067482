//! `node.metrics.*`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::map::{fields, status};
use crate::model::EntityType;

use super::assertion::{Assertion, Certainty, Metrics, Operation};
use super::reader::EventReader;

/// Names that publishers use for a field, with the map's own name.
const SYNONYMS: [(&str, &str); 5] = [
    ("memory", "ram"),
    ("label", "name"),
    ("microdao", "microdao_id"),
    ("latency", "latency_ms"),
    ("uptime", "uptime_seconds"),
];

pub(super) fn metrics(reader: EventReader<'_>) -> Assertion<'_> {
    let mut reported: BTreeMap<&str, &Value> = BTreeMap::new();
    let nested = reader.get("metrics").and_then(Value::as_object).into_iter().flatten();
    for (name, value) in nested.chain(reader.payload).filter(|(_, value)| !value.is_null()) {
        let own = SYNONYMS.iter().find(|(synonym, _)| synonym == name).map_or(name.as_str(), |(_, own)| own);
        // the map's own name takes precedence over a synonym, nested or not
        if own == name || !reader.payload.contains_key(own) {
            reported.insert(own, value);
        }
    }
    let status = reported.remove("status").and_then(Value::as_str).and_then(status::read);
    let fields = reported.into_iter().filter_map(|(name, value)| fields::read(EntityType::Node, name, value));
    let metrics = Operation::Metrics(Metrics { fields: fields.collect(), status });
    let names = reader.names(EntityType::Node, &[], false);
    Assertion::exists(EntityType::Node, names, Certainty::Explicit).with([metrics])
}
