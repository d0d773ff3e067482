//! `living_map.sync.<service>`: what a poll found, as [`crate::map::State::diff`] wrote it.

use serde_json::{Map, Value};

use crate::map::diff;
use crate::map::entity::Key;
use crate::map::facts::Source;
use crate::map::fields::{self, Field};
use crate::map::fold::Fold;
use crate::map::names;
use crate::map::told;
use crate::map::usage::{self, Counts, Figures};
use crate::model::change;
use crate::model::{EntityType, Service};

/// The poll that a part of an answer belongs to.
#[derive(Clone, Copy)]
struct Poll {
    service: Service,
    mark: u64,
}

/// False when more parts of the same poll follow.
pub(super) fn answer(fold: &mut Fold<'_>, service: &str, payload: &Map<String, Value>) -> bool {
    let number = |name: &str| payload.get(name).and_then(Value::as_u64);
    let (Ok(service), Some(mark)) = (service.parse::<Service>(), number("mark")) else { return true };
    // a mark is taken before the answer is appended, and an answer that is older than the last one is stale
    if mark >= fold.seq || fold.state.marks.get(&service).is_some_and(|last| *last > mark) {
        return true;
    }
    let poll = Poll { service, mark };
    let list = |name: &str| payload.get(name).and_then(Value::as_array).into_iter().flatten();
    let mut said = 0;
    for id in list("gone").filter_map(Value::as_str) {
        said += usize::from(poll.gone(fold, id).is_some());
    }
    for entity in list("entities").filter_map(Value::as_object) {
        said += usize::from(poll.entity(fold, entity).is_some());
    }
    if let Some(layers) = payload.get("layers").and_then(Value::as_object) {
        said += usize::from(poll.layers(fold, layers));
    }
    if said > 0 {
        fold.state.marks.insert(service, mark);
    }
    let more = number("part").zip(number("parts")).is_some_and(|(part, parts)| part < parts);
    !more
}

impl Poll {
    /// The service does not name it any more.
    fn gone(self, fold: &mut Fold<'_>, id: &str) -> Option<()> {
        let kind = EntityType::of_id(id)?;
        let key = *fold.state.index.names.get(names::prefixed(kind, id)?.as_str())?;
        let hour = fold.hour;
        fold.entity(key)?.withdraw(self.service, self.mark, hour);
        fold.touch_whole(key);
        Some(())
    }

    /// What it says anew about one entity.
    fn entity(self, fold: &mut Fold<'_>, said: &Map<String, Value>) -> Option<()> {
        let kind = said.get("type")?.as_str()?.parse::<EntityType>().ok()?;
        let id = said.get("id")?.as_str()?;
        let aliases = said.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let slug = said.get("slug").and_then(Value::as_str);
        let claimed = told::names_of(kind, std::iter::once(id).chain(aliases), slug);
        let known = fold.state.plan(&claimed).target.and_then(|key| fold.state.entities.get(key));
        let revive = match known.and_then(|entity| entity.death.map(|death| (entity, death))) {
            Some((_, death)) if self.mark < death.seq => return None,
            Some((entity, _)) => diff::revives(self.service, entity),
            None => false,
        };
        let key = fold.claim(kind, &claimed, revive)?;
        fold.entity(key)?.name_by(self.service);
        for (name, value) in said.get("fields").and_then(Value::as_object).into_iter().flatten() {
            if let Some((field, value)) = fields::read(kind, name, value) {
                self.field(fold, key, field, value);
            }
        }
        self.usage(fold, key, said);
        fold.touch_whole(key);
        Some(())
    }

    fn field(self, fold: &mut Fold<'_>, key: Key, field: Field, value: Value) -> Option<()> {
        let entity = fold.entity(key)?;
        let source = Source::Service(self.service);
        if value.is_null() {
            entity.facts.remove(field, source);
        } else {
            entity.facts.set(entity.kind, field, source, 0, value);
        }
        let outdated = entity.facts.get(entity.kind, field, Source::Event).is_some_and(|fact| fact.seq <= self.mark);
        if outdated && entity.facts.may_overrule(entity.kind, field, self.service) {
            entity.facts.remove(field, Source::Event);
        }
        Some(())
    }

    fn usage(self, fold: &mut Fold<'_>, key: Key, said: &Map<String, Value>) -> Option<()> {
        let figures = usage::read(said.get("usage")?)?;
        let counted = read_counted(said)?;
        let hour = fold.hour;
        let agent = fold.entity(key).filter(|entity| entity.kind == EntityType::Agent)?;
        if self.service == Service::Usage && agent.counter.base_mark().is_none_or(|mark| mark <= self.mark) {
            agent.counter.rebase(figures, counted, self.mark, hour);
        }
        Some(())
    }

    /// Data of layers as a whole; whether there was any.
    fn layers(self, fold: &mut Fold<'_>, layers: &Map<String, Value>) -> bool {
        let mut said = false;
        if let Some(city) = layers.get("city").and_then(Value::as_object) {
            let mut figures = fold.state.city.clone();
            said |= figures.take_over(city);
            let patch = change::diff(&fold.state.city.fields(), &figures.fields());
            fold.city_patch.extend(patch);
            fold.state.city = figures;
        }
        if let Some(agents) = layers.get("agents").and_then(Value::as_object)
            && let (Some(calls), Some(counted)) = (diff::total_calls(agents), read_counted(agents))
            && self.service == Service::Usage
        {
            let hour = fold.hour;
            let figures = Figures { llm_calls: Some(calls), ..Figures::default() };
            fold.state.counted.rebase(figures, counted, self.mark, hour);
            said = true;
        }
        said
    }
}

fn read_counted(said: &Map<String, Value>) -> Option<Counts> {
    match said.get("counted") {
        None => Some(Counts::default()),
        Some(value) => serde_json::from_value(value.clone()).ok(),
    }
}
