//! The snapshot and its four layers, as on the wire.
//!
//! Every nullable field is present, as `null`. Loads (`cpu`, `gpu`, `ram`, `memory`, `disk`) are 0 to 1. Lists are
//! ordered by id. The field names before each "ours" mark are those of the service that this one replaces.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::alert::Alert;
use super::cursor::Cursor;
use super::entity::Status;
use super::json;
use super::source::SourceHealth;

/// The whole map at one cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// The log's time of the last event in it.
    pub generated_at: DateTime<Utc>,
    /// The map.
    pub layers: Layers,
    /// Origin and position of the snapshot.
    pub meta: Meta,
}

/// The four layers. A request for some of them gets the others as `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Layers {
    /// MicroDAOs and channels.
    pub city: Option<CityLayer>,
    /// DAOs as planets, nodes in their orbits.
    pub space: Option<SpaceLayer>,
    /// Machines with their metrics.
    pub nodes: Option<NodesLayer>,
    /// Agents with their usage.
    pub agents: Option<AgentsLayer>,
}

/// Origin and position of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Meta {
    /// The upstreams that have contributed data: `agents`, `microdao`, `dao`, `usage`, `city`, `space`; with
    /// `COMPATIBLE=prototype` `agents-service`, …, `usage-engine`, `city-service`, `space-service`.
    pub source_services: Vec<String>,
    /// Same as in the snapshot.
    pub generated_at: DateTime<Utc>,
    /// Version of the snapshot's shape: `1.0`.
    pub version: String,
    /// Position of the snapshot; a stream resumed from it continues without a gap.
    #[schema(value_type = String)]
    pub cursor: Cursor,
    /// Health of each upstream.
    pub sources: Vec<SourceHealth>,
}

/// City layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CityLayer {
    /// Number of microDAOs.
    pub microdaos_total: u64,
    /// Members of all microDAOs whose members are counted.
    pub active_users: u64,
    /// Agents that are active or online.
    pub active_agents: u64,
    /// Overall health of the network.
    pub health: Health,
    /// MicroDAOs.
    pub items: Vec<CityItem>,
    /// Ours: the city service's figures.
    pub metrics: CityMetrics,
    /// Ours: quests as the city service lists them (`id`, `label`, `progress`).
    #[serde(deserialize_with = "json::values")]
    pub quests: Vec<Value>,
    /// Ours: messaging channels.
    pub channels: Vec<ChannelItem>,
    /// Ours: active alerts, at most 64, ordered by id.
    pub alerts: Vec<Alert>,
    /// Only with `COMPATIBLE=prototype`: the city's owner.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CityUser>)]
    pub user: Option<Option<CityUser>>,
    /// Only with `COMPATIBLE=prototype`: the owner's microDAO, as the city service counts it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CityMicrodao>)]
    pub microdao: Option<Option<CityMicrodao>>,
    /// Only with `COMPATIBLE=prototype`: nodes as the city service lists them (`id`, `label`, `gpuLoad`, `latencyMs`, `agents`, `status`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub nodes: Option<Vec<Value>>,
    /// Only with `COMPATIBLE=prototype`: agents as the city service lists them (`id`, `name`, `role`, `status`, `lastAction`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agents: Option<Vec<Value>>,
    /// Only with `COMPATIBLE=prototype`: events as the city service lists them (`id`, `type`, `label`, `timestamp`, `severity`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub events: Option<Vec<Value>>,
}

/// The owner of the city, under the names of the city service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CityUser {
    /// The user's id.
    pub id: Option<String>,
    /// Handle in the messenger.
    pub handle: Option<String>,
    /// Archetype.
    pub archetype: Option<String>,
    /// The microDAO that the user belongs to, as the service names it.
    pub microdao_id: Option<String>,
}

/// The microDAO of the city's owner, under the names of the city service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CityMicrodao {
    /// As the service names it.
    pub id: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Members.
    pub members: Option<u64>,
    /// Members that are people.
    pub humans: Option<u64>,
    /// Members that are agents.
    pub agents: Option<u64>,
    /// Balance in DCR.
    pub balance_dcr: Option<f64>,
    /// 0 to 1.
    #[serde(rename = "activity24h")]
    pub activity_24h: Option<f64>,
}

/// Overall health. Red: a node is offline or in error, or more than a tenth of the agents are in error. Yellow: a
/// warning or an error anywhere else. Green otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
// in the OpenAPI document schemas need distinct names
#[schema(as = NetworkHealth)]
pub enum Health {
    /// No problem.
    Green,
    /// A warning or an error.
    Yellow,
    /// A node is down, or many agents are in error.
    Red,
}

/// Figures of the city service; null before its first report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CityMetrics {
    /// 0 to 1.
    pub activity_index: Option<f64>,
    /// Milliseconds.
    pub avg_agent_latency_ms: Option<f64>,
    /// Messages a second.
    pub nats_tps: Option<f64>,
    /// 0 to 1.
    pub node_avg_load: Option<f64>,
    /// 0 to 1.
    pub error_rate: Option<f64>,
    /// 0 to 1.
    pub quest_engagement: Option<f64>,
    /// Only with `COMPATIBLE=prototype`: same as `activity_index`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(rename = "activityIndex")]
    #[schema(value_type = Option<f64>)]
    pub old_activity_index: Option<Option<f64>>,
    /// Only with `COMPATIBLE=prototype`: same as `avg_agent_latency_ms`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(rename = "avgAgentLatencyMs")]
    #[schema(value_type = Option<f64>)]
    pub old_avg_agent_latency_ms: Option<Option<f64>>,
    /// Only with `COMPATIBLE=prototype`: same as `nats_tps`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(rename = "natsTps")]
    #[schema(value_type = Option<f64>)]
    pub old_nats_tps: Option<Option<f64>>,
    /// Only with `COMPATIBLE=prototype`: same as `node_avg_load`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(rename = "nodeAvgLoad")]
    #[schema(value_type = Option<f64>)]
    pub old_node_avg_load: Option<Option<f64>>,
    /// Only with `COMPATIBLE=prototype`: same as `error_rate`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(rename = "errorRate")]
    #[schema(value_type = Option<f64>)]
    pub old_error_rate: Option<Option<f64>>,
    /// Only with `COMPATIBLE=prototype`: same as `quest_engagement`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[serde(rename = "questEngagement")]
    #[schema(value_type = Option<f64>)]
    pub old_quest_engagement: Option<Option<f64>>,
}

impl CityMetrics {
    /// The same figures also under their names in the city service.
    #[must_use]
    pub fn with_old_names(&self) -> Self {
        Self {
            old_activity_index: Some(self.activity_index),
            old_avg_agent_latency_ms: Some(self.avg_agent_latency_ms),
            old_nats_tps: Some(self.nats_tps),
            old_node_avg_load: Some(self.node_avg_load),
            old_error_rate: Some(self.error_rate),
            old_quest_engagement: Some(self.quest_engagement),
            ..self.clone()
        }
    }
}

/// Reads a field that may be absent, and null when it is present.
#[expect(clippy::option_option, reason = "absent, null and a value are three cases")]
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A microDAO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CityItem {
    /// Canonical id, `microdao:…`.
    pub id: String,
    /// Its slug.
    pub slug: Option<String>,
    /// Display name.
    pub name: String,
    /// Status.
    pub status: Status,
    /// Number of agents.
    pub agents: u64,
    /// Number of nodes.
    pub nodes: u64,
    /// Number of members; null until a service has counted them.
    pub members: Option<u64>,
    /// Description of its purpose.
    pub description: Option<String>,
    /// Ours: balances as exact decimal strings, by token.
    pub treasury: Vec<Balance>,
    /// Only with `COMPATIBLE=prototype`: its uuid; null without one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uuid: Option<Option<String>>,
}

/// One token's balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// Token symbol.
    pub token_symbol: String,
    /// Exact decimal.
    pub balance: String,
}

/// A messaging channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelItem {
    /// Canonical id, `channel:…`.
    pub id: String,
    /// Display name; the id without prefix when there is none.
    pub name: String,
    /// Status.
    pub status: Status,
    /// The microDAO it belongs to, canonical.
    pub microdao_id: Option<String>,
    /// Messages in the last 24 hours of the log.
    pub messages_24h: u64,
    /// Time of the last message.
    pub last_active: Option<DateTime<Utc>>,
}

/// Space layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpaceLayer {
    /// DAOs.
    pub planets: Vec<Planet>,
    /// Nodes as satellites.
    pub nodes: Vec<SpaceNode>,
}

/// A DAO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Planet {
    /// Canonical id, `dao:<slug>`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// `dao`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Status.
    pub status: Status,
    /// Canonical ids of the nodes in its orbit, ordered.
    pub orbits: Vec<String>,
    /// Sum of the treasury's balances, whatever their token.
    pub treasury_value: f64,
    /// Proposals open for votes; null until a service has counted them.
    pub active_proposals: Option<u64>,
    /// Ours: its slug.
    pub slug: Option<String>,
    /// Ours: the microDAO it governs, canonical.
    pub microdao_id: Option<String>,
    /// Ours: number of members; null until a service has counted them.
    pub members: Option<u64>,
    /// Ours: balances as exact decimal strings, by token.
    pub treasury: Vec<Balance>,
    /// Ours: 0 to 1, from the space service.
    pub activity: Option<f64>,
    /// Ours: 0 to 1, from the space service.
    pub anomaly_score: Option<f64>,
    /// Ours: position in the scene of the space service.
    pub position: Option<Position>,
    /// Only with `COMPATIBLE=prototype`: its uuid; null without one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uuid: Option<Option<String>>,
}

/// Coordinates in the scene of the space service.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Position {
    /// Scene units.
    pub x: f64,
    /// Scene units.
    pub y: f64,
    /// Scene units.
    pub z: f64,
}

/// A node as the space layer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SpaceNode {
    /// Canonical id, `node:…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Status.
    pub status: Status,
    /// 0 to 1.
    pub cpu: Option<f64>,
    /// 0 to 1.
    pub gpu: Option<f64>,
    /// 0 to 1.
    pub memory: Option<f64>,
    /// Problems, as text.
    pub alerts: Vec<String>,
}

/// Nodes layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodesLayer {
    /// The machines.
    pub items: Vec<NodeItem>,
    /// Sum of the nodes' CPU loads.
    pub total_cpu: f64,
    /// Sum of the nodes' GPU loads.
    pub total_gpu: f64,
    /// Sum of the nodes' memory loads.
    pub total_ram: f64,
}

/// A node with its metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeItem {
    /// Canonical id, `node:…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// The microDAO that runs it, canonical.
    pub microdao_id: Option<String>,
    /// Status.
    pub status: Status,
    /// Metrics.
    pub metrics: NodeMetrics,
    /// Problems, as text.
    pub alerts: Vec<String>,
    /// Seconds since it started.
    pub uptime_seconds: Option<u64>,
    /// Time of its last metrics.
    pub last_seen: Option<DateTime<Utc>>,
    /// Ours: number of agents it runs.
    pub agents: Option<u64>,
    /// Ours: milliseconds.
    pub latency_ms: Option<f64>,
}

/// A node's metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeMetrics {
    /// 0 to 1.
    pub cpu: Option<f64>,
    /// 0 to 1.
    pub gpu: Option<f64>,
    /// 0 to 1.
    pub ram: Option<f64>,
    /// 0 to 1.
    pub disk: Option<f64>,
    /// As the node reports it.
    pub net_in: Option<f64>,
    /// As the node reports it.
    pub net_out: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
}

/// Agents layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentsLayer {
    /// The agents.
    pub items: Vec<AgentItem>,
    /// Number of agents.
    pub total_agents: u64,
    /// Agents whose status is `online` or `active`.
    pub online_agents: u64,
    /// Calls of language models in the last 24 hours: those of the agents in `items`, and those without such an agent.
    pub total_llm_calls_24h: u64,
    /// Ours: calls of language models in the last 24 hours that are not in an agent's `usage`: by people and services, by
    /// agents that are not on the map, and by agents whose figure is null.
    pub llm_calls_24h_without_agent: u64,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentItem {
    /// Canonical id, `agent:…`.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Kind of agent.
    pub kind: Option<String>,
    /// The microDAO it works for, canonical.
    pub microdao_id: Option<String>,
    /// Status.
    pub status: Status,
    /// Usage in the last 24 hours.
    pub usage: AgentUsage,
    /// The model it runs on.
    pub model: Option<String>,
    /// Time of its last activity.
    pub last_active: Option<DateTime<Utc>>,
    /// Ours: description of its purpose.
    pub description: Option<String>,
    /// Ours: the current run.
    pub current_run: Option<CurrentRun>,
    /// Ours: open lessons about it.
    pub open_lessons: Option<OpenLessons>,
    /// Only with `COMPATIBLE=prototype`: its uuid; null without one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uuid: Option<Option<String>>,
}

/// The open lessons about an agent: candidates and active ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OpenLessons {
    /// Number of open lessons, at most 256.
    pub count: u64,
    /// Keys of the newest, at most ten, newest first.
    pub keys: Vec<String>,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurrentRun {
    /// The run's id, as its publisher gives it.
    pub id: Option<String>,
    /// Start time.
    pub started_at: DateTime<Utc>,
    /// Progress from 0 to 1; null when the publisher does not report it.
    pub progress: Option<f64>,
}

/// Usage of an agent in the last 24 hours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentUsage {
    /// Calls of language models; null until the usage service was asked for this agent.
    pub llm_calls_24h: Option<u64>,
    /// Tokens, prompt and completion; null until the usage service was asked for this agent.
    pub tokens_24h: Option<u64>,
    /// Messages sent.
    pub messages_24h: u64,
    /// Milliseconds; null before the first call.
    pub avg_response_time_ms: Option<f64>,
}
