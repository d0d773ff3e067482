//! What a poll's answer says that the map does not know: the payloads of `living_map.sync.<service>` events.
//!
//! ```json
//! {"service": "usage", "mark": 41, "part": 1, "parts": 1,
//!  "gone": ["agent:zoe"],
//!  "entities": [{"type": "agent", "id": "agent:sofia", "aliases": ["agent:afd7…"], "slug": null,
//!                "fields": {"name": "Sofia", "model": null},
//!                "usage": {"llm_calls_24h": 44}, "counted": {"llm_calls": 2}}],
//!  "layers": {"agents": {"total_llm_calls_24h": 123, "counted": {"llm_calls": 2}}}}
//! ```
//!
//! `mark` is the position folded when the poll began; `fields` has what changed, null for what the service does not say
//! any more; `counted` is what events had counted at the mark.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::layers::CityMetrics;
use crate::model::{Answer, Layer, Service, json as normal};

use super::entity::{Entity, Key, authority};
use super::facts::{Fact, Source};
use super::fields::{self, Field};
use super::names::Name;
use super::told::Told;
use super::usage::{self, Counts, Figures};
use super::{Mark, State};

/// Most quests that are kept.
const MAX_QUESTS: usize = 1_000;
/// Bytes of a payload around its lists.
const FRAME_BYTES: usize = 128;

/// What the city service says of its layer as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CityFigures {
    metrics: CityMetrics,
    quests: Vec<Value>,
}

impl CityFigures {
    /// Takes over what `said` has; whether it had anything.
    pub(super) fn take_over(&mut self, said: &Map<String, Value>) -> bool {
        let metrics = said.get("metrics").and_then(Value::as_object);
        if let Some(metrics) = metrics {
            let number = |name: &str| metrics.get(name).and_then(fields::number);
            self.metrics = CityMetrics {
                activity_index: number("activity_index"),
                avg_agent_latency_ms: number("avg_agent_latency_ms"),
                nats_tps: number("nats_tps"),
                node_avg_load: number("node_avg_load"),
                error_rate: number("error_rate"),
                quest_engagement: number("quest_engagement"),
            };
        }
        let quests = said.get("quests").and_then(Value::as_array);
        if let Some(quests) = quests {
            self.quests = quests.iter().filter(|quest| quest.is_object()).take(MAX_QUESTS).cloned().collect();
        }
        metrics.is_some() || quests.is_some()
    }

    /// The city layer's fields that hold them.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("metrics".to_owned(), json!(self.metrics));
        fields.insert("quests".to_owned(), Value::Array(self.quests.clone()));
        fields
    }
}

/// The total in the agents layer's data.
pub(super) fn total_calls(agents: &Map<String, Value>) -> Option<u64> {
    agents.get("total_llm_calls_24h").and_then(fields::count)
}

/// Whether `service` naming a deleted entity, in a poll that began after it was deleted, brings it back: the registry
/// of its type does; another upstream when it did not name it all along.
pub(super) fn revives(service: Service, entity: &Entity) -> bool {
    authority(entity.kind) == Some(service) || (service != Service::Usage && !entity.named.has(service))
}

impl State {
    pub(super) fn difference(&self, mark: &Mark, answer: &Answer, max_bytes: usize) -> Vec<Value> {
        let service = answer.service;
        if self.marks.get(&service).is_some_and(|last| *last > mark.seq) {
            return Vec::new();
        }
        let mut named: HashSet<Key> = HashSet::new();
        let mut gone: BTreeSet<String> = BTreeSet::new();
        let mut entities = Vec::new();
        for told in self.told(answer) {
            let plan = self.plan(&told.names);
            let known = plan.target.and_then(|key| self.entities.get(key));
            named.extend(plan.target);
            if let Some(entity) = known.filter(|entity| service == Service::Usage && told.is_nothing_of(entity)) {
                gone.insert(entity.id.to_string());
            } else if let Some(said) = Self::said_anew(mark, service, &told, known, plan.is_known()) {
                entities.push(said);
            }
        }
        let complete = |entity: &Entity| answer.complete.contains(&entity.kind);
        let left = self.entities.iter().filter(|(key, entity)| complete(entity) && !named.contains(key));
        gone.extend(
            left.filter(|(_, entity)| is_gone(entity, service, mark.seq)).map(|(_, entity)| entity.id.to_string()),
        );
        let layers = self.layers_said_anew(mark, answer);
        in_parts(service, mark.seq, gone, entities, layers, max_bytes)
    }

    fn said_anew(
        mark: &Mark,
        service: Service,
        told: &Told,
        known: Option<&Entity>,
        names_known: bool,
    ) -> Option<Value> {
        let death = known.and_then(|entity| entity.death);
        let counted = mark.counted(known.map_or(&told.names, |entity| &entity.names));
        let revived = match (known, death) {
            (_, Some(death)) if mark.seq < death.seq => return None,
            (Some(entity), Some(_)) => revives(service, entity),
            _ => false,
        };
        let fields = known.map_or_else(|| told.fields.clone(), |entity| told.changed(entity, service, mark.seq));
        let fields: Map<String, Value> = fields
            .into_iter()
            .filter(|(_, value)| known.is_some() || !value.is_null())
            .map(|(field, value)| (fields::name_of(told.kind, field).to_owned(), value))
            .collect();
        let usage = told.usage.as_ref().filter(|usage| match known {
            None => usage.is_any(),
            Some(_) if death.is_some() => false,
            Some(entity) => {
                entity.counter.base_mark().is_none_or(|base| base <= mark.seq)
                    && !usage.agree(&entity.counter.shown_at(counted))
            }
        });
        // the usage service is asked about agents the map knows: that it answers is no news
        let newly_named = service != Service::Usage && known.is_none_or(|entity| !entity.named.has(service));
        // a deleted entity learns no names, and the usage service is nobody to learn them from
        let new_names = !names_known && service != Service::Usage && (death.is_none() || revived);
        if service == Service::Usage && known.is_none() && usage.is_none() {
            return None;
        }
        if fields.is_empty() && usage.is_none() && !newly_named && !revived && !new_names {
            return None;
        }
        let mut said = json!({"type": told.kind, "id": told.id});
        let aliases: Vec<&str> = told.names.iter().map(|name| &*name.text).filter(|name| **name != told.id).collect();
        if !aliases.is_empty() {
            said["aliases"] = json!(aliases);
        }
        if let Some(slug) = &told.slug {
            said["slug"] = json!(slug);
        }
        if !fields.is_empty() {
            said["fields"] = Value::Object(fields);
        }
        if let Some(usage) = usage {
            said["usage"] = usage::write(usage);
            said["counted"] = json!(counted);
        }
        Some(said)
    }

    fn layers_said_anew(&self, mark: &Mark, answer: &Answer) -> Map<String, Value> {
        let mut anew = Map::new();
        let mut city = self.city.clone();
        for (layer, said) in &answer.layers {
            let said = normal::normalise(Value::Object(said.clone()));
            let Some(said) = said.as_object() else { continue };
            match layer {
                Layer::City => {
                    city.take_over(said);
                }
                Layer::Agents if answer.service == Service::Usage => {
                    let calls = total_calls(said);
                    let known = self.counted.shown_at(mark.total).llm_calls_24h;
                    if let Some(calls) = calls.filter(|calls| *calls != known) {
                        anew.insert("agents".to_owned(), json!({"total_llm_calls_24h": calls, "counted": mark.total}));
                    }
                }
                _ => {}
            }
        }
        if city != self.city {
            anew.insert("city".to_owned(), Value::Object(city.fields()));
        }
        anew
    }
}

impl Told {
    /// Whether the usage service has no figures for an agent that only it ever spoke of.
    fn is_nothing_of(&self, entity: &Entity) -> bool {
        let only_usage = entity.named.has(Service::Usage) && entity.sign.is_none() && {
            let mut others = entity.named;
            others.remove(Service::Usage);
            others.is_empty()
        };
        only_usage && !self.usage.as_ref().is_some_and(Figures::is_any)
    }

    /// The fields that the fold must take over; null for what the service does not say any more.
    fn changed(&self, entity: &Entity, service: Service, mark: u64) -> BTreeMap<Field, Value> {
        let mut changed = BTreeMap::new();
        for (field, value) in &self.fields {
            let known = entity
                .facts
                .get(entity.kind, *field, Source::Service(service))
                .map_or(&Value::Null, |fact| &fact.value);
            let event = entity.facts.get(entity.kind, *field, Source::Event).filter(|event| event.seq <= mark);
            let undone = event
                .is_some_and(|event| event.value != *value && entity.facts.may_overrule(entity.kind, *field, service));
            if known != value || undone {
                changed.insert(*field, value.clone());
            }
        }
        let silent = |fact: &&Fact| !self.partial && !self.fields.contains_key(&fact.field);
        for fact in entity.facts.of(service).filter(silent) {
            changed.insert(fact.field, Value::Null);
        }
        changed
    }
}

/// Whether an entity that a full list does not name is news.
fn is_gone(entity: &Entity, service: Service, mark: u64) -> bool {
    let listed_once = authority(entity.kind) == Some(service) && entity.ever.has(service);
    entity.named.has(service) || (listed_once && entity.visible() && entity.sign.is_some_and(|sign| sign.seq <= mark))
}

fn in_parts(
    service: Service,
    mark: u64,
    gone: BTreeSet<String>,
    entities: Vec<Value>,
    layers: Map<String, Value>,
    max_bytes: usize,
) -> Vec<Value> {
    let mut parts: Vec<Map<String, Value>> = Vec::new();
    let mut size = usize::MAX;
    if !layers.is_empty() {
        size = FRAME_BYTES + Value::Object(layers.clone()).to_string().len();
        parts.push(Map::from_iter([("layers".to_owned(), Value::Object(layers))]));
    }
    let pieces = gone
        .into_iter()
        .map(|id| ("gone", Value::String(id)))
        .chain(entities.into_iter().map(|said| ("entities", said)));
    for (list, piece) in pieces {
        let bytes = piece.to_string().len() + 1;
        if size.saturating_add(bytes) > max_bytes {
            parts.push(Map::new());
            size = FRAME_BYTES;
        }
        size += bytes;
        if let Some(part) = parts.last_mut()
            && let Value::Array(items) = part.entry(list).or_insert_with(|| Value::Array(Vec::new()))
        {
            items.push(piece);
        }
    }
    let total = parts.len();
    let numbered = parts.into_iter().enumerate().map(|(at, mut part)| {
        part.insert("service".to_owned(), json!(service));
        part.insert("mark".to_owned(), json!(mark));
        part.insert("part".to_owned(), json!(at + 1));
        part.insert("parts".to_owned(), json!(total));
        Value::Object(part)
    });
    numbered.collect()
}

impl Mark {
    /// What was counted, when the mark was taken, under any of these names.
    fn counted(&self, names: &[Name]) -> Counts {
        let counted = names.iter().filter_map(|name| self.usage.get(&name.text));
        counted.fold(Counts::default(), |sum, counts| sum.plus(*counts))
    }
}
