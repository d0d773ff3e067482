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
  open_lessons: OpenLessons | null;
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

/** An alert that is active. */
export interface Alert {
  /** Since when. */
  acknowledged_at: string | null;
  /** Who looks after it. */
  acknowledged_by: string | null;
  /** The entity it is about, by the name the producer used. */
  entity_id: string | null;
  /** Which of the rule's groups it is about. */
  group: string | null;
  /** Its name: raised again under the same one it is the same alert. */
  id: string;
  /** More of it. */
  message: string | null;
  /** What they say of it. */
  note: string | null;
  /** When it was raised first; it stays while the alert is active. */
  raised_at: string;
  /** The rule that raised it. */
  rule: string | null;
  /** How urgent it is. */
  severity: AlertSeverity;
  /** Until when it is not to disturb anybody; null when it is not silenced. */
  silenced_until: string | null;
  /** Who raised it. */
  source: string | null;
  /** What it is, in a line. */
  title: string;
}

/** The active alerts. */
export interface AlertList {
  /** The position at which they are so. */
  cursor: string;
  /** At most 64, the most urgent first, then by id. */
  items: Alert[];
}

/** How urgent an alert is. */
export type AlertSeverity = "info" | "warning" | "critical";

/** The file of alert rules. */
export interface AlertsCheck {
  /** What is wrong with the file. */
  error: string | null;
  /** Since when. */
  loaded_at: string;
  /** Rules in force. */
  rules: number;
  /** `ok`, or `down`: the file as it is now cannot be used, and the rules before stay in force. */
  status: string;
}

/** One token's balance. */
export interface Balance {
  /** Exact decimal. */
  balance: string;
  /** Token symbol. */
  token_symbol: string;
}

/** An entity that is different. */
export type ChangedEntity = EntitySummary & {
  /** What is different, ordered by field. */
  fields: FieldChange[];
};

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

/** The dependencies, one by one. */
export interface Checks {
  alerts: AlertsCheck | null;
  /** The durable record. */
  history: Dependency;
  /** The files of the error journal. */
  journal: JournalCheck;
  keys: KeysCheck | null;
  learner: LearnerCheck | null;
  /** Whether this server does what one does for all servers of a database. */
  lease: LeaseCheck;
  /** The ordered log. */
  log: Dependency;
  /** The map. */
  map: MapCheck;
  /** The upstreams. */
  sources: SourceHealth[];
  /** The WebSocket side. */
  stream: StreamCheck;
  /** Where alerts are sent; null where the file names nothing, or the database does not answer. */
  webhooks: WebhookCheck[] | null;
  writer: WriterCheck | null;
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
  /** Ours: active alerts, at most 64, ordered by id. */
  alerts: Alert[];
  /** Ours: messaging channels. */
  channels: ChannelItem[];
  /** How the network is doing. */
  health: NetworkHealth;
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

/** What it takes to come from one map to another. Lists are ordered by id. */
export interface Comparison {
  /** Entities that only the second map has. */
  added: EntitySummary[];
  /** Entities that both have, and that differ. */
  changed: ChangedEntity[];
  /** Entities that only the first map has, as they were there. */
  removed: EntitySummary[];
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

/** One of them, with its message */
export interface DeadLetterQuery {
  /** As in the list */
  id: string;
}

/** Messages that could not be processed, newest first */
export interface DeadLettersQuery {
  /** The message's subject; `*` stands for one token, `>` for the rest. */
  subject?: string;
  /** What became of it. */
  status?: LetterStatus;
  /** First failed at this time or later. ISO 8601 with `Z` or an offset; without one it is taken as UTC. */
  since?: string;
  /** First failed before this time. */
  until?: string;
  /** Letters on a page. */
  limit?: number;
  /** `next_cursor` of the page before. */
  cursor?: string;
}

/** A dependency. */
export interface Dependency {
  /** Why it is down. */
  error: string | null;
  /** Which implementation it is: `jetstream` or `table`, `postgres` or `sqlite`. */
  kind: string;
  /** `ok` or `down`. */
  status: string;
}

/** What changed between two moments. */
export type Diff = Comparison & {
  /** The position of the first moment. */
  from: string;
  /** The position of the second. */
  to: string;
};

/** What changed between two moments */
export interface DiffQuery {
  /** The first moment: a cursor, or a time of the log (ISO 8601). */
  from: string;
  /** The second moment; now when not given. */
  to?: string;
}

/** Entities of all layers */
export interface EntitiesQuery {
  /** Of this type. */
  type?: EntityType;
  /** Shown in this layer. */
  layer?: Layer;
  /** In this status. */
  status?: Status;
  /** Belonging to this microDAO, by any of its names. */
  microdao_id?: string;
  /** Whose id, label or alias contains this text, in any case. */
  q?: string;
  /** Entities on a page. */
  limit?: number;
  /** `next_cursor` of the page before. */
  cursor?: string;
}

/** One entity, whole. */
export interface EntityDetail {
  /** Its other names, ordered. */
  aliases: string[];
  /** The item as its layer's list shows it. */
  data: Record<string, unknown>;
  /** Canonical id. */
  id: string;
  /** The layer it is at home in. */
  layer: Layer;
  /** What it is. */
  type: EntityType;
}

/** A page of entities. */
export interface EntityList {
  /** Whether there are more. */
  has_more: boolean;
  /** The entities, ordered by id. */
  items: EntitySummary[];
  /** For `cursor`, to get the next page; null on the last one. */
  next_cursor: string | null;
}

/** One entity, whole */
export interface EntityQuery {
  /** Canonical id, or any alias: a uuid, a slug */
  id: string;
}

/** An entity in a list. */
export interface EntitySummary {
  /** Canonical id. */
  id: string;
  /** Its name. */
  label: string;
  /** The layer it shows in. */
  layer: Layer;
  /** How it is doing. */
  status: Status;
  /** What it is. */
  type: EntityType;
}

/** What an entity is. */
export type EntityType = "city" | "space" | "node" | "agent" | "dao" | "microdao" | "channel";

/** A failed operation, or a rescue. */
export interface Entry {
  /** Why it failed. */
  error: string;
  /** Names the entry in all files that hold it. Files of the service we replace have none; there it follows from the
   * line. */
  id: string;
  /** What it was about: a path, a subject. */
  key: string;
  /** `read`, `write`, `delete`, `list`…; `rescue` says that from then on last good data stands in. */
  op: string;
  /** Whether older data stood in for what was not to be had. */
  rescued: boolean;
  /** What was to do it: a service, `log`, `database`. */
  target: string;
  /** When it happened. */
  ts: string;
}

/** Failed operations. */
export interface ErrorList {
  /** The entries, oldest first. */
  items: Entry[];
}

/** Is anything broken? */
export interface ErrorsHealthQuery {
  /** Minutes to look back. */
  minutes?: number;
}

/** What failed, oldest first */
export interface ErrorsQuery {
  /** What was to do it: a service, `log`, `database`. */
  target?: string;
  /** `read`, `write`, `delete`, `list`…; `rescue`. */
  operation?: string;
  /** From this time on. ISO 8601 with `Z` or an offset; without one it is taken as UTC. */
  since?: string;
  /** The newest so many. */
  limit?: number;
}

/** Events over time. */
export interface EventCounts {
  /** Length of a bucket in seconds. */
  bucket_seconds: number;
  /** When each bucket begins. The first may begin before `since` and the last end after `until`: only what is between
   * them is counted. */
  buckets: string[];
  /** What `key` is. */
  group_by: string;
  other: OtherSeries | null;
  /** The largest groups, the largest first. */
  series: EventSeries[];
  /** From this producer's time on. */
  since: string;
  /** Events in all. */
  total: number;
  /** Before this one. */
  until: string;
}

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

/** Events of one group. */
export interface EventSeries {
  /** Events in each of `buckets`. */
  counts: number[];
  /** The group; null is that of the events without one. */
  key: string | null;
  /** Events in all. */
  total: number;
}

/** A field that is different. */
export interface FieldChange {
  /** In the second. */
  after: unknown;
  /** In the first map; `null` also where it has none. */
  before: unknown;
  /** Its name; in an object within the item, names joined by dots. */
  field: string;
}

/** A lesson that is handed out. */
export interface HandedOut {
  /** The lesson. */
  lesson: Lesson;
  /** How much it matters, 0 to 1. */
  score: number;
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

/** Events counted over time, for charts */
export interface HistoryAggregateQuery {
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
  /** Length of a bucket: a whole number and `s`, `m`, `h` or `d`, from `1s` to `31d`. Buckets begin at whole multiples
   * since 1970, in UTC; `since` and `until` make at most 1,000 of them. */
  bucket?: string;
  /** What events are grouped by: `event_type`, `entity_id` or `source_service`. */
  group_by?: string;
  /** Groups that are told one by one, the largest; the others are told together. */
  limit?: number;
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

/** The files of the error journal. */
export interface JournalCheck {
  /** Entries since the start that will not be in a file, since too many waited. */
  dropped: number;
  /** Why the store cannot be used. */
  error: string | null;
  /** When a file was written last. */
  last_flush: string | null;
  /** Entries that wait to be written. */
  pending: number;
  /** `ok` or `down`. */
  status: string;
}

/** Is anything broken? */
export interface JournalHealth {
  /** Failed operations by target. */
  per_target: Record<string, number>;
  /** The minutes looked back on. */
  period_minutes: number;
  /** Those of them for which older data stood in. */
  rescued_errors: number;
  /** Failed operations, those included for which older data stood in. */
  total_errors: number;
  /** Targets of three or more failed operations. */
  unhealthy_targets: string[];
}

/** The keys that tokens are checked with. */
export interface KeysCheck {
  /** Why they could not be read anew. */
  error: string | null;
  /** How many can be used. Those that are there are used for as long as no others can be had. */
  keys: number;
  /** When they were read last. */
  last_success: string | null;
  /** `ok` or `down`. */
  status: string;
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

/** The learner. */
export interface LearnerCheck {
  /** Agents that are remembered. */
  agents: number;
  /** Why it cannot learn. */
  error: string | null;
  /** Experiences in the stream that were not learned from yet; null when it is not known. */
  lag: number | null;
  /** When experiences were learned from last, or there were none. */
  last_success: string | null;
  /** `ok`, `down`, or `waiting`: its windows are being made again, or it is another server's turn. */
  status: string;
}

/** Who polls the upstreams, saves the map and deletes what is too old. */
export interface LeaseCheck {
  /** Why the database did not say, when it was asked last. */
  error: string | null;
  /** `leading`: this server; `following`: another one; `unknown`: the database does not say. */
  role: string;
  /** Since when. */
  since: string;
  /** Grows with each change of hands; null when this server does not lead, or can have no other beside it. */
  token: number | null;
}

/** A version of a lesson, with what became of it. */
export interface Lesson {
  /** The agent; null for what holds for all of them. */
  agent_id: string | null;
  /** The key of the lesson about the cause that this agent has in common with others; null without one. */
  cause: string | null;
  /** How many lessons have this one as their cause. */
  effects: number;
  /** Ids of experiences that show it. */
  evidence: string[];
  /** The first time. */
  first_seen: string;
  /** How often it is said to have helped. */
  helped: number;
  /** The last time. */
  last_seen: string;
  /** Names this version. */
  lesson_key: string;
  /** How often it is said not to have helped. */
  not_helped: number;
  /** How often it was seen when it was learned. */
  occurrences: number;
  /** Why it was revised, confirmed, rejected or retired. */
  reason: string | null;
  /** How often the same was learned again. */
  replay_count: number;
  /** Whether it never helped so often that it should be retired. */
  retirement_proposed: boolean;
  /** Names the lesson: the key of its first version. */
  root_key: string;
  /** The rule that found it. */
  rule: string;
  /** How much it matters. */
  severity: Severity;
  /** What the rule tells apart: an error class, a model. */
  signature: string;
  /** Where in its life it is. */
  status: LessonStatus;
  /** When it did. */
  superseded_at: string | null;
  /** The version that took its place. */
  superseded_by: string | null;
  /** What happened, how often, since when, and what to do. */
  text: string;
  /** What happened, in one line. */
  title: string;
  /** When it was learned, or revised. */
  ts: string;
  /** From 1; a revision is the next one. */
  version: number;
}

/** The life of a lesson. */
export interface LessonHistory {
  /** Its versions, from the first to the newest. */
  items: Lesson[];
  /** What was done with it, oldest first; the last 200. */
  operations: Operation[];
}

/** The life of a lesson */
export interface LessonHistoryQuery {
  /** The key of any of its versions */
  key: string;
}

/** Lessons. */
export interface LessonList {
  /** Whether there are more. */
  has_more: boolean;
  /** The lessons. */
  items: Lesson[];
  /** For `cursor`, to get the next page; null on the last one. */
  next_cursor: string | null;
}

/** A lesson, its newest version */
export interface LessonQuery {
  /** The key of any of its versions */
  key: string;
}

/** Where in its life a lesson is. */
export type LessonStatus = "candidate" | "active" | "rejected" | "superseded" | "retired";

/** What was learned */
export interface LessonsQuery {
  /** Of this agent, by any of its names. */
  agent?: string;
  /** Found by this rule. */
  rule?: string;
  /** `none`: without those whose cause is told by a lesson of its own (or was rejected); else the key of that lesson: its
   * effects. */
  cause?: string;
  /** With one of these statuses, separated by commas; without: `candidate` and `active`. */
  status?: string;
  /** With all of these words, or words that begin with them; the best first. Without: the newest first. */
  q?: string;
  /** Lessons on a page. */
  limit?: number;
  /** `next_cursor` of the page before. */
  cursor?: string;
}

/** A letter with its message. */
export type LetterDetail = LetterItem & {
  /** The message's id as an event. */
  event_id: string;
  /** What happened: any JSON value; null where the body was no JSON. */
  payload: unknown;
  /** Who sent it. */
  source_service?: string | null;
  /** The producer's time. */
  timestamp: string;
};

/** A message that could not be processed. */
export interface LetterItem {
  /** How often it was tried. */
  attempts: number;
  /** Why the last attempt failed. */
  error: string;
  /** When it failed first. */
  first_failed_at: string;
  /** Its id. */
  id: string;
  /** When it failed last. */
  last_failed_at: string;
  /** When it is tried again by itself; null when it is not. */
  next_attempt_at: string | null;
  /** The message's position in the log; null where it has none. */
  origin_cursor: string | null;
  /** Its position there; 0 where it never got one. */
  origin_sequence: number;
  /** The stream that holds it; `table` for the table log. */
  origin_stream: string;
  /** The part of the server in which it failed: `history` (the record), `log` (the table log), `learner`… */
  processor: string;
  /** What became of it. */
  status: LetterStatus;
  /** The message's subject. */
  subject: string;
}

/** A page of letters. */
export interface LetterList {
  /** Whether there are more behind this page. */
  has_more: boolean;
  /** The letters, newest first by their first failure. */
  items: LetterItem[];
  /** For `cursor`, to get the next page; null on the last one. */
  next_cursor: string | null;
}

/** What becomes of a letter.
 * 
 * | from | a retry succeeds | the last retry fails | replayed | discarded |
 * |---|---|---|---|---|
 * | `retrying` | it is deleted | `dead` | `replayed`; when it fails, as after any retry | `discarded` |
 * | `dead` | `replayed` | `dead` | `replayed`; `dead` when it fails | `discarded` |
 * | `replayed` | | | stays | refused |
 * | `discarded` | | | refused | stays | */
export type LetterStatus = "retrying" | "dead" | "replayed" | "discarded";

/** The map. */
export interface MapCheck {
  /** The position folded last. */
  cursor: string;
  /** Number of entities. */
  entities: number;
  /** Why it is stale. */
  error: string | null;
  /** `catching_up` (folding what was there at the start), `current`, or `stale` (the log is away). */
  following: string;
  /** Events in the log that are not folded yet; null when the log does not say. */
  lag: number | null;
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

/** Overall health. Red: a node is offline or in error, or more than a tenth of the agents are in error. Yellow: a
 * warning or an error anywhere else. Green otherwise. */
export type NetworkHealth = "green" | "yellow" | "red";

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

/** An agent's lessons that wait for their review or are handed out. */
export interface OpenLessons {
  /** How many, as far as the map counts them: 256. */
  count: number;
  /** The keys of the newest, at most ten, newest first. */
  keys: string[];
}

/** One line of the log of operations. */
export interface Operation {
  /** Who did it: `learner`, `operator`, `heuristic`, `agent`. */
  actor: string;
  /** When. */
  at: string;
  /** The version it was done with. */
  lesson_key: string;
  /** `upsert`, `replay`, `revise`, `retire`, `confirm`, `reject`, `helped`, `not_helped`. */
  operation: string;
  /** Why. */
  reason: string | null;
  /** Its number. */
  version: number;
}

/** Events of the groups that are not told one by one. */
export interface OtherSeries {
  /** Events in each of `buckets`. */
  counts: number[];
  /** How many groups. */
  groups: number;
  /** Events in all. */
  total: number;
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

/** The lessons for a run. */
export interface Preamble {
  /** The agent, by its canonical id. */
  agent_id: string;
  /** The lessons, the most important first. */
  items: HandedOut[];
  /** The same as Markdown; empty without lessons. */
  markdown: string;
  /** About how many tokens the Markdown takes. */
  tokens: number;
}

/** The lessons that matter for an agent's next run */
export interface PreambleQuery {
  /** The agent, by any of its names */
  id: string;
  /** What the agent is about to do, in its own words. */
  task?: string;
  /** About how many tokens the text may take (four characters each). */
  max_tokens?: number;
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

/** How well the server can do its work. */
export type Readiness = "ready" | "degraded" | "not_ready";

/** How well the server can do its work, and what of it rests on what. */
export interface Ready {
  checks: Checks | null;
  /** The sum of the checks. */
  status: Readiness;
}

/** How two entities are connected. */
export interface Relation {
  /** The other entity, canonical. */
  id: string;
  /** Its name. */
  label: string;
  /** `belongs_to`, `has`, `governs`, `governed_by`, `orbits`, `orbited_by`. */
  relation: string;
  /** What it is. */
  type: EntityType;
}

/** What an entity is connected with. */
export interface RelationList {
  /** The entity's canonical id. */
  id: string;
  /** Its relations, ordered. */
  relations: Relation[];
}

/** What an entity is connected with */
export interface RelationsQuery {
  /** Canonical id, or any alias: a uuid, a slug */
  id: string;
}

/** What is to be read, by path. */
export interface Routes {
  /** The lessons that matter for an agent's next run */
  "/living-map/agents/{id}/preamble": {
    parameters: PreambleQuery;
    answer: Preamble;
  };
  /** The active alerts, the most urgent first */
  "/living-map/alerts": {
    parameters: Record<string, never>;
    answer: AlertList;
  };
  /** The silences, those that are over not among them */
  "/living-map/alerts/silences": {
    parameters: Record<string, never>;
    answer: SilenceList;
  };
  /** Messages that could not be processed, newest first */
  "/living-map/dead-letters": {
    parameters: DeadLettersQuery;
    answer: LetterList;
  };
  /** One of them, with its message */
  "/living-map/dead-letters/{id}": {
    parameters: DeadLetterQuery;
    answer: LetterDetail;
  };
  /** What changed between two moments */
  "/living-map/diff": {
    parameters: DiffQuery;
    answer: Diff;
  };
  /** Entities of all layers */
  "/living-map/entities": {
    parameters: EntitiesQuery;
    answer: EntityList;
  };
  /** One entity, whole */
  "/living-map/entities/{id}": {
    parameters: EntityQuery;
    answer: EntityDetail;
  };
  /** What an entity is connected with */
  "/living-map/entities/{id}/relations": {
    parameters: RelationsQuery;
    answer: RelationList;
  };
  /** What failed, oldest first */
  "/living-map/errors": {
    parameters: ErrorsQuery;
    answer: ErrorList;
  };
  /** Is anything broken? */
  "/living-map/errors/health": {
    parameters: ErrorsHealthQuery;
    answer: JournalHealth;
  };
  /** Liveness */
  "/living-map/health": {
    parameters: Record<string, never>;
    answer: Health;
  };
  /** Every event, newest first */
  "/living-map/history": {
    parameters: HistoryQuery;
    answer: EventList;
  };
  /** Events counted over time, for charts */
  "/living-map/history/aggregate": {
    parameters: HistoryAggregateQuery;
    answer: EventCounts;
  };
  /** What was learned */
  "/living-map/lessons": {
    parameters: LessonsQuery;
    answer: LessonList;
  };
  /** A lesson, its newest version */
  "/living-map/lessons/{key}": {
    parameters: LessonQuery;
    answer: Lesson;
  };
  /** The life of a lesson */
  "/living-map/lessons/{key}/history": {
    parameters: LessonHistoryQuery;
    answer: LessonHistory;
  };
  /** Readiness */
  "/living-map/ready": {
    parameters: Record<string, never>;
    answer: Ready;
  };
  /** The whole map */
  "/living-map/snapshot": {
    parameters: SnapshotQuery;
    answer: Snapshot;
  };
  /** Saved snapshots, newest first */
  "/living-map/snapshots": {
    parameters: SavedSnapshotsQuery;
    answer: SavedList;
  };
  /** One saved snapshot, whole */
  "/living-map/snapshots/{id}": {
    parameters: SavedSnapshotQuery;
    answer: Snapshot;
  };
}

/** A saved snapshot. */
export interface SavedItem {
  /** The position it is exact at; null for those of the service this one replaces. */
  cursor: string | null;
  /** The log's time of the last event in it. */
  generated_at: string;
  /** Its id. */
  id: string;
  /** When it was saved. */
  saved_at: string;
  /** Bytes of its JSON. */
  size_bytes: number | null;
  /** Version of its shape. */
  version: string | null;
}

/** A page of saved snapshots. */
export interface SavedList {
  /** Whether there are more behind this page. */
  has_more: boolean;
  /** The snapshots, newest first. */
  items: SavedItem[];
  /** For `cursor`, to get the next page; null on the last one. */
  next_cursor: string | null;
  /** How far back time travel reaches: the earliest position that `at` and `diff` show; null while that cannot be said. */
  oldest_cursor: string | null;
  /** The log's time there. */
  oldest_time: string | null;
}

/** One saved snapshot, whole */
export interface SavedSnapshotQuery {
  /** As in the list */
  id: string;
}

/** Saved snapshots, newest first */
export interface SavedSnapshotsQuery {
  /** Snapshots on a page. */
  limit?: number;
  /** `next_cursor` of the page before. */
  cursor?: string;
}

/** An upstream service. */
export type Service = "agents" | "microdao" | "dao" | "usage" | "city" | "space";

/** How much it matters. */
export type Severity = "low" | "medium" | "high";

/** Alerts that are not to disturb anybody for a time. They are shown all the same. Which ones: those that are as `rule`, `alert`
 * and `entity_id` say, as far as these say anything. */
export interface Silence {
  /** The alert of this id. */
  alert: string | null;
  /** Who made it. */
  by: string | null;
  /** Since when. */
  created_at: string;
  /** Alerts about this entity, by the name that the alert has. */
  entity_id: string | null;
  /** Its name. */
  id: string;
  /** Why. */
  note: string | null;
  /** Alerts of this rule. */
  rule: string | null;
  /** When it ends. */
  until: string;
}

/** The silences. */
export interface SilenceList {
  /** At most 256, the oldest first. */
  items: Silence[];
}

/** The whole map at one cursor. */
export interface Snapshot {
  /** The log's time of the last event in it. */
  generated_at: string;
  /** The map. */
  layers: Layers;
  /** Where it comes from. */
  meta: Meta;
}

/** The whole map */
export interface SnapshotQuery {
  /** Only these layers, comma-separated; the others are `null`. All when not given. */
  layers?: Layer[];
  /** Poll the upstreams first, and wait for a bounded time until the map shows what they said and every event that was
   * accepted before. A poll that is under way, or ended less than a second ago, counts. */
  fresh?: boolean;
  /** The map of this moment instead: a cursor, or a time of the log (ISO 8601; the last event that the log took at or
   * before it). `meta.sources` is empty then: how the upstreams were doing is not in the log. */
  at?: string;
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

/** The WebSocket side. */
export interface StreamCheck {
  /** Clients connected now. */
  clients: number;
}

/** A webhook. */
export interface WebhookCheck {
  /** Why the last one was not taken. */
  error: string | null;
  /** Its name in the file. */
  name: string;
  /** Since when the one waits that waits longest. */
  oldest: string | null;
  /** `ok`, or `down`: a message that waits was not taken when it was sent last. */
  status: string;
  /** Messages that wait. */
  waiting: number;
}

/** The history writer. */
export interface WriterCheck {
  /** Why it cannot write. */
  error: string | null;
  /** Events in the log that are not in the record yet; null when it is not known. */
  lag: number | null;
  /** When a batch was committed last. */
  last_success: string | null;
  /** `ok` or `down`. */
  status: string;
}
