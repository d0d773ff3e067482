//! `living_map.sync.<service>`: a part of an upstream's answer, in the form that [`crate::map::State::diff`] writes.

use serde_json::{Map, Value};

use crate::map::city::CityUpdate;
use crate::map::fields::{self, Field};
use crate::map::names::{self, Name};
use crate::map::usage::{self, Counts, Figures};
use crate::model::{EntityType, Service};

/// One part of an answer.
#[derive(Debug)]
pub(in crate::map) struct PollPart {
    pub(in crate::map) service: Service,
    /// Position of the log when the poll began.
    pub(in crate::map) mark: u64,
    /// Names of the entities that the service does not list any more.
    pub(in crate::map) gone: Vec<String>,
    pub(in crate::map) entities: Vec<PolledEntity>,
    pub(in crate::map) city: Option<CityUpdate>,
    /// The network's total of model calls, with the events counted when the poll began.
    pub(in crate::map) total_calls: Option<(u64, Counts)>,
    /// `true` if more parts of the same answer follow.
    pub(in crate::map) has_more: bool,
}

/// The changes that the answer makes to one entity.
#[derive(Debug)]
pub(in crate::map) struct PolledEntity {
    pub(in crate::map) kind: EntityType,
    pub(in crate::map) names: Vec<Name>,
    /// JSON null where the service does not report a value any more.
    pub(in crate::map) fields: Vec<(Field, Value)>,
    /// Usage figures, with the events counted when the poll began.
    pub(in crate::map) usage: Option<(Figures, Counts)>,
}

/// None for an unknown service or without a mark.
pub(super) fn part(service: &str, payload: &Map<String, Value>) -> Option<PollPart> {
    let number = |name: &str| payload.get(name).and_then(Value::as_u64);
    let list = |name: &str| payload.get(name).and_then(Value::as_array).into_iter().flatten();
    let layer = |name: &str| payload.get("layers")?.get(name)?.as_object();
    let service = service.parse().ok()?;
    let total_calls = layer("agents").filter(|_| service == Service::Usage);
    Some(PollPart {
        service,
        mark: number("mark")?,
        gone: list("gone").filter_map(|id| names::prefixed(EntityType::of_id(id.as_str()?)?, id.as_str()?)).collect(),
        entities: list("entities").filter_map(|entity| entity.as_object().and_then(polled_entity)).collect(),
        city: layer("city").map(CityUpdate::read),
        total_calls: total_calls.and_then(|agents| usage::total_calls(agents).zip(counted(agents))),
        has_more: number("part").zip(number("parts")).is_some_and(|(part, parts)| part < parts),
    })
}

fn polled_entity(entity: &Map<String, Value>) -> Option<PolledEntity> {
    let kind = entity.get("type")?.as_str()?.parse::<EntityType>().ok()?;
    let id = entity.get("id")?.as_str()?;
    let aliases = entity.get("aliases").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let slug = entity.get("slug").and_then(Value::as_str);
    let fields = entity.get("fields").and_then(Value::as_object).into_iter().flatten();
    let usage = entity.get("usage").and_then(Figures::read);
    Some(PolledEntity {
        kind,
        names: Name::read_all(kind, std::iter::once(id).chain(aliases), slug),
        fields: fields.filter_map(|(name, value)| fields::read(kind, name, value)).collect(),
        usage: usage.and_then(|figures| Some((figures, counted(entity)?))),
    })
}

/// The events counted when the poll began: zero when absent, none when malformed.
fn counted(object: &Map<String, Value>) -> Option<Counts> {
    object.get("counted").map_or(Some(Counts::default()), |value| serde_json::from_value(value.clone()).ok())
}
