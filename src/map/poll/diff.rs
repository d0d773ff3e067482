//! The difference between an upstream's answer and the map.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value, json};

use crate::map::city::CityUpdate;
use crate::map::fields::{self, Field};
use crate::map::state::State;
use crate::map::state::entity::{Entity, registry_of};
use crate::map::state::facts::{Fact, Origin};
use crate::map::state::slab::EntityKey;
use crate::map::usage::{self, CallSource, Figures, RENEWAL_HOURS};
use crate::model::{Answer, Layer, Service, json as normal};

use super::PollMark;
use super::normalized::NormalizedRecord;

/// The parts of the answer that are new to the map.
pub(super) struct Difference {
    /// Canonical ids of the entities that the service does not list any more.
    pub(super) gone: BTreeSet<String>,
    pub(super) entities: Vec<Value>,
    pub(super) layers: Map<String, Value>,
}

pub(super) fn of_answer(state: &State, mark: &PollMark, answer: &Answer) -> Difference {
    let service = answer.service;
    let mut listed: HashSet<EntityKey> = HashSet::new();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    let mut entities = Vec::new();
    for record in NormalizedRecord::of_answer(state, answer) {
        let resolution = state.resolve_names(&record.names);
        let known = resolution.target.and_then(|key| state.entities.get(key));
        listed.extend(resolution.target);
        if let Some(entity) = known.filter(|entity| service == Service::Usage && record.ends_usage_of(entity)) {
            gone.insert(entity.id.to_string());
        } else {
            entities.extend(entity_changes(mark, service, &record, known, resolution.is_known()));
        }
    }
    let is_complete = |entity: &Entity| answer.complete.contains(&entity.kind);
    let missing = state.entities.iter().filter(|(key, entity)| is_complete(entity) && !listed.contains(key));
    let dropped = missing.filter(|(_, entity)| is_gone(entity, service, mark.seq));
    gone.extend(dropped.map(|(_, entity)| entity.id.to_string()));
    Difference { gone, entities, layers: layer_changes(state, mark, answer) }
}

/// The changes of one record; none when there is none.
fn entity_changes(
    mark: &PollMark,
    service: Service,
    record: &NormalizedRecord,
    known: Option<&Entity>,
    names_known: bool,
) -> Option<Value> {
    let tombstone = known.and_then(|entity| entity.tombstone);
    let counted = mark.counted(known.map_or(&record.names, |entity| &entity.names));
    let restored = match (known, tombstone) {
        (_, Some(tombstone)) if mark.seq < tombstone.seq => return None,
        (Some(entity), Some(_)) => entity.is_restored_by(service),
        _ => false,
    };
    let fields = known
        .map_or_else(|| record.fields.clone(), |entity| record.changed_fields(entity, service, mark))
        .into_iter()
        .filter(|(_, value)| known.is_some() || !value.is_null())
        .map(|(field, value)| (fields::name_of(record.kind, field).to_owned(), value))
        .collect::<Map<String, Value>>();
    let usage = record.usage.as_ref().filter(|usage| match known {
        None => usage.is_any(),
        Some(_) if tombstone.is_some() => false,
        Some(entity) => {
            entity.counter.base_mark().is_none_or(|base| base <= mark.seq)
                && (entity.counter.base_hour().is_some_and(|folded| is_due(folded, mark))
                    || !usage.agree(&entity.counter.shown_at(counted, CallSource::Service)))
        }
    });
    // the usage service is polled for agents that the map knows: that it answers is nothing new
    let newly_listed = service != Service::Usage && known.is_none_or(|entity| !entity.listed_by.contains(service));
    // a deleted entity gets no names, and the usage service is no authority for names
    let new_names = !names_known && service != Service::Usage && (tombstone.is_none() || restored);
    if service == Service::Usage && known.is_none() && usage.is_none() {
        return None;
    }
    if fields.is_empty() && usage.is_none() && !newly_listed && !restored && !new_names {
        return None;
    }
    let mut changes = json!({"type": record.kind, "id": record.id});
    let aliases: Vec<&str> = record.names.iter().map(|name| &*name.text).filter(|name| **name != record.id).collect();
    if !aliases.is_empty() {
        changes["aliases"] = json!(aliases);
    }
    if let Some(slug) = &record.slug {
        changes["slug"] = json!(slug);
    }
    if !fields.is_empty() {
        changes["fields"] = Value::Object(fields);
    }
    if let Some(usage) = usage {
        changes["usage"] = usage.write();
        changes["counted"] = json!(counted);
    }
    Some(changes)
}

/// Returns `true` if figures folded in the hour `folded` must be folded again although they are the same.
const fn is_due(folded: i64, mark: &PollMark) -> bool {
    folded + RENEWAL_HOURS <= mark.hour()
}

fn layer_changes(state: &State, mark: &PollMark, answer: &Answer) -> Map<String, Value> {
    let mut changes = Map::new();
    let mut city = state.city.clone();
    for (layer, data) in &answer.layers {
        let data = normal::normalise(Value::Object(data.clone()));
        let Some(data) = data.as_object() else { continue };
        match layer {
            Layer::City => city.update(CityUpdate::read(data)),
            Layer::Agents if answer.service == Service::Usage => {
                let usage = &state.network_usage;
                let known = usage.llm_calls_at(mark.network_usage);
                let is_new =
                    |calls: &u64| *calls != known || usage.base_hour().is_none_or(|folded| is_due(folded, mark));
                if let Some(calls) = usage::total_calls(data).filter(is_new) {
                    let total = json!({"total_llm_calls_24h": calls, "counted": mark.network_usage});
                    changes.insert("agents".to_owned(), total);
                }
            }
            _ => {}
        }
    }
    if city != state.city {
        changes.insert("city".to_owned(), Value::Object(city.recorded()));
    }
    changes
}

impl NormalizedRecord {
    /// Returns `true` if the usage service has no figures left for an agent that only this service lists.
    fn ends_usage_of(&self, entity: &Entity) -> bool {
        let only_usage = entity.listed_by.contains(Service::Usage) && entity.last_seen.is_none() && {
            let mut others = entity.listed_by;
            others.remove(Service::Usage);
            others.is_empty()
        };
        only_usage && !self.usage.as_ref().is_some_and(Figures::is_any)
    }

    /// The fields that the fold must take over; null for those that the service does not report any more.
    fn changed_fields(&self, entity: &Entity, service: Service, mark: &PollMark) -> BTreeMap<Field, Value> {
        let mut changed = BTreeMap::new();
        for (field, value) in &self.fields {
            let known = entity
                .facts
                .get(entity.kind, *field, Origin::Service(service))
                .map_or(&Value::Null, |fact| &fact.value);
            let event = entity.facts.get(entity.kind, *field, Origin::Event);
            // an answer that repeats the last one may be older than a measurement
            let event = event.filter(|event| event.seq <= mark.seq && !mark.holds(event));
            let overruled = event
                .is_some_and(|event| event.value != *value && entity.facts.may_overrule(entity.kind, *field, service));
            if known != value || overruled {
                changed.insert(*field, value.clone());
            }
        }
        let is_absent = |fact: &&Fact| !self.partial && !self.fields.contains_key(&fact.field);
        for fact in entity.facts.of(service).filter(is_absent) {
            changed.insert(fact.field, Value::Null);
        }
        changed
    }
}

/// Returns `true` if the absence of an entity from a full list is new.
fn is_gone(entity: &Entity, service: Service, mark: u64) -> bool {
    let was_registered = registry_of(entity.kind) == Some(service) && entity.ever_listed_by.contains(service);
    entity.listed_by.contains(service)
        || (was_registered && entity.is_visible() && entity.last_seen.is_some_and(|seen| seen.seq <= mark))
}
