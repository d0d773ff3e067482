//! The layers' totals, updated by adding and subtracting single items.

use serde_json::{Map, Value, json};

use crate::model::layers::Health;
use crate::model::{EntityType, Status};

use super::item::Item;

/// Loads are summed in millionths, so that sums are exact and independent of the order of events.
const MILLIONTHS: f64 = 1_000_000.0;

/// Health is red when more than one in this many agents is in error, see [`Health`].
const RED_AGENTS: u64 = 10;

const TYPES: usize = EntityType::ALL.len();
const STATUSES: usize = Status::ALL.len();

/// Sums over all items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::map) struct Totals {
    by_status: [[u64; STATUSES]; TYPES],
    members: u64,
    llm_calls: u64,
    cpu: i64,
    gpu: i64,
    ram: i64,
}

/// The totals as shown to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::map) struct ShownTotals {
    microdaos: u64,
    members: u64,
    active_agents: u64,
    agents: u64,
    health: Health,
    cpu: i64,
    gpu: i64,
    ram: i64,
    llm_calls: u64,
    llm_calls_without_agent: u64,
}

impl Totals {
    pub(in crate::map) fn add(&mut self, item: &Item) {
        let count = &mut self.by_status[item.kind() as usize][item.status() as usize];
        *count = count.saturating_add(1);
        match item {
            // wrapping, so that subtracting undoes adding for any figures of upstreams
            Item::Microdao(item) => self.members = self.members.wrapping_add(item.members.unwrap_or(0)),
            Item::Node(item) => {
                self.cpu += millionths(item.metrics.cpu);
                self.gpu += millionths(item.metrics.gpu);
                self.ram += millionths(item.metrics.ram);
            }
            Item::Agent(item) => self.llm_calls = self.llm_calls.wrapping_add(item.usage.llm_calls_24h.unwrap_or(0)),
            _ => {}
        }
    }

    pub(in crate::map) fn subtract(&mut self, item: &Item) {
        let count = &mut self.by_status[item.kind() as usize][item.status() as usize];
        *count = count.saturating_sub(1);
        match item {
            Item::Microdao(item) => self.members = self.members.wrapping_sub(item.members.unwrap_or(0)),
            Item::Node(item) => {
                self.cpu -= millionths(item.metrics.cpu);
                self.gpu -= millionths(item.metrics.gpu);
                self.ram -= millionths(item.metrics.ram);
            }
            Item::Agent(item) => self.llm_calls = self.llm_calls.wrapping_sub(item.usage.llm_calls_24h.unwrap_or(0)),
            _ => {}
        }
    }

    fn count(&self, kind: EntityType) -> u64 {
        self.by_status[kind as usize].iter().sum()
    }

    fn in_status(&self, kind: EntityType, status: Status) -> u64 {
        self.by_status[kind as usize][status as usize]
    }

    fn anywhere(&self, status: Status) -> u64 {
        self.by_status.iter().map(|counts| counts[status as usize]).sum()
    }

    fn health(&self) -> Health {
        let nodes = |status| self.in_status(EntityType::Node, status);
        let agents_in_error = self.in_status(EntityType::Agent, Status::Error);
        if nodes(Status::Offline) + nodes(Status::Error) > 0
            || agents_in_error * RED_AGENTS > self.count(EntityType::Agent)
        {
            Health::Red
        } else if self.anywhere(Status::Warning) + self.anywhere(Status::Error) > 0 {
            Health::Yellow
        } else {
            Health::Green
        }
    }

    /// The totals, where the network's calls are `network_calls`. The agents' figures are from different moments, so their
    /// sum may be greater; then it is the total.
    pub(in crate::map) fn shown(&self, network_calls: u64) -> ShownTotals {
        let llm_calls = network_calls.max(self.llm_calls);
        let agents = |status| self.in_status(EntityType::Agent, status);
        ShownTotals {
            microdaos: self.count(EntityType::Microdao),
            members: self.members,
            active_agents: agents(Status::Active) + agents(Status::Online),
            agents: self.count(EntityType::Agent),
            health: self.health(),
            cpu: self.cpu,
            gpu: self.gpu,
            ram: self.ram,
            llm_calls,
            llm_calls_without_agent: llm_calls - self.llm_calls,
        }
    }
}

impl ShownTotals {
    /// The city layer's own fields, without the figures of the city service.
    pub(in crate::map) fn city(&self) -> Map<String, Value> {
        object(json!({
            "microdaos_total": self.microdaos,
            "active_users": self.members,
            "active_agents": self.active_agents,
            "health": self.health,
        }))
    }

    /// The nodes layer's own fields.
    pub(in crate::map) fn nodes(&self) -> Map<String, Value> {
        object(json!({
            "total_cpu": whole(self.cpu),
            "total_gpu": whole(self.gpu),
            "total_ram": whole(self.ram),
        }))
    }

    /// The agents layer's own fields.
    pub(in crate::map) fn agents(&self) -> Map<String, Value> {
        object(json!({
            "total_agents": self.agents,
            "online_agents": self.active_agents,
            "total_llm_calls_24h": self.llm_calls,
            "llm_calls_24h_without_agent": self.llm_calls_without_agent,
        }))
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

#[expect(clippy::cast_possible_truncation, reason = "loads are 0 to 1")]
fn millionths(load: Option<f64>) -> i64 {
    (load.unwrap_or(0.0) * MILLIONTHS).round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "exact up to nine thousand million nodes")]
fn whole(sum: i64) -> f64 {
    sum as f64 / MILLIONTHS
}
