//! Entities of the simulated network.

use chrono::{DateTime, Utc};
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::names;

#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub uuid: Uuid,
    /// `agent:sofia`, the name that events use.
    pub id: String,
    pub name: String,
    pub kind: &'static str,
    pub description: Option<&'static str>,
    pub microdao: usize,
    pub node: usize,
    pub model: usize,
    pub is_active: bool,
    pub presence: Presence,
    pub last_action: &'static str,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Online,
    Busy,
    Offline,
}

#[derive(Debug)]
pub(super) struct Microdao {
    pub uuid: Uuid,
    pub id: String,
    pub slug: String,
    pub name: String,
    pub description: &'static str,
    pub members: Vec<Uuid>,
    pub balance: Amount,
    /// Id of its main channel.
    pub channel: String,
}

#[derive(Debug)]
pub(super) struct Dao {
    pub uuid: Uuid,
    /// `dao:3`, the space service's name for it.
    pub number: usize,
    pub slug: String,
    pub name: String,
    pub description: &'static str,
    pub microdao: usize,
    pub members: Vec<Uuid>,
    pub treasury: Vec<(&'static str, Option<&'static str>, Amount)>,
    pub proposals: Vec<Proposal>,
    pub position: [f64; 3],
}

#[derive(Debug)]
pub(super) struct Proposal {
    pub uuid: Uuid,
    pub slug: String,
    pub title: &'static str,
    pub status: &'static str,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug)]
pub(super) struct Node {
    /// `node:03`.
    pub id: String,
    pub name: String,
    pub microdao: usize,
    /// The DAO that it is a satellite of.
    pub dao: Option<usize>,
    pub load: Load,
    pub memory_total_gb: f64,
    pub condition: Condition,
}

/// Metrics of a node; loads from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    pub cpu: f64,
    pub gpu: f64,
    pub ram: f64,
    pub disk: f64,
    pub net_in: f64,
    pub net_out: f64,
    pub temperature: f64,
    pub latency_ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Healthy,
    Warm,
    Critical,
    Offline,
}

#[derive(Debug)]
pub(super) struct Quest {
    pub id: &'static str,
    pub label: &'static str,
    pub progress: f64,
}

#[derive(Debug, Default)]
pub(super) struct ToolUse {
    pub name: &'static str,
    pub calls: u64,
    pub calls_ok: u64,
    pub latency_ms: u64,
}

/// An amount of tokens in units of 10⁻⁸.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount(pub i64);

impl Amount {
    pub const UNIT: i64 = 100_000_000;

    pub const fn whole(tokens: i64) -> Self {
        Self(tokens * Self::UNIT)
    }

    /// The amount as a float, for services that report amounts as numbers.
    #[expect(clippy::cast_precision_loss, reason = "the real services round in the same way")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / Self::UNIT as f64
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) =
            (self.0.unsigned_abs() / Self::UNIT.unsigned_abs(), self.0.unsigned_abs() % Self::UNIT.unsigned_abs());
        write!(f, "{sign}{whole}.{part:08}")
    }
}

pub(super) fn uuid(rng: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

fn uuids(rng: &mut StdRng, number: usize) -> Vec<Uuid> {
    (0..number).map(|_| uuid(rng)).collect()
}

impl Presence {
    /// Name in the city service.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Busy => "busy",
            Self::Offline => "offline",
        }
    }
}

impl Condition {
    /// Name in the space service.
    pub const fn as_space(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warm | Self::Critical => "degraded",
            Self::Offline => "offline",
        }
    }

    /// Name in the city service.
    pub const fn as_city(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warm => "warn",
            Self::Critical | Self::Offline => "critical",
        }
    }
}

pub(super) fn microdao(index: usize, rng: &mut StdRng) -> Microdao {
    let (slug, name, description) = names::MICRODAOS[index % names::MICRODAOS.len()];
    let (slug, name) = names::numbered(index, names::MICRODAOS.len(), slug, name);
    let number = rng.random_range(2..30);
    Microdao {
        uuid: uuid(rng),
        id: format!("microdao:{}", index + 1),
        channel: format!("{slug}-main"),
        slug,
        name,
        description,
        members: uuids(rng, number),
        balance: Amount(rng.random_range(1_000..50_000) * Amount::UNIT + rng.random_range(0..Amount::UNIT)),
    }
}

pub(super) fn dao(index: usize, microdao: usize, now: DateTime<Utc>, rng: &mut StdRng) -> Dao {
    let (slug, name, description) = names::DAOS[index % names::DAOS.len()];
    let (slug, name) = names::numbered(index, names::DAOS.len(), slug, name);
    let (proposal, title) = names::PROPOSALS[index % names::PROPOSALS.len()];
    let number = rng.random_range(2..40);
    Dao {
        uuid: uuid(rng),
        number: index + 1,
        slug,
        name,
        description,
        microdao,
        members: uuids(rng, number),
        treasury: vec![
            (
                "DAAR",
                Some("0x00000000000000000000000000000000000000d1"),
                Amount(rng.random_range(10_000..900_000) * Amount::UNIT + rng.random_range(0..Amount::UNIT)),
            ),
            ("USDT", None, Amount::whole(rng.random_range(500..9_000))),
        ],
        proposals: vec![Proposal {
            uuid: uuid(rng),
            slug: format!("{proposal}-0"),
            title,
            status: "active",
            created_at: now,
        }],
        position: [rng.random_range(-400.0..400.0), rng.random_range(-80.0..80.0), rng.random_range(-400.0..400.0)],
    }
}

pub(super) fn node(index: usize, microdaos: usize, daos: usize, rng: &mut StdRng) -> Node {
    let name = names::NODES[index % names::NODES.len()];
    let (_, name) = names::numbered(index, names::NODES.len(), "", name);
    Node {
        id: format!("node:{:02}", index + 1),
        name,
        microdao: index % microdaos,
        dao: (daos > 0).then(|| index % daos),
        load: Load {
            cpu: rng.random_range(0.1..0.6),
            gpu: rng.random_range(0.1..0.7),
            ram: rng.random_range(0.2..0.7),
            disk: f64::from(rng.random_range(100..800_u16)) / 1_000.0,
            net_in: rng.random_range(50.0..600.0),
            net_out: rng.random_range(50.0..600.0),
            temperature: rng.random_range(45.0..62.0),
            latency_ms: rng.random_range(4.0..25.0),
        },
        memory_total_gb: 32.0 * f64::from(rng.random_range(1..5_u8)),
        condition: Condition::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_decimals() {
        assert_eq!(Amount(1_292_050_000_000).to_string(), "12920.50000000");
        assert_eq!(Amount(-1).to_string(), "-0.00000001");
    }
}
