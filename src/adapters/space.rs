//! The space service: DAOs as planets, nodes as their satellites, with the measurements of the nodes.
//!
//! Its `/space/events` are not read: they repeat events of the network that are in the log.

use std::collections::HashSet;

use serde_json::Value;

use super::client::{Call, UpstreamClient};
use super::read::{self, Fields, Item};
use super::{AdapterError, ErrorKind, PollContext};
use crate::model::{Answer, EntityType, Facts, Service};

#[derive(Debug)]
pub(super) struct Space {
    client: UpstreamClient,
}

impl Space {
    pub const fn new(client: UpstreamClient) -> Self {
        Self { client }
    }

    pub async fn poll(&self, context: &PollContext) -> Result<Answer, AdapterError> {
        const PLANETS: Call<'_> = Call::main(&["space", "planets"]);
        const NODES: Call<'_> = Call::main(&["space", "nodes"]);
        const SCENE: Call<'_> = Call::main(&["api", "space", "scene"]);
        let (planets, nodes) =
            tokio::join!(self.client.get(PLANETS, context.deadline), self.client.get(NODES, context.deadline));
        // older versions of the service have both lists in one response
        if planets.as_ref().is_err_and(|error| error.is_status(404)) {
            let scene = self.client.get(SCENE, context.deadline).await?;
            return of_scene(&scene).map_err(|kind| self.client.error(SCENE, kind));
        }
        let (planets, nodes) = (planets?, nodes?);
        let planets = read::as_list(&planets).map_err(|kind| self.client.error(PLANETS, kind))?;
        let nodes = read::as_list(&nodes).map_err(|kind| self.client.error(NODES, kind))?;
        answer(planets, nodes).map_err(|kind| self.client.error(PLANETS, kind))
    }
}

fn of_scene(scene: &Value) -> Result<Answer, ErrorKind> {
    let scene = read::as_object(scene)?;
    match (read::list(scene, "planets"), read::list(scene, "nodes")) {
        (Some(planets), Some(nodes)) => answer(planets, nodes),
        _ => Err(ErrorKind::shape("an object with lists of planets and nodes")),
    }
}

fn answer(planets: &[Value], nodes: &[Value]) -> Result<Answer, ErrorKind> {
    let mut entities = read::each(Service::Space, nodes, node)?;
    let planets = read::each(Service::Space, planets, |item| Some((planet(item)?, satellites(item))))?;
    // the entry in the list of nodes takes precedence over the one as a planet's satellite
    let mut seen: HashSet<String> = entities.iter().map(|node| node.id.clone()).collect();
    for (planet, satellites) in planets {
        entities.extend(satellites.into_iter().filter(|node| seen.insert(node.id.clone())));
        entities.push(planet);
    }
    let complete = vec![EntityType::Dao, EntityType::Node];
    Ok(Answer { service: Service::Space, entities, complete, layers: vec![] })
}

fn planet(item: &Item) -> Option<Facts> {
    Fields::default()
        .text(item, "name")
        .text(item, "health")
        .put("treasury_value", read::number(item, "treasury").or_else(|| read::number(item, "treasury_value")))
        .count(item, "active_proposals")
        .number(item, "activity")
        .number(item, "anomaly_score")
        .put("position", read::object(item, "position").and_then(position))
        .put("orbits", orbits(item))
        .facts(EntityType::Dao, [id(item, "dao_id")])
}

/// The older shape has only `id`.
fn id(item: &Item, key: &str) -> Option<String> {
    read::name(item, key).or_else(|| read::name(item, "id"))
}

fn position(item: &Item) -> Option<Item> {
    let axis = |name| read::number(item, name);
    let fields = Fields::default().put("x", Some(axis("x")?)).put("y", Some(axis("y")?)).put("z", Some(axis("z")?));
    Some(fields.into_map())
}

/// Ids of the satellites, or in the older shape the list itself.
fn orbits(item: &Item) -> Option<Vec<Value>> {
    let satellites = read::list(item, "satellites").or_else(|| read::list(item, "orbits"))?;
    let name = |satellite: &Value| match satellite {
        Value::Object(satellite) => id(satellite, "node_id").map(Value::String),
        Value::String(name) => Some(Value::String(name.clone())),
        _ => None,
    };
    Some(satellites.iter().filter_map(name).collect())
}

fn satellites(item: &Item) -> Vec<Facts> {
    let satellite = |item: &Item| {
        Fields::default()
            .put("gpu", read::number(item, "gpu_load"))
            .put("latency_ms", read::number(item, "latency"))
            .count(item, "agents")
            .facts(EntityType::Node, [id(item, "node_id")])
    };
    read::list(item, "satellites").unwrap_or_default().iter().filter_map(|item| satellite(item.as_object()?)).collect()
}

fn node(item: &Item) -> Option<Facts> {
    let part = |name| read::object(item, name);
    let network = |name| part("network").and_then(|network| read::number(network, name));
    Fields::default()
        .text(item, "name")
        .put("microdao_id", read::text(item, "microdao"))
        .text(item, "status")
        .put("cpu", load(item, "cpu"))
        .put("gpu", load(item, "gpu"))
        .put("ram", memory(item))
        .put("temperature", temperature(item))
        .put("latency_ms", network("latency"))
        .put("net_in", network("bandwidth_in"))
        .put("net_out", network("bandwidth_out"))
        .count(item, "agents")
        .facts(EntityType::Node, [id(item, "node_id")])
}

/// `{load}`, in the older shape a number.
fn load(item: &Item, key: &str) -> Option<f64> {
    read::number(item, key).or_else(|| read::number(read::object(item, key)?, "load"))
}

/// The used fraction of the memory, which the service reports in absolute numbers.
fn memory(item: &Item) -> Option<f64> {
    read::number(item, "memory").or_else(|| {
        let memory = read::object(item, "memory")?;
        let (used, total) = (read::number(memory, "used")?, read::number(memory, "total")?);
        (total > 0.0).then(|| (used / total).clamp(0.0, 1.0))
    })
}

/// The higher of the two temperatures, which is the critical one.
fn temperature(item: &Item) -> Option<f64> {
    let of = |name| read::object(item, name).and_then(|part| read::number(part, "temperature"));
    [of("gpu"), of("cpu")].into_iter().flatten().reduce(f64::max)
}
