//! An upstream's answer as normalized records: one for each entity.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::map::fields::{self, Field};
use crate::map::names::{Name, NameKind};
use crate::map::state::State;
use crate::map::state::slab::EntityKey;
use crate::map::usage::Figures;
use crate::model::{Answer, EntityType, Facts, Service, json as normal};

/// The data of an answer about one entity.
pub(super) struct NormalizedRecord {
    pub(super) kind: EntityType,
    pub(super) id: String,
    pub(super) names: Vec<Name>,
    pub(super) slug: Option<String>,
    pub(super) fields: BTreeMap<Field, Value>,
    pub(super) usage: Option<Figures>,
    /// Absent fields keep the values of earlier answers.
    pub(super) partial: bool,
}

impl NormalizedRecord {
    /// The records of an answer, one for each entity of the map: records that the answer has as separate may be known
    /// to be the same.
    pub(super) fn of_answer(state: &State, answer: &Answer) -> Vec<Self> {
        let mut records: Vec<Self> = Vec::new();
        let mut by_entity: HashMap<EntityKey, usize> = HashMap::new();
        for record in Self::distinct(answer) {
            let target = state.resolve_names(&record.names).target;
            if let Some(own) = target.and_then(|key| by_entity.get(&key)).and_then(|at| records.get_mut(*at)) {
                own.merge(record);
                continue;
            }
            by_entity.extend(target.map(|key| (key, records.len())));
            records.push(record);
        }
        records
    }

    /// The records by id, without duplicates: an upstream that lists an entity twice must not change it with every
    /// poll, and the order must not depend on the upstream's.
    fn distinct(answer: &Answer) -> Vec<Self> {
        let mut records: Vec<Option<Self>> = Vec::new();
        let mut by_name: HashMap<Arc<str>, usize> = HashMap::new();
        for facts in &answer.entities {
            let Some(record) = Self::read(facts, answer.service) else { continue };
            let candidates: BTreeSet<usize> =
                record.names.iter().filter_map(|name| by_name.get(&name.text)).copied().collect();
            let mut merged: Option<Self> = None;
            for at in candidates {
                let is_same =
                    |other: &mut Self| !other.differs(&record) && merged.as_ref().is_none_or(|own| !own.differs(other));
                if let Some(other) = records.get_mut(at).and_then(|other| other.take_if(is_same)) {
                    match &mut merged {
                        Some(own) => own.merge(other),
                        None => merged = Some(other),
                    }
                }
            }
            let record = match merged {
                Some(mut own) => {
                    own.merge(record);
                    own
                }
                None => record,
            };
            for name in &record.names {
                let at = by_name.entry(Arc::clone(&name.text)).or_insert(records.len());
                if records.get(*at).is_some_and(Option::is_none) {
                    *at = records.len();
                }
            }
            records.push(Some(record));
        }
        let mut records: Vec<Self> = records.into_iter().flatten().collect();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        records
    }

    /// None for data without a valid name.
    fn read(facts: &Facts, service: Service) -> Option<Self> {
        let Value::Object(data) = normal::normalise(Value::Object(facts.fields.clone())) else { return None };
        let clean = |raw: &String| normal::normalise(Value::from(raw.as_str())).as_str().map(str::to_owned);
        let raw: Vec<String> = std::iter::once(&facts.id).chain(&facts.aliases).filter_map(clean).collect();
        let slug = data.get("slug").and_then(Value::as_str).map(str::to_owned);
        let names = Name::read_all(facts.kind, raw.iter().map(String::as_str), slug.as_deref());
        let id = names.first()?.text.to_string();
        // the usage service reports figures only; it is no authority for other fields
        let described = data.iter().filter(|_| service != Service::Usage);
        let fields = described.filter_map(|(name, value)| fields::read(facts.kind, name, value)).collect();
        let usage = data.get("usage").filter(|_| service == Service::Usage).and_then(Figures::read);
        Some(Self { kind: facts.kind, id, names, slug, fields, usage, partial: facts.partial })
    }

    fn uuids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter().filter(|name| name.kind == NameKind::Uuid).map(|name| &name.text)
    }

    /// Returns `true` if both have uuids and share none.
    fn differs(&self, other: &Self) -> bool {
        self.uuids().next().is_some()
            && other.uuids().next().is_some()
            && !self.uuids().any(|uuid| other.uuids().any(|own| own == uuid))
    }

    /// Adds a record of the same entity; its values take precedence.
    fn merge(&mut self, other: Self) {
        self.slug = other.slug.or(self.slug.take());
        let names = self.names.iter().chain(&other.names).map(|name| &*name.text);
        self.names = Name::read_all(self.kind, names, self.slug.as_deref());
        self.fields.extend(other.fields);
        self.usage = other.usage.or(self.usage.take());
        self.partial |= other.partial;
    }
}
