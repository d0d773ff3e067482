// Generated from openapi/openapi.json by `npm run generate`. Not to be edited.

/** An agent. */
export interface AgentItem {
  current_run: CurrentRun | null;
  /** Ours: what it is for. */
  description: string | null;
  /** Canonical id, `agent:…`. */
  id: string;
  /** What kind of agent. */
  kind: string | null;
  /** Its last sign of life. */
  last_active: string | null;
  /** The microDAO it works for, canonical. */
  microdao_id: string | null;
  /** The model it runs on. */
  model: string | null;
  /** Display name. */
  name: string;
  /** How it is doing. */
  status: Status;
  /** Its last 24 hours. */
  usage: AgentUsage;
}

/** An agent's last 24 hours. */
export interface AgentUsage {
  /** Milliseconds; null before the first call. */
  avg_response_time_ms: number | null;
  /** Calls of language models. */
  llm_calls_24h: number;
  /** Messages sent. */
  messages_24h: number;
  /** Tokens, prompt and completion. */
  tokens_24h: number;
}

/** Agents layer. */
export interface AgentsLayer {
  /** The agents. */
  items: AgentItem[];
  /** Agents whose status is `online` or `active`. */
  online_agents: number;
  /** Number of agents. */
  total_agents: number;
  /** Calls of language models in the last 24 hours, by all agents. */
  total_llm_calls_24h: number;
}

/** One token's balance. */
export interface Balance {
  /** Exact decimal. */
  balance: string;
  /** Token symbol. */
  token_symbol: string;
}

/** A messaging channel. */
export interface ChannelItem {
  /** Canonical id, `channel:…`. */
  id: string;
  /** The last message. */
  last_active: string | null;
  /** Messages in the last 24 hours of the log. */
  messages_24h: number;
  /** The microDAO it belongs to, canonical. */
  microdao_id: string | null;
  /** Display name; the id's own part when nobody gave one. */
  name: string;
  /** How it is doing. */
  status: Status;
}

/** A microDAO. */
export interface CityItem {
  /** Number of agents. */
  agents: number;
  /** What it is for. */
  description: string | null;
  /** Canonical id, `microdao:…`. */
  id: string;
  /** Number of members. */
  members: number;
  /** Display name. */
  name: string;
  /** Number of nodes. */
  nodes: number;
  /** Its slug. */
  slug: string | null;
  /** How it is doing. */
  status: Status;
  /** Ours: balances as exact decimal strings, by token. */
  treasury: Balance[];
}

/** City layer. */
export interface CityLayer {
  /** Agents that are active or online. */
  active_agents: number;
  /** Members of all microDAOs. */
  active_users: number;
  /** Ours: messaging channels. */
  channels: ChannelItem[];
  /** How the network is doing: see [`Health`]. */
  health: Health;
  /** MicroDAOs. */
  items: CityItem[];
  /** Ours: the city service's figures. */
  metrics: CityMetrics;
  /** Number of microDAOs. */
  microdaos_total: number;
  /** Ours: quests as the city service lists them (`id`, `label`, `progress`). */
  quests: unknown[];
}

/** The city service's figures; null where it has said nothing. */
export interface CityMetrics {
  /** 0 to 1. */
  activity_index: number | null;
  /** Milliseconds. */
  avg_agent_latency_ms: number | null;
  /** 0 to 1. */
  error_rate: number | null;
  /** Messages a second. */
  nats_tps: number | null;
  /** 0 to 1. */
  node_avg_load: number | null;
  /** 0 to 1. */
  quest_engagement: number | null;
}

/** A run under way. */
export interface CurrentRun {
  /** The run's id, as its publisher gives it. */
  id: string | null;
  /** How far it is, 0 to 1; null when its publisher does not say. */
  progress: number | null;
  /** When it began. */
  started_at: string;
}

/** What an entity is. */
export type EntityType = "city" | "space" | "node" | "agent" | "dao" | "microdao" | "channel";

/** A page of events. */
export interface EventList {
  /** Whether there are more behind this page. */
  has_more: boolean;
  /** The events, newest first by their producers' time. */
  items: HistoryItem[];
  /** For `cursor`, to get the next page; null on the last one. */
  next_cursor: string | null;
  /** Events that match, on all pages. */
  total: number;
  /** Whether `total` is exact; if not, it is an estimate or as far as was counted. */
  total_exact: boolean;
}

/** The process is alive. */
export interface Health {
  /** `living-map-service`. */
  service: string;
  /** `ok`. */
  status: string;
  /** The server's clock. */
  time: string;
  /** Version of the server. */
  version: string;
}

/** An event. */
export interface HistoryItem {
  /** Its position in the log; null for events recorded by the service this one replaces. */
  cursor: string | null;
  /** The entity it is about, by the name the producer used. */
  entity_id: string | null;
  /** What that entity is. */
  entity_type: string | null;
  /** The NATS subject. */
  event_type: string;
  /** Its id. */
  id: string;
  /** What happened: any JSON value. */
  payload: unknown;
  /** Who sent it. */
  source_service: string | null;
  /** The producer's time. */
  timestamp: string;
}

/** Every event, newest first */
export interface HistoryQuery {
  /** From this time on (the producer's). ISO 8601 with `Z` or an offset; without one it is taken as UTC. */
  since?: string;
  /** Before this time. */
  until?: string;
  /** Subject; `*` stands for one token, `>` for the rest. */
  event_type?: string;
  /** About this entity, by any of its names. */
  entity_id?: string;
  /** About entities of this type. */
  entity_type?: EntityType;
  /** Sent by this service. */
  source_service?: string;
  /** Events on a page. */
  limit?: number;
  /** Events to skip; to read on and on, use `cursor`. */
  offset?: number;
  /** `next_cursor` of the page before, or an event's `cursor` to continue behind it. */
  cursor?: string;
}

/** One of the four layers of the map. */
export type Layer = "city" | "space" | "nodes" | "agents";

/** The four layers. A request for some of them gets the others as `null`. */
export interface Layers {
  agents: AgentsLayer | null;
  city: CityLayer | null;
  nodes: NodesLayer | null;
  space: SpaceLayer | null;
}

/** Where a snapshot comes from. */
export interface Meta {
  /** The position this snapshot is exact at; a stream resumed from it continues without a gap. */
  cursor: string;
  /** The same as the snapshot's own. */
  generated_at: string;
  /** The upstreams that have contributed data. */
  source_services: Service[];
  /** How each upstream is doing. */
  sources: SourceHealth[];
  /** Version of the snapshot's shape: `1.0`. */
  version: string;
}

/** A node with its metrics. */
export interface NodeItem {
  /** Ours: number of agents it runs. */
  agents: number | null;
  /** What is wrong with it, in words. */
  alerts: string[];
  /** Canonical id, `node:…`. */
  id: string;
  /** When it last sent metrics. */
  last_seen: string | null;
  /** Ours: milliseconds. */
  latency_ms: number | null;
  /** What it measures. */
  metrics: NodeMetrics;
  /** The microDAO that runs it, canonical. */
  microdao_id: string | null;
  /** Display name. */
  name: string;
  /** How it is doing. */
  status: Status;
  /** Seconds since it started. */
  uptime_seconds: number | null;
}

/** A node's metrics. */
export interface NodeMetrics {
  /** 0 to 1. */
  cpu: number | null;
  /** 0 to 1. */
  disk: number | null;
  /** 0 to 1. */
  gpu: number | null;
  /** As the node reports it. */
  net_in: number | null;
  /** As the node reports it. */
  net_out: number | null;
  /** 0 to 1. */
  ram: number | null;
  /** Degrees Celsius. */
  temperature: number | null;
}

/** Nodes layer. */
export interface NodesLayer {
  /** The machines. */
  items: NodeItem[];
  /** Sum of the nodes' CPU loads. */
  total_cpu: number;
  /** Sum of the nodes' GPU loads. */
  total_gpu: number;
  /** Sum of the nodes' memory loads. */
  total_ram: number;
}

/** A DAO. */
export interface Planet {
  /** Proposals open for votes. */
  active_proposals: number;
  /** Ours: 0 to 1, from the space service. */
  activity: number | null;
  /** Ours: 0 to 1, from the space service. */
  anomaly_score: number | null;
  /** Canonical id, `dao:<slug>`. */
  id: string;
  /** Ours: number of members. */
  members: number | null;
  /** Ours: the microDAO it governs, canonical. */
  microdao_id: string | null;
  /** Display name. */
  name: string;
  /** Canonical ids of the nodes in its orbit, ordered. */
  orbits: string[];
  position: Position | null;
  /** Ours: its slug. */
  slug: string | null;
  /** How it is doing. */
  status: Status;
  /** Ours: balances as exact decimal strings, by token. */
  treasury: Balance[];
  /** Sum of the treasury's balances, whatever their token. */
  treasury_value: number;
  /** `dao`. */
  type: string;
}

/** A place in the space service's scene. */
export interface Position {
  /** Scene units. */
  x: number;
  /** Scene units. */
  y: number;
  /** Scene units. */
  z: number;
}

/** An RFC 9457 problem document. */
export interface Problem {
  /** What was wrong with this request and what was expected. */
  detail: string;
  /** The field of the body that was wrong. */
  field?: string | null;
  /** The path of the request. */
  instance?: string | null;
  /** The query or path parameter, or the header, that was wrong. */
  parameter?: string | null;
  /** The HTTP status. */
  status: number;
  /** The status in words. */
  title: string;
  /** `about:blank`: the status says what kind of problem it is. */
  type: string;
}

/** An upstream service. */
export type Service = "agents" | "microdao" | "dao" | "usage" | "city" | "space";

/** The whole map at one cursor. */
export interface Snapshot {
  /** The log's time of the last event in it. */
  generated_at: string;
  /** The map. */
  layers: Layers;
  /** Where it comes from. */
  meta: Meta;
}

/** How one upstream is doing, as `meta.sources` says it. */
export interface SourceHealth {
  /** Seconds since the last successful poll; null before the first. */
  age_seconds: number | null;
  /** What the last failed poll said; null once a later one succeeds. */
  last_error: string | null;
  /** When the last poll succeeded. */
  last_success_at: string | null;
  /** The upstream's name. */
  service: Service;
  /** Whether its data is current. */
  status: SourceStatus;
}

/** Whether a source's data can be trusted to be current. */
export type SourceStatus = "ok" | "stale" | "down" | "unknown";

/** Space layer. */
export interface SpaceLayer {
  /** Nodes as satellites. */
  nodes: SpaceNode[];
  /** DAOs. */
  planets: Planet[];
}

/** A node as the space layer shows it. */
export interface SpaceNode {
  /** What is wrong with it, in words. */
  alerts: string[];
  /** 0 to 1. */
  cpu: number | null;
  /** 0 to 1. */
  gpu: number | null;
  /** Canonical id, `node:…`. */
  id: string;
  /** 0 to 1. */
  memory: number | null;
  /** Display name. */
  name: string;
  /** How it is doing. */
  status: Status;
}

/** How an entity is doing. */
export type Status = "active" | "inactive" | "online" | "offline" | "warning" | "error" | "idle";
