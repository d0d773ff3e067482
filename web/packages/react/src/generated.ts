// Generated from openapi/openapi.json by `npm run generate`. Not to be edited.

/** Progress of giving rows of the replaced service the entity that they are about. */
export interface AdoptedRowsCheck {
  /** Number of rows that were given an entity. */
  completed: number;
  /** Error of the last attempt, which is repeated. */
  error: string | null;
  /** Number of rows examined. */
  examined: number;
  /** `waiting`: this replica has not begun, it does not lead; `running`; `complete`: all rows were examined. */
  status: string;
}

/** An agent. */
export interface AgentItem {
  current_run: CurrentRun | null;
  /** Ours: description of its purpose. */
  description: string | null;
  /** Canonical id, `agent:…`. */
  id: string;
  /** Kind of agent. */
  kind: string | null;
  /** Time of its last activity. */
  last_active: string | null;
  /** The microDAO it works for, canonical. */
  microdao_id: string | null;
  /** The model it runs on. */
  model: string | null;
  /** Display name. */
  name: string;
  open_lessons: OpenLessons | null;
  /** Status. */
  status: Status;
  /** Usage in the last 24 hours. */
  usage: AgentUsage;
  /** Only with `COMPATIBLE=prototype`: its uuid; null without one. */
  uuid?: string | null;
}

/** Usage of an agent in the last 24 hours. */
export interface AgentUsage {
  /** Milliseconds; null before the first call. */
  avg_response_time_ms: number | null;
  /** Calls of language models; null until the usage service was asked for this agent. */
  llm_calls_24h: number | null;
  /** Messages sent. */
  messages_24h: number;
  /** Tokens, prompt and completion; null until the usage service was asked for this agent. */
  tokens_24h: number | null;
}

/** Agents layer. */
export interface AgentsLayer {
  /** The agents. */
  items: AgentItem[];
  /** Ours: calls of language models in the last 24 hours that are not in an agent's `usage`: by people and services, by
   * agents that are not on the map, and by agents whose figure is null. */
  llm_calls_24h_without_agent: number;
  /** Agents whose status is `online` or `active`. */
  online_agents: number;
  /** Number of agents. */
  total_agents: number;
  /** Calls of language models in the last 24 hours: those of the agents in `items`, and those without such an agent. */
  total_llm_calls_24h: number;
}

/** An active alert. */
export interface Alert {
  /** Time of the acknowledgement. */
  acknowledged_at: string | null;
  /** User who acknowledged it. */
  acknowledged_by: string | null;
  /** The affected entity, by the name that the producer used. */
  entity_id: string | null;
  /** The rule's group that it concerns. */
  group: string | null;
  /** Id; an alert raised again with the same id is the same alert. */
  id: string;
  /** The comparison that raised it; absent if it does not say. The title has the value rounded. */
  measurement?: Measurement;
  /** Details. */
  message: string | null;
  /** Note of the acknowledgement. */
  note: string | null;
  /** Time of the first raise while the alert is active. */
  raised_at: string;
  /** The rule that raised it. */
  rule: string | null;
  /** Severity. */
  severity: AlertSeverity;
  /** End of the silence that matches it; null when none does. */
  silenced_until: string | null;
  /** The service that raised it. */
  source: string | null;
  /** Summary in one line. */
  title: string;
}

/** A page of active alerts. */
export interface AlertList {
  /** Log position of the map that the list was read from. */
  cursor: string;
  /** True if there are further pages. */
  has_more: boolean;
  /** Alerts, at most 64 on all pages, ordered by severity, most severe first, then by id. */
  items: Alert[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
}

/** Severity of an alert. */
export type AlertSeverity = "info" | "warning" | "critical";

/** State of the alert rules file. */
export interface AlertsCheck {
  /** Error in the file. */
  error: string | null;
  /** Time at which they were loaded. */
  loaded_at: string;
  /** Number of rules in force. */
  rules: number;
  /** `ok`, or `down`: the file is invalid, and the previous rules stay in force. */
  status: string;
}

/** List active alerts */
export interface AlertsQuery {
  /** Maximum number of alerts on a page. */
  limit?: number;
  /** Number of alerts to skip. */
  offset?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
}

/** One token's balance. */
export interface Balance {
  /** Exact decimal. */
  balance: string;
  /** Token symbol. */
  token_symbol: string;
}

/** State of the bridge of this replica. */
export interface BridgeCheck {
  /** Bytes of messages that wait to be appended to the log. */
  buffered_bytes: number;
  /** Number of messages since the start that were received and not recorded. */
  dropped: number;
  /** Error that keeps messages from being received or appended. */
  error: string | null;
  /** Time of the last append. */
  last_success: string | null;
  /** `ok`, `waiting` (another replica subscribes), or `down`. */
  status: string;
  /** Recorded subjects. */
  subjects: BridgedSubjects[];
  /** Subscriptions of this replica. */
  subscriptions: BridgeSubscription[];
}

/** A subscription of the bridge. */
export interface BridgeSubscription {
  /** Stream that publishes its messages again under these subjects; null for a subscription to the subjects themselves. */
  stream: string | null;
  /** Pattern. */
  subject: string;
}

/** Subjects that the bridge records. */
export interface BridgedSubjects {
  /** `at_most_once`: what is published while no replica subscribes is not recorded. */
  delivery: string;
  /** Pattern. */
  subject: string;
}

/** An entity that differs. */
export type ChangedEntity = EntitySummary & {
  /** The fields that differ, ordered by name. */
  fields: FieldChange[];
};

/** A messaging channel. */
export interface ChannelItem {
  /** Canonical id, `channel:…`. */
  id: string;
  /** Time of the last message. */
  last_active: string | null;
  /** Messages in the last 24 hours of the log. */
  messages_24h: number;
  /** The microDAO it belongs to, canonical. */
  microdao_id: string | null;
  /** Display name; the id without prefix when there is none. */
  name: string;
  /** Status. */
  status: Status;
}

/** Checks of all dependencies. */
export interface Checks {
  adopted_rows: AdoptedRowsCheck | null;
  alerts: AlertsCheck | null;
  bridge: BridgeCheck | null;
  /** History database. */
  history: Dependency;
  /** Files of the error journal. */
  journal: JournalCheck;
  keys: KeysCheck | null;
  learner: LearnerCheck | null;
  /** Leadership: whether this replica runs the tasks that only one replica runs. */
  lease: LeaseCheck;
  /** Event log. */
  log: LogCheck;
  /** Map. */
  map: MapCheck;
  /** Upstreams. */
  sources: SourceHealth[];
  /** WebSocket and SSE clients. */
  stream: StreamCheck;
  /** Webhooks to which alerts are sent; null if the rules file has none, or the database does not respond. */
  webhooks: WebhookCheck[] | null;
  writer: WriterCheck | null;
}

/** A microDAO. */
export interface CityItem {
  /** Number of agents. */
  agents: number;
  /** Description of its purpose. */
  description: string | null;
  /** Canonical id, `microdao:…`. */
  id: string;
  /** Number of members; null until a service has counted them. */
  members: number | null;
  /** Display name. */
  name: string;
  /** Number of nodes. */
  nodes: number;
  /** Its slug. */
  slug: string | null;
  /** Status. */
  status: Status;
  /** Ours: balances as exact decimal strings, by token. */
  treasury: Balance[];
  /** Only with `COMPATIBLE=prototype`: its uuid; null without one. */
  uuid?: string | null;
}

/** City layer. */
export interface CityLayer {
  /** Agents that are active or online. */
  active_agents: number;
  /** Members of all microDAOs whose members are counted. */
  active_users: number;
  /** Only with `COMPATIBLE=prototype`: agents as the city service lists them (`id`, `name`, `role`, `status`, `lastAction`). */
  agents?: unknown[];
  /** Ours: active alerts, at most 64, ordered by id. */
  alerts: Alert[];
  /** Ours: messaging channels. */
  channels: ChannelItem[];
  /** Only with `COMPATIBLE=prototype`: events as the city service lists them (`id`, `type`, `label`, `timestamp`, `severity`). */
  events?: unknown[];
  /** Overall health of the network. */
  health: NetworkHealth;
  /** MicroDAOs. */
  items: CityItem[];
  /** Ours: the city service's figures. */
  metrics: CityMetrics;
  microdao?: CityMicrodao | null;
  /** Number of microDAOs. */
  microdaos_total: number;
  /** Only with `COMPATIBLE=prototype`: nodes as the city service lists them (`id`, `label`, `gpuLoad`, `latencyMs`, `agents`, `status`). */
  nodes?: unknown[];
  /** Ours: quests as the city service lists them (`id`, `label`, `progress`). */
  quests: unknown[];
  user?: CityUser | null;
}

/** Figures of the city service; null before its first report. */
export interface CityMetrics {
  /** Only with `COMPATIBLE=prototype`: same as `activity_index`. */
  activityIndex?: number | null;
  /** 0 to 1. */
  activity_index: number | null;
  /** Only with `COMPATIBLE=prototype`: same as `avg_agent_latency_ms`. */
  avgAgentLatencyMs?: number | null;
  /** Milliseconds. */
  avg_agent_latency_ms: number | null;
  /** Only with `COMPATIBLE=prototype`: same as `error_rate`. */
  errorRate?: number | null;
  /** 0 to 1. */
  error_rate: number | null;
  /** Only with `COMPATIBLE=prototype`: same as `nats_tps`. */
  natsTps?: number | null;
  /** Messages a second. */
  nats_tps: number | null;
  /** Only with `COMPATIBLE=prototype`: same as `node_avg_load`. */
  nodeAvgLoad?: number | null;
  /** 0 to 1. */
  node_avg_load: number | null;
  /** Only with `COMPATIBLE=prototype`: same as `quest_engagement`. */
  questEngagement?: number | null;
  /** 0 to 1. */
  quest_engagement: number | null;
}

/** The microDAO of the city's owner, under the names of the city service. */
export interface CityMicrodao {
  /** 0 to 1. */
  activity24h: number | null;
  /** Members that are agents. */
  agents: number | null;
  /** Balance in DCR. */
  balanceDcr: number | null;
  /** Members that are people. */
  humans: number | null;
  /** As the service names it. */
  id: string | null;
  /** Members. */
  members: number | null;
  /** Display name. */
  name: string | null;
}

/** The owner of the city, under the names of the city service. */
export interface CityUser {
  /** Archetype. */
  archetype: string | null;
  /** Handle in the messenger. */
  handle: string | null;
  /** The user's id. */
  id: string | null;
  /** The microDAO that the user belongs to, as the service names it. */
  microdaoId: string | null;
}

/** Differences between two maps. Lists are ordered by id. */
export interface Comparison {
  /** Entities that only the second map has. */
  added: EntitySummary[];
  /** Entities that differ. */
  changed: ChangedEntity[];
  /** Entities that only the first map has, as in the first map. */
  removed: EntitySummary[];
}

/** The service whose fields and names clients expect. */
export type Compatibility = "none" | "prototype";

/** A run in progress. */
export interface CurrentRun {
  /** The run's id, as its publisher gives it. */
  id: string | null;
  /** Progress from 0 to 1; null when the publisher does not report it. */
  progress: number | null;
  /** Start time. */
  started_at: string;
}

/** Get a dead letter with its message */
export interface DeadLetterQuery {
  /** Id of the dead letter */
  id: string;
}

/** List dead letters */
export interface DeadLettersQuery {
  /** Subject of the message. `*` matches one token, `>` or `**` all remaining tokens. */
  subject?: string;
  /** First failed at or after this time. ISO 8601; UTC if it has no offset. */
  since?: string;
  /** First failed before this time. */
  until?: string;
  /** Maximum number of dead letters in the response. */
  limit?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
  /** Status of the dead letter. */
  status?: LetterStatus;
  /** Number of dead letters to skip. Use `cursor` to read many pages. */
  offset?: number;
}

/** State of a dependency. */
export interface Dependency {
  /** Error, if it is down. */
  error: string | null;
  /** Implementation: `postgres` or `sqlite`. */
  kind: string;
  /** `ok` or `down`. */
  status: string;
}

/** Differences between two moments. */
export type Diff = Comparison & {
  /** Position of the first moment. */
  from: string;
  /** Position of the second moment. */
  to: string;
};

/** Compare two moments */
export interface DiffQuery {
  /** First moment: a cursor, or an ISO 8601 time. */
  from: string;
  /** Second moment; the present if absent. */
  to?: string;
}

/** List entities */
export interface EntitiesQuery {
  /** Type of the entity. */
  type?: EntityType;
  /** Layer that shows the entity. */
  layer?: Layer;
  /** Status of the entity. */
  status?: Status;
  /** Id or alias of the microDAO to which the entity belongs. */
  microdao_id?: string;
  /** Text that the id, label, or an alias contains; case-insensitive. */
  q?: string;
  /** Maximum number of entities on a page. */
  limit?: number;
  /** Number of entities to skip. Use `cursor` to read many pages. */
  offset?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
}

/** Get an entity by an id in the query */
export interface EntityByQueryQuery {
  /** Id, as in the path of the other form. */
  id: string;
}

/** One entity in full. */
export interface EntityDetail {
  /** Its other names, sorted. */
  aliases: string[];
  /** The item in the list of its home layer. */
  data: Record<string, unknown>;
  /** Canonical id. */
  id: string;
  /** Home layer. */
  layer: Layer;
  /** Type of the entity. */
  type: EntityType;
}

/** A page of entities. */
export interface EntityList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Entities, ordered by id. */
  items: EntitySummary[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
}

/** Get an entity */
export interface EntityQuery {
  /** Canonical id or any alias, such as a UUID or slug */
  id: string;
}

/** An entity in a list. */
export interface EntitySummary {
  /** Canonical id. */
  id: string;
  /** Display name. */
  label: string;
  /** Layer that lists it. */
  layer: Layer;
  /** Status. */
  status: Status;
  /** Type of the entity. */
  type: EntityType;
}

/** Type of an entity. */
export type EntityType = "city" | "space" | "node" | "agent" | "dao" | "microdao" | "channel";

/** A failed operation, or the start of a fallback. */
export interface Entry {
  /** The error. */
  error: string;
  /** Identifies the entry in all files that contain it. For files of the replaced service, which have no ids, it is
   * derived from the line. */
  id: string;
  /** The object of the operation: a path, a subject. */
  key: string;
  /** `read`, `write`, `delete`, `list`…; `rescue`: fallback data is served from then on. */
  op: string;
  /** True if fallback data was served instead. */
  rescued: boolean;
  /** The component that failed: a service, `log`, `database`. */
  target: string;
  /** When the operation failed. */
  ts: string;
}

/** A page of failed operations. */
export interface ErrorList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Entries, oldest first. The next page has the entries before them. */
  items: Entry[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
}

/** Summarize failed operations */
export interface ErrorsHealthQuery {
  /** Length of the period before now, in minutes. */
  minutes?: number;
}

/** List failed operations */
export interface ErrorsQuery {
  /** Dependency that failed: an upstream, `log`, `database`, … */
  target?: string;
  /** Operation that failed: `read`, `write`, `delete`, `list`, …, or `rescue` if older data was served instead. */
  operation?: string;
  /** At or after this time. ISO 8601; UTC if it has no offset. */
  since?: string;
  /** Maximum number of entries on a page; the first page has the newest ones. */
  limit?: number;
  /** Number of entries to skip, from the newest one. Use `cursor` to read many pages. */
  offset?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
  /** Synonym of `target`; not both */
  bucket?: string;
}

/** Counts of events over time. */
export interface EventCounts {
  /** Length of a bucket in seconds. */
  bucket_seconds: number;
  /** Start of each bucket. The first bucket may start before `since` and the last end after `until`; only events
   * within the period are counted. */
  buckets: string[];
  /** Field whose values the `key`s are. */
  group_by: string;
  other: OtherSeries | null;
  /** Largest groups, in descending order of `total`. */
  series: EventSeries[];
  /** Start of the period, inclusive; producers' time. */
  since: string;
  /** Total number of events. */
  total: number;
  /** End of the period, exclusive. */
  until: string;
}

/** A page of events. */
export interface EventList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Events, newest first by the producers' time. */
  items: HistoryItem[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
  /** Number of matching events on all pages. */
  total: number;
  /** True if `total` is exact; otherwise it is an estimate, the point at which counting stopped, or a few seconds old. */
  total_exact: boolean;
}

/** Counts of one group. */
export interface EventSeries {
  /** Number of events in each of `buckets`. */
  counts: number[];
  /** Value of the grouping field; null for events without one. */
  key: string | null;
  /** Total number of events. */
  total: number;
}

/** A field that differs. */
export interface FieldChange {
  /** Value in the second map; also `null` when it is absent. */
  after: unknown;
  /** Value in the first map; also `null` when it is absent. */
  before: unknown;
  /** Name; the path of a field within an object, joined by dots. */
  field: string;
}

/** A page of recorded frames. */
export interface FrameList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Frames, oldest first. */
  items: RecordedFrame[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
}

/** List recorded frames */
export interface FramesQuery {
  /** Position after which the frames begin: `meta.cursor` of a snapshot, the `cursor` of a frame, or `next_cursor` of the
   * previous page. */
  cursor: string;
  /** Last moment: a cursor, or an ISO 8601 time, which selects the last event that the log took at or before it. The present
   * if absent. */
  until?: string;
  /** Id or alias of an entity: only frames of events that are about it, or that changed it. */
  entity_id?: string;
  /** Maximum number of frames on a page. */
  limit?: number;
}

/** A lesson of a preamble. */
export interface HandedOut {
  /** Lesson. */
  lesson: Lesson;
  /** Importance from 0 to 1. */
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

/** Count events over time */
export interface HistoryAggregateQuery {
  /** At or after this time, by the producer's clock. ISO 8601; UTC if it has no offset. */
  since?: string;
  /** Before this time. */
  until?: string;
  /** Subject of the event. `*` matches one token, `>` or `**` all remaining tokens. */
  event_type?: string;
  /** Id or alias of the entity that the event is about. */
  entity_id?: string;
  /** Type of the entity that the event is about. */
  entity_type?: EntityType;
  /** Service that sent the event. */
  source_service?: string;
  /** Length of a bucket: a whole number followed by `s`, `m`, `h`, or `d`, from `1s` to `31d`. Buckets start at whole
   * multiples of it since 1970-01-01T00:00:00Z. The period may have at most 1,000 buckets. */
  bucket?: string;
  /** Field by which events are grouped: `event_type`, `entity_id`, or `source_service`. */
  group_by?: string;
  /** Number of groups that get a series of their own, largest first. The rest is summed in `other`. */
  limit?: number;
}

/** An event of the history. */
export interface HistoryItem {
  /** Position in the event log; null for events recorded by the service that this one replaces. */
  cursor: string | null;
  /** Id or alias of the entity that the event is about, as the producer wrote it. */
  entity_id: string | null;
  /** Type of that entity. */
  entity_type: string | null;
  /** NATS subject. */
  event_type: string;
  /** Id of the event. */
  id: string;
  /** What was repaired, or could not be read, in what the producer sent; absent where nothing was. */
  notes?: Notes;
  /** Payload, any JSON value. */
  payload: unknown;
  /** Service that sent the event. */
  source_service: string | null;
  /** Producer's time. */
  timestamp: string;
}

/** List events */
export interface HistoryQuery {
  /** At or after this time, by the producer's clock. ISO 8601; UTC if it has no offset. */
  since?: string;
  /** Before this time. */
  until?: string;
  /** Subject of the event. `*` matches one token, `>` or `**` all remaining tokens. */
  event_type?: string;
  /** Id or alias of the entity that the event is about. */
  entity_id?: string;
  /** Type of the entity that the event is about. */
  entity_type?: EntityType;
  /** Service that sent the event. */
  source_service?: string;
  /** Maximum number of events on a page. */
  limit?: number;
  /** Number of events to skip. Use `cursor` to read many pages. */
  offset?: number;
  /** `next_cursor` of the previous page, or the `cursor` of an event to continue after it. */
  cursor?: string;
}

/** State of the error journal's files. */
export interface JournalCheck {
  /** Number of entries since the start that were dropped because too many were pending. */
  dropped: number;
  /** Error of the object store. */
  error: string | null;
  /** Time of the last write. */
  last_flush: string | null;
  /** Number of entries not written yet. */
  pending: number;
  /** `ok` or `down`. */
  status: string;
}

/** Failed operations in a period, by target. */
export interface JournalHealth {
  /** Failed operations by target. */
  per_target: Record<string, number>;
  /** The period in minutes, up to now. */
  period_minutes: number;
  /** Failed operations served from fallback data. */
  rescued_errors: number;
  /** Failed operations, including those served from fallback data. */
  total_errors: number;
  /** Targets with three or more failed operations. */
  unhealthy_targets: string[];
}

/** State of the keys that verify tokens. */
export interface KeysCheck {
  /** Error of the last fetch. */
  error: string | null;
  /** Number of usable keys. They stay in use until new ones can be fetched. */
  keys: number;
  /** Time of the last successful fetch. */
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

/** State of the learner. */
export interface LearnerCheck {
  /** Number of agents in memory. */
  agents: number;
  /** Error, if it cannot learn. */
  error: string | null;
  /** Number of experiences in the stream that are not processed yet; null if unknown. */
  lag: number | null;
  /** Time at which it was last up to date. */
  last_success: string | null;
  /** `ok`, `down`, or `waiting`: it is rebuilding its windows, or another replica is learning. */
  status: string;
}

/** State of leadership. The leader polls the upstreams, saves the map, and deletes expired data. */
export interface LeaseCheck {
  /** Error of the last renewal. */
  error: string | null;
  /** `leading`: this replica is the leader; `following`: another one is; `unknown`: the database does not respond. */
  role: string;
  /** Time of the last change of the role. */
  since: string;
  /** Fencing token, which grows with each change of leader; null if this replica does not lead, or is the only one. */
  token: number | null;
}

/** A version of a lesson, with its review and feedback. */
export interface Lesson {
  /** The agent; null for a lesson that applies to all agents. */
  agent_id: string | null;
  /** The key of the lesson about the cause that this agent has in common with others; null without one. */
  cause: string | null;
  /** Number of lessons that have this one as their cause. */
  effects: number;
  /** Ids of experiences that support it. */
  evidence: string[];
  /** Time of the first occurrence. */
  first_seen: string;
  /** Number of reports that it helped. */
  helped: number;
  /** Time of the last occurrence. */
  last_seen: string;
  /** Key of this version. */
  lesson_key: string;
  /** Number of reports that it did not help. */
  not_helped: number;
  /** Number of occurrences when it was learned. */
  occurrences: number;
  /** Reason of the revision, confirmation, rejection or retirement. */
  reason: string | null;
  /** Number of times that it was learned again. */
  replay_count: number;
  /** `true` if it should be retired because of many reports that it did not help. */
  retirement_proposed: boolean;
  /** Key of the lesson, which is the key of its first version. */
  root_key: string;
  /** The rule that found it. */
  rule: string;
  /** Severity. */
  severity: Severity;
  /** The rule's distinguishing feature: an error class, a model. */
  signature: string;
  /** Lifecycle state. */
  status: LessonStatus;
  /** Time of the replacement. */
  superseded_at: string | null;
  /** Key of the version that replaced it. */
  superseded_by: string | null;
  /** Observation, frequency, period, and recommendation. */
  text: string;
  /** Summary in one line. */
  title: string;
  /** Time at which it was learned or revised. */
  ts: string;
  /** Version, from 1; each revision increments it. */
  version: number;
}

/** Versions of a lesson and the operations on it. */
export interface LessonHistory {
  /** True if there are further pages. */
  has_more: boolean;
  /** Versions, oldest first. */
  items: Lesson[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of versions up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`,
   * and above the maximum. */
  next_offset: number | null;
  /** Operations on all versions, oldest first; the last 200. */
  operations: Operation[];
}

/** Get the history of a lesson */
export interface LessonHistoryQuery {
  /** Key of any version of the lesson */
  key: string;
  /** Maximum number of versions on a page. */
  limit?: number;
  /** Number of versions to skip. Use `cursor` to read many pages. */
  offset?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
}

/** A page of lessons. */
export interface LessonList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Lessons. */
  items: Lesson[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
}

/** Get the newest version of a lesson */
export interface LessonQuery {
  /** Key of any version of the lesson */
  key: string;
}

/** Lifecycle state of a lesson. */
export type LessonStatus = "candidate" | "active" | "rejected" | "superseded" | "retired";

/** List lessons */
export interface LessonsQuery {
  /** Id or alias of the agent that the lesson is about. */
  agent?: string;
  /** Rule that found the lesson. */
  rule?: string;
  /** `none`: without lessons that are the effect of another lesson (even a rejected one). Otherwise the key of a lesson,
   * to list its effects. */
  cause?: string;
  /** Comma-separated statuses; `candidate` and `active` if absent. */
  status?: string;
  /** Search text. Every word must match the beginning of a word in the lesson; best matches first. Without it the list
   * is ordered newest first. */
  q?: string;
  /** Maximum number of lessons on a page. */
  limit?: number;
  /** Number of lessons to skip. Use `cursor` to read many pages. */
  offset?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
}

/** A dead letter with its message. */
export type LetterDetail = LetterItem & {
  /** Event id of the message. */
  event_id: string;
  /** What was repaired, or could not be read, in the message; absent where nothing was. */
  notes?: Notes;
  /** Payload of the event, any JSON value; null if the message could not be read. */
  payload: unknown;
  /** The message as it was sent, in base64; absent where the event has all of it. */
  raw_base64?: string;
  /** Service that sent the message. */
  source_service?: string | null;
  /** Producer's time. */
  timestamp: string;
};

/** A message that failed all its retries. */
export interface LetterItem {
  /** Number of attempts. */
  attempts: number;
  /** Error of the last attempt. */
  error: string;
  /** Time of the first failure. */
  first_failed_at: string;
  /** Id of the dead letter. */
  id: string;
  /** Time of the last failure. */
  last_failed_at: string;
  /** Time of the next automatic attempt; null if there will be none. */
  next_attempt_at: string | null;
  /** Position of the message in the event log; null if it has none. */
  origin_cursor: string | null;
  /** Sequence number in that stream; 0 if the message was never appended. */
  origin_sequence: number;
  /** Stream that contains the message; `table` for the table log. */
  origin_stream: string;
  /** Processor that failed: `history` (history writer), `log` (table log), `learner`, … */
  processor: string;
  /** Status of the dead letter. */
  status: LetterStatus;
  /** Subject of the message. */
  subject: string;
}

/** A page of dead letters. */
export interface LetterList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Dead letters, newest first by their first failure. */
  items: LetterItem[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
}

/** Status of a failed message, and its transitions.
 * 
 * | from | a retry succeeds | the last retry fails | replay request | discard request |
 * |---|---|---|---|---|
 * | `retrying` | row deleted | `dead` | `replayed`; on failure, as after any retry | `discarded` |
 * | `dead` | `replayed` | `dead` | `replayed`; on failure, `dead` | `discarded` |
 * | `replayed` | | | unchanged | rejected |
 * | `discarded` | | | rejected | unchanged | */
export type LetterStatus = "retrying" | "dead" | "replayed" | "discarded";

/** State of the event log. */
export interface LogCheck {
  /** Error, if it is down. */
  error: string | null;
  /** Implementation: `jetstream` or `table`. */
  kind: string;
  /** `ok` or `down`. */
  status: string;
  /** Streams that have subjects of the log, and from which the log must not take their messages. */
  unsourced: UnsourcedStream[];
  /** Limitation of a log that works, such as acknowledged events that a power failure may take. */
  warning: string | null;
}

/** State of the map. */
export interface MapCheck {
  /** Value of `COMPATIBLE`: the fields and names that the map has. The same on all servers of one log. */
  compatible: Compatibility;
  /** Position of the last event in the map. */
  cursor: string;
  /** Number of entities. */
  entities: number;
  /** Error, if it is stale; reason, if it awaits its base. */
  error: string | null;
  /** `catching_up` (reading the log after the start), `current`, `awaiting_base` (the log has lost entries, and the leader has
   * not carried the map over yet), or `stale` (the log is unavailable). */
  following: string;
  /** Number of events in the log that are not in the map yet; null if unknown. */
  lag: number | null;
}

/** How a value was compared when an alert was raised. */
export type MeasuredCondition = "above" | "below" | "is" | "absent";

/** The comparison that raised an alert. */
export interface Measurement {
  /** Bound; null when a state is compared, or when an event is absent. */
  bound: number | null;
  /** Comparison with the bound. */
  condition: MeasuredCondition;
  /** Compared field, as in the rule (`payload.cpu`, `metrics.temperature`, `age_seconds`); null when events are counted. */
  field: string | null;
  /** Value when the alert was raised: a number, a text or a boolean, or null. */
  value: unknown;
  /** Length of the time window of a rate or an absence, in seconds; null otherwise. */
  window_seconds: number | null;
}

/** Origin and position of a snapshot. */
export interface Meta {
  /** Position of the snapshot; a stream resumed from it continues without a gap. */
  cursor: string;
  /** Same as in the snapshot. */
  generated_at: string;
  /** The upstreams that have contributed data: `agents`, `microdao`, `dao`, `usage`, `city`, `space`; with
   * `COMPATIBLE=prototype` `agents-service`, …, `usage-engine`, `city-service`, `space-service`. */
  source_services: string[];
  /** Health of each upstream. */
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
  /** Problems, as text. */
  alerts: string[];
  /** Canonical id, `node:…`. */
  id: string;
  /** Time of its last metrics. */
  last_seen: string | null;
  /** Ours: milliseconds. */
  latency_ms: number | null;
  /** Metrics. */
  metrics: NodeMetrics;
  /** The microDAO that runs it, canonical. */
  microdao_id: string | null;
  /** Display name. */
  name: string;
  /** Status. */
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

/** A note about an event. */
export interface Note {
  /** Location in what was sent, a JSON pointer (RFC 6901); absent for the whole. At most 256 bytes. */
  at?: string;
  /** Kind. */
  kind: NoteKind;
  /** Number of further places of this kind, which have no note of their own. */
  more?: number;
  /** Original text, or the error; at most 128 bytes. Bytes that are not text are escaped. */
  original?: string;
}

/** Kind of a note. */
export type NoteKind = "byte_order_mark" | "trailing_nul" | "not_finite" | "number" | "control_character" | "nul" | "surrogate" | "invalid_utf8" | "duplicate_key" | "timestamp" | "subject" | "too_deep" | "not_json";

/** The notes of an event, a few of each kind. */
export type Notes = Note[];

/** The open lessons about an agent: candidates and active ones. */
export interface OpenLessons {
  /** Number of open lessons, at most 256. */
  count: number;
  /** Keys of the newest, at most ten, newest first. */
  keys: string[];
}

/** An entry of the log of operations. */
export interface Operation {
  /** `learner`, `operator`, `heuristic` or `agent`. */
  actor: string;
  /** Time. */
  at: string;
  /** Key of the version. */
  lesson_key: string;
  /** `upsert`, `replay`, `revise`, `retire`, `confirm`, `reject`, `helped`, `not_helped`. */
  operation: string;
  /** Reason. */
  reason: string | null;
  /** Number of the version. */
  version: number;
}

/** Counts of all groups without a series of their own. */
export interface OtherSeries {
  /** Number of events in each of `buckets`. */
  counts: number[];
  /** Number of these groups. */
  groups: number;
  /** Total number of events. */
  total: number;
}

/** A DAO. */
export interface Planet {
  /** Proposals open for votes; null until a service has counted them. */
  active_proposals: number | null;
  /** Ours: 0 to 1, from the space service. */
  activity: number | null;
  /** Ours: 0 to 1, from the space service. */
  anomaly_score: number | null;
  /** Canonical id, `dao:<slug>`. */
  id: string;
  /** Ours: number of members; null until a service has counted them. */
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
  /** Status. */
  status: Status;
  /** Ours: balances as exact decimal strings, by token. */
  treasury: Balance[];
  /** Sum of the treasury's balances, whatever their token. */
  treasury_value: number;
  /** `dao`. */
  type: string;
  /** Only with `COMPATIBLE=prototype`: its uuid; null without one. */
  uuid?: string | null;
}

/** Use of a pool that clients share. A client is a token, else an address (IPv6: a /64 network). */
export interface PoolCheck {
  /** Clients that hold a slot or wait for one. */
  clients: number;
  /** Slots in use. */
  in_use: number;
  /** Name, as in the metrics `living_map_pool_*`; `response_bytes` for the bytes of responses in flight. */
  name: string;
  /** Slots in all; of a pool of memory, bytes. */
  slots: number;
  /** Requests that wait for a slot. */
  waiting: number;
}

/** Coordinates in the scene of the space service. */
export interface Position {
  /** Scene units. */
  x: number;
  /** Scene units. */
  y: number;
  /** Scene units. */
  z: number;
}

/** Lessons for an agent's next run. */
export interface Preamble {
  /** Canonical id of the agent. */
  agent_id: string;
  /** Lessons, most important first. */
  items: HandedOut[];
  /** The lessons as Markdown; empty without lessons. */
  markdown: string;
  /** Approximate length of the Markdown in tokens. */
  tokens: number;
}

/** Get the lessons for the next run of an agent with an id in the query */
export interface PreambleByQueryQuery {
  /** Id or alias of the agent. */
  agent: string;
  /** Description of the agent's next task. */
  task?: string;
  /** Approximate maximum length in tokens, at four characters each. */
  max_tokens?: number;
}

/** Get the lessons for an agent's next run */
export interface PreambleQuery {
  /** Id or alias of the agent */
  id: string;
  /** Description of the agent's next task. */
  task?: string;
  /** Approximate maximum length in tokens, at four characters each. */
  max_tokens?: number;
}

/** An RFC 9457 problem document. */
export interface Problem {
  /** Description of the error, with what was expected. */
  detail: string;
  /** Name of the body's field that is invalid. */
  field?: string | null;
  /** Path of the request. */
  instance?: string | null;
  /** Name of the query parameter, path parameter, or header that is invalid. */
  parameter?: string | null;
  /** HTTP status. */
  status: number;
  /** Reason phrase of the status. */
  title: string;
  /** Always `about:blank`: the status is the type of the problem. */
  type: string;
}

/** Readiness of the server. */
export type Readiness = "ready" | "degraded" | "not_ready";

/** Readiness of the server and the state of its dependencies. */
export interface Ready {
  checks: Checks | null;
  /** Use of the pools that clients share; only with `verbose`. */
  pools?: PoolCheck[];
  /** Result of all checks. */
  status: Readiness;
}

/** Check readiness */
export interface ReadyQuery {
  /** Adds the use of each pool that clients share. Requires the role operator, where tokens are required. */
  verbose?: boolean;
}

/** A frame, and when the log took its event. */
export interface RecordedFrame {
  /** The `event` frame, as the stream sends it. */
  frame: Record<string, unknown>;
  /** Time at which the log took the event. Never later than that of the next frame by more than the clocks of its servers
   * differ. */
  logged_at: string;
}

/** A relation between two entities. */
export interface Relation {
  /** Canonical id of the other entity. */
  id: string;
  /** Display name. */
  label: string;
  /** `belongs_to`, `has`, `governs`, `governed_by`, `orbits`, `orbited_by`. */
  relation: string;
  /** Type of the entity. */
  type: EntityType;
}

/** Relations of an entity. */
export interface RelationList {
  /** Canonical id of the entity. */
  id: string;
  /** Relations, in a stable order. */
  relations: Relation[];
}

/** List the relations of an entity with an id in the query */
export interface RelationsByQueryQuery {
  /** Id, as in the path of the other form. */
  id: string;
}

/** List an entity's relations */
export interface RelationsQuery {
  /** Canonical id or any alias, such as a UUID or slug */
  id: string;
}

/** A role. Each role includes the permissions of the roles before it. */
export type Role = "viewer" | "publisher" | "operator" | "admin";

/** Routes that return JSON, by path. */
export interface Routes {
  /** Get the lessons for an agent's next run */
  "/living-map/agents/{id}/preamble": {
    parameters: PreambleQuery;
    answer: Preamble;
  };
  /** List active alerts */
  "/living-map/alerts": {
    parameters: AlertsQuery;
    answer: AlertList;
  };
  /** List silences */
  "/living-map/alerts/silences": {
    parameters: Record<string, never>;
    answer: SilenceList;
  };
  /** List dead letters */
  "/living-map/dead-letters": {
    parameters: DeadLettersQuery;
    answer: LetterList;
  };
  /** Get a dead letter with its message */
  "/living-map/dead-letters/{id}": {
    parameters: DeadLetterQuery;
    answer: LetterDetail;
  };
  /** Compare two moments */
  "/living-map/diff": {
    parameters: DiffQuery;
    answer: Diff;
  };
  /** List entities */
  "/living-map/entities": {
    parameters: EntitiesQuery;
    answer: EntityList;
  };
  /** Get an entity */
  "/living-map/entities/{id}": {
    parameters: EntityQuery;
    answer: EntityDetail;
  };
  /** List an entity's relations */
  "/living-map/entities/{id}/relations": {
    parameters: RelationsQuery;
    answer: RelationList;
  };
  /** Get an entity by an id in the query */
  "/living-map/entity": {
    parameters: EntityByQueryQuery;
    answer: EntityDetail;
  };
  /** List the relations of an entity with an id in the query */
  "/living-map/entity/relations": {
    parameters: RelationsByQueryQuery;
    answer: RelationList;
  };
  /** List failed operations */
  "/living-map/errors": {
    parameters: ErrorsQuery;
    answer: ErrorList;
  };
  /** Summarize failed operations */
  "/living-map/errors/health": {
    parameters: ErrorsHealthQuery;
    answer: JournalHealth;
  };
  /** List recorded frames */
  "/living-map/frames": {
    parameters: FramesQuery;
    answer: FrameList;
  };
  /** Check liveness */
  "/living-map/health": {
    parameters: Record<string, never>;
    answer: Health;
  };
  /** List events */
  "/living-map/history": {
    parameters: HistoryQuery;
    answer: EventList;
  };
  /** Count events over time */
  "/living-map/history/aggregate": {
    parameters: HistoryAggregateQuery;
    answer: EventCounts;
  };
  /** List lessons */
  "/living-map/lessons": {
    parameters: LessonsQuery;
    answer: LessonList;
  };
  /** Get the newest version of a lesson */
  "/living-map/lessons/{key}": {
    parameters: LessonQuery;
    answer: Lesson;
  };
  /** Get the history of a lesson */
  "/living-map/lessons/{key}/history": {
    parameters: LessonHistoryQuery;
    answer: LessonHistory;
  };
  /** Get the lessons for the next run of an agent with an id in the query */
  "/living-map/preamble": {
    parameters: PreambleByQueryQuery;
    answer: Preamble;
  };
  /** Check readiness */
  "/living-map/ready": {
    parameters: ReadyQuery;
    answer: Ready;
  };
  /** Get the caller and its permissions */
  "/living-map/session": {
    parameters: Record<string, never>;
    answer: Session;
  };
  /** Get the whole map */
  "/living-map/snapshot": {
    parameters: SnapshotQuery;
    answer: Snapshot;
  };
  /** List saved snapshots */
  "/living-map/snapshots": {
    parameters: SavedSnapshotsQuery;
    answer: SavedList;
  };
  /** Get a saved snapshot */
  "/living-map/snapshots/{id}": {
    parameters: SavedSnapshotQuery;
    answer: Snapshot;
  };
}

/** A saved snapshot. */
export interface SavedItem {
  /** Position of the event log that it shows; null for snapshots of the service that this one replaces. */
  cursor: string | null;
  /** Time at which the log took the last event that it shows. */
  generated_at: string;
  /** Id of the saved snapshot. */
  id: string;
  /** Time at which it was saved. */
  saved_at: string;
  /** Size of its JSON in bytes. */
  size_bytes: number | null;
  /** Version of its format. */
  version: string | null;
}

/** A page of saved snapshots. */
export interface SavedList {
  /** True if there are further pages. */
  has_more: boolean;
  /** Saved snapshots, newest first. */
  items: SavedItem[];
  /** Pass it as `cursor` to get the next page; null on the last page. */
  next_cursor: string | null;
  /** Number of items up to the end of this page, to pass as `offset` instead; null on the last page, after a `cursor`, and
   * above the maximum. */
  next_offset: number | null;
  /** Oldest position that `at`, `from`, and `to` can refer to; null if it cannot be determined at present. */
  oldest_cursor: string | null;
  /** Time of the event log at that position. */
  oldest_time: string | null;
}

/** Get a saved snapshot */
export interface SavedSnapshotQuery {
  /** Id of the saved snapshot */
  id: string;
}

/** List saved snapshots */
export interface SavedSnapshotsQuery {
  /** Maximum number of snapshots on a page. */
  limit?: number;
  /** Number of snapshots to skip. Use `cursor` to read many pages. */
  offset?: number;
  /** `next_cursor` of the previous page. */
  cursor?: string;
}

/** An upstream service. */
export type Service = "agents" | "microdao" | "dao" | "usage" | "city" | "space";

/** The caller, and the operations that its role permits. */
export interface Session {
  /** Time at which the token expires; null if it does not, or if the server requires no tokens. */
  expires_at: string | null;
  /** Name of the API token, or `sub` of the JSON Web Token; null if the server requires no tokens. */
  name: string | null;
  /** All operations of the API, by id. */
  operations: SessionOperation[];
  role: Role | null;
}

/** An operation, and whether the caller's role permits it. */
export interface SessionOperation {
  /** True if the caller's role permits it, or if the server requires no tokens. */
  allowed: boolean;
  /** `operationId` in this document. */
  id: string;
  role: Role | null;
}

/** Severity of a lesson. */
export type Severity = "low" | "medium" | "high";

/** A silence: matching alerts cause no notifications until it ends, and are still shown. An alert matches if it equals
 * all of `rule`, `alert` and `entity_id` that are set. */
export interface Silence {
  /** Id of the alert. */
  alert: string | null;
  /** User who added it. */
  by: string | null;
  /** Time of creation. */
  created_at: string;
  /** Affected entity, by the name in the alert. */
  entity_id: string | null;
  /** Id. */
  id: string;
  /** Reason. */
  note: string | null;
  /** Rule of the alerts. */
  rule: string | null;
  /** End. */
  until: string;
}

/** Silences in effect. */
export interface SilenceList {
  /** At most 256 silences, oldest first. */
  items: Silence[];
}

/** The whole map at one cursor. */
export interface Snapshot {
  /** The log's time of the last event in it. */
  generated_at: string;
  /** The map. */
  layers: Layers;
  /** Origin and position of the snapshot. */
  meta: Meta;
}

/** Get the whole map */
export interface SnapshotQuery {
  /** Comma-separated layers to include; the others are `null`. All layers if absent. */
  layers?: Layer[];
  /** Poll the upstreams first, then wait for a bounded time until the map shows their answers and every event accepted
   * before the request. A poll in progress, or one that ended less than a second ago, is reused. */
  fresh?: boolean;
  /** Past moment to show instead of the present: a cursor, or an ISO 8601 time, which selects the last event that the
   * log took at or before it. `meta.sources` is then empty, since the log does not contain upstream health. */
  at?: string;
}

/** Health of one upstream, as in `meta.sources`. */
export interface SourceHealth {
  /** Seconds since the last successful poll; null before the first. */
  age_seconds: number | null;
  /** Error of the last failed poll; null once a later one succeeds. */
  last_error: string | null;
  /** Time of the last successful poll. */
  last_success_at: string | null;
  /** The upstream's name. */
  service: Service;
  /** `true` if its data is current. */
  status: SourceStatus;
}

/** Freshness of an upstream's data. */
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
  /** Problems, as text. */
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
  /** Status. */
  status: Status;
}

/** Status of an entity. */
export type Status = "active" | "inactive" | "online" | "offline" | "warning" | "error" | "idle";

/** State of the streams. */
export interface StreamCheck {
  /** Number of connected clients. */
  clients: number;
}

/** A stream from which the log does not take messages. Those of its subjects that `BRIDGE_SUBJECTS` does not have are not
 * recorded. */
export interface UnsourcedStream {
  /** `work_queue` or `interest`: its retention, by which it would lose messages; `circular`: it takes its messages from the log. */
  reason: string;
  /** Setting with which they are recorded nevertheless, at most once; null where that would record nothing. */
  remedy: string | null;
  /** Name of the stream. */
  stream: string;
  /** The log's subjects that it has. */
  subjects: string[];
}

/** State of a webhook. */
export interface WebhookCheck {
  /** Error of the last attempt. */
  error: string | null;
  /** Name in the rules file. */
  name: string;
  /** Time since which the oldest pending message waits. */
  oldest: string | null;
  /** `ok`, or `down`: the last attempt to deliver a pending message failed. */
  status: string;
  /** Number of pending messages. */
  waiting: number;
}

/** State of the history writer. */
export interface WriterCheck {
  /** Error, if it cannot write. */
  error: string | null;
  /** Number of events in the log that are not in the history yet; null if unknown. */
  lag: number | null;
  /** Time of the last commit. */
  last_success: string | null;
  /** `ok` or `down`. */
  status: string;
}
