//! An upstream's answer in the normal form: each thing once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::model::{Answer, EntityType, Service, json as normal};

use super::State;
use super::entity::Key;
use super::fields::{self, Field};
use super::names::{self, Name, NameKind};
use super::usage::{self, Figures};

/// The names of one thing, as an upstream lists them.
pub(super) fn names_of<'a>(kind: EntityType, raw: impl Iterator<Item = &'a str>, slug: Option<&'a str>) -> Vec<Name> {
    let slug_name = slug.and_then(|slug| names::prefixed(kind, slug));
    let mut found: Vec<Name> = Vec::new();
    for raw in raw.chain(slug) {
        let Some(mut name) = Name::read(kind, raw, NameKind::External) else { continue };
        if name.kind == NameKind::External && slug_name.as_deref() == Some(&*name.text) {
            name.kind = NameKind::Slug;
        }
        if !found.iter().any(|known| known.text == name.text) {
            found.push(name);
        }
    }
    found
}

/// What an answer says about one thing, in the normal form.
pub(super) struct Told {
    pub(super) kind: EntityType,
    pub(super) id: String,
    pub(super) names: Vec<Name>,
    pub(super) slug: Option<String>,
    pub(super) fields: BTreeMap<Field, Value>,
    pub(super) usage: Option<Figures>,
    /// Fields that are absent stay as they are.
    pub(super) partial: bool,
}

impl Told {
    fn all(answer: &Answer) -> Vec<Self> {
        let mut all: Vec<Option<Self>> = Vec::new();
        let mut by_name: HashMap<Arc<str>, usize> = HashMap::new();
        for facts in &answer.entities {
            let Value::Object(said) = normal::normalise(Value::Object(facts.fields.clone())) else { continue };
            let clean = |raw: &String| normal::normalise(Value::from(raw.as_str())).as_str().map(str::to_owned);
            let raw: Vec<String> = std::iter::once(&facts.id).chain(&facts.aliases).filter_map(clean).collect();
            let slug = said.get("slug").and_then(Value::as_str).map(str::to_owned);
            let names = names_of(facts.kind, raw.iter().map(String::as_str), slug.as_deref());
            let Some(id) = names.first().map(|name| name.text.to_string()) else { continue };
            // the usage service counts; it is nobody to say what an agent is
            let described = said.iter().filter(|_| answer.service != Service::Usage);
            let fields = described.filter_map(|(name, value)| fields::read(facts.kind, name, value)).collect();
            let usage = said.get("usage").filter(|_| answer.service == Service::Usage).and_then(usage::read);
            let told = Self { kind: facts.kind, id, names, slug, fields, usage, partial: facts.partial };
            // an upstream that lists one thing twice must not make it change with every poll
            let twins: BTreeSet<usize> =
                told.names.iter().filter_map(|name| by_name.get(&name.text)).copied().collect();
            let mut whole: Option<Self> = None;
            for at in twins {
                let is_same =
                    |twin: &mut Self| !twin.differs(&told) && whole.as_ref().is_none_or(|own| !own.differs(twin));
                if let Some(twin) = all.get_mut(at).and_then(|twin| twin.take_if(is_same)) {
                    match &mut whole {
                        Some(own) => own.join(twin),
                        None => whole = Some(twin),
                    }
                }
            }
            let whole = match whole {
                Some(mut own) => {
                    own.join(told);
                    own
                }
                None => told,
            };
            for name in &whole.names {
                let at = by_name.entry(Arc::clone(&name.text)).or_insert(all.len());
                if all.get(*at).is_some_and(Option::is_none) {
                    *at = all.len();
                }
            }
            all.push(Some(whole));
        }
        let mut all: Vec<Self> = all.into_iter().flatten().collect();
        // the order of the entities must not depend on the upstream's, and which of two twins counts must not either
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn uuids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter().filter(|name| name.kind == NameKind::Uuid).map(|name| &name.text)
    }

    fn differs(&self, other: &Self) -> bool {
        self.uuids().next().is_some()
            && other.uuids().next().is_some()
            && !self.uuids().any(|uuid| other.uuids().any(|own| own == uuid))
    }

    /// Both are one thing; where they differ, the other one's word counts.
    fn join(&mut self, other: Self) {
        self.slug = other.slug.or(self.slug.take());
        let names = self.names.iter().chain(&other.names).map(|name| &*name.text);
        self.names = names_of(self.kind, names, self.slug.as_deref());
        self.fields.extend(other.fields);
        self.usage = other.usage.or(self.usage.take());
        self.partial |= other.partial;
    }
}

impl State {
    /// What an answer says, once for each entity of the map: what it takes for two things may be known to be one.
    pub(super) fn told(&self, answer: &Answer) -> Vec<Told> {
        let mut all: Vec<Told> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        for told in Told::all(answer) {
            let target = self.plan(&told.names).target;
            if let Some(own) = target.and_then(|key| places.get(&key)).and_then(|at| all.get_mut(*at)) {
                own.join(told);
                continue;
            }
            places.extend(target.map(|key| (key, all.len())));
            all.push(told);
        }
        all
    }
}
