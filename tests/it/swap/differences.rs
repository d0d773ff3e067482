//! The table of all differences from the recorded answers of the service that this one replaces.

use super::compare::Difference;
use super::compare::Kind::{self, Added, Changed, Missing};

use Reason::{Addition, Decision, Fault};

/// Line before the table in `docs/replacing.md`.
pub const BEGIN: &str = "<!-- begin of differences; generated: make differences -->\n";
/// Line behind it.
pub const END: &str = "<!-- end of differences -->\n";

/// Why an answer differs.
#[derive(Debug, Clone, Copy)]
enum Reason {
    /// A fault of the old service, not repeated.
    Fault,
    /// Something that the old service did not have.
    Addition,
    /// Another choice.
    Decision,
}

/// One difference that is intended.
struct Row {
    /// Patterns of the files with the recorded answers.
    files: &'static [&'static str],
    /// Patterns of the paths of fields.
    paths: &'static [&'static str],
    kind: Kind,
    /// Answer and field, for the guide.
    what: &'static str,
    old: &'static str,
    ours: &'static str,
    reason: Reason,
}

/// Answers with a snapshot.
const SNAPSHOTS: &[&str] = &["*/snapshot.json", "*frame_first.jsonl", "frames.jsonl"];
/// Lists of entities.
const LISTS: &[&str] =
    &["asis/entities.json", "filled*/entities*.json", "down_*/entities.json", "agents500/entities.json"];
/// Single entities.
const ENTITIES: &[&str] = &["*/entity_*.json"];
/// Pages of history.
const HISTORY: &[&str] = &["*/history*.json"];

const ROWS: &[Row] = &[
    Row {
        files: &["*"],
        paths: &["*generated_at", "time", "_body.time", "frames[].timestamp", "ping.timestamp"],
        kind: Changed,
        what: "`generated_at`, `time`, a frame's `timestamp`",
        old: "local time without an offset; in frames as in the payload: null, a number, or without an offset",
        ours: "RFC 3339 in UTC, with `Z`",
        reason: Fault,
    },
    Row {
        files: &["*/root.json", "*/health.json", "cors/*"],
        paths: &["service", "phase", "version", "_body.version", "endpoints.stream"],
        kind: Changed,
        what: "`/`: `service`, `phase`, `version`, `endpoints.stream`; health: `version`",
        old: "`DAARION Living Map Service`, `9A`, `1.0.0`, an address on `localhost`",
        ours: "`living-map-service`, `production`, the version of this server, a path",
        reason: Decision,
    },
    Row {
        files: &["*/root.json"],
        paths: &["endpoints.*"],
        kind: Added,
        what: "`/`: `endpoints`",
        old: "five",
        ours: "further ones",
        reason: Addition,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*meta.cursor", "*meta.sources"],
        kind: Added,
        what: "snapshot: `meta.cursor`, `meta.sources`",
        old: "none",
        ours: "position of the snapshot; health of each service",
        reason: Addition,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*meta.source_services"],
        kind: Changed,
        what: "snapshot: `meta.source_services`",
        old: "always all six",
        ours: "those that have contributed data",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.agents.items[].id", "*layers.agents.items[].microdao_id"],
        kind: Changed,
        what: "snapshot: `id` and `microdao_id` of agents",
        old: "uuids",
        ours: "canonical ids (`agent:sofia`, `microdao:7`), as in events; the agent's uuid is its `uuid`",
        reason: Decision,
    },
    Row {
        files: &["filled/entity_agent_uuid.json"],
        paths: &["id", "data.id", "data.microdao_id"],
        kind: Changed,
        what: "entity: `id` and `microdao_id` of an agent",
        old: "uuids",
        ours: "canonical ids; any of its names finds it",
        reason: Decision,
    },
    Row {
        files: LISTS,
        paths: &["items[].id"],
        kind: Changed,
        what: "entities: `id` of an agent",
        old: "its uuid",
        ours: "its canonical id",
        reason: Decision,
    },
    Row {
        files: &["*/snapshot.json", "*frame_first.jsonl", "frames.jsonl", "*/entity_*.json"],
        paths: &["*usage.*_24h", "*layers.agents.total_llm_calls_24h"],
        kind: Changed,
        what: "`usage` of agents, `total_llm_calls_24h`",
        old: "always 0: usage-engine is not asked",
        ours: "the figures of usage-engine and of events",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.agents.items[]"],
        kind: Added,
        what: "snapshot: agents",
        old: "active ones; none while agents-service fails",
        ours: "also inactive ones and those that other services list; all stay while agents-service fails",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.agents.total_agents", "*layers.agents.online_agents", "*layers.city.active_agents"],
        kind: Changed,
        what: "snapshot: `total_agents`, `online_agents`, `active_agents`",
        old: "of active agents; 0 where the microDAO service requires a token, or agents-service fails",
        ours: "of all agents on the map; `active` and `online` ones",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.agents.items[].*", "*layers.agents.*"],
        kind: Added,
        what: "snapshot: fields of agents",
        old: "none of them",
        ours: "`uuid`, `description`, `current_run`, `open_lessons`, `usage.avg_response_time_ms`",
        reason: Addition,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.city.active_users", "*layers.city.items[].members", "*layers.city.items[].nodes"],
        kind: Changed,
        what: "snapshot: `members` and `nodes` of microDAOs, `active_users`",
        old: "always 1 member and no node for each",
        ours: "counted; null until a service has counted the members",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.city.items[]"],
        kind: Added,
        what: "snapshot: microDAOs",
        old: "those of the microDAO service; none while city-service fails",
        ours: "also those of city-service and of events; all stay while a service fails",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.city.microdaos_total"],
        kind: Changed,
        what: "snapshot: `microdaos_total`",
        old: "0 while the microDAO service asks for a token, or city-service fails",
        ours: "of all on the map",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.city.health"],
        kind: Changed,
        what: "snapshot: `health` of the city",
        old: "`green`, `yellow` without microDAOs, `unknown` while city-service fails",
        ours: "from the statuses of nodes and agents",
        reason: Decision,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.city.alerts", "*layers.city.channels", "*layers.city.metrics.*", "*layers.city.items[].*"],
        kind: Added,
        what: "snapshot: fields of the city and of microDAOs",
        old: "none of them",
        ours: "`alerts`, `channels`, `metrics` also in snake_case; `uuid`, `treasury`",
        reason: Addition,
    },
    Row {
        files: &["down_*/snapshot.json"],
        paths: &[
            "layers.city.user",
            "layers.city.microdao",
            "layers.city.nodes",
            "layers.city.agents",
            "layers.city.events",
            "layers.city.quests",
            "layers.city.metrics",
        ],
        kind: Added,
        what: "snapshot: sections of city-service before its first answer",
        old: "absent",
        ours: "null or empty; later its last good data",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.nodes.items[]", "*layers.space.nodes[]"],
        kind: Added,
        what: "snapshot: nodes",
        old: "those of `/api/space/scene`, which space-service does not have",
        ours: "those of `/space/nodes`, of city-service and of metrics",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.nodes.total_cpu", "*layers.nodes.total_gpu", "*layers.nodes.total_ram"],
        kind: Changed,
        what: "snapshot: `total_cpu`, `total_gpu`, `total_ram`",
        old: "always 0.0",
        ours: "sums of the loads",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.nodes.items[].*", "*layers.space.nodes[].*"],
        kind: Missing,
        what: "snapshot: fields of nodes that space-service has (`node_id`, `microdao`, `network` …)",
        old: "passed on as they are",
        ours: "under the documented names (`id`, `microdao_id`, `metrics` …)",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.nodes.items[].*", "*layers.space.nodes[].*"],
        kind: Changed,
        what: "snapshot: `cpu`, `gpu`, `memory`, `status` of nodes",
        old: "objects, absolute memory, `healthy`",
        ours: "loads from 0 to 1; one of the documented statuses",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.nodes.items[].*", "*layers.space.nodes[].*"],
        kind: Added,
        what: "snapshot: documented fields of nodes",
        old: "none, not even `id`",
        ours: "all",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.space.planets[]"],
        kind: Missing,
        what: "snapshot: a planet of space-service that dao-service lists as well",
        old: "two planets, `dao:3` beside `dao:aurora-circle`",
        ours: "one",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.space.planets[]"],
        kind: Added,
        what: "snapshot: planets of `/space/planets`",
        old: "not asked for",
        ours: "on the map, also without dao-service",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.space.planets[].*"],
        kind: Changed,
        what: "snapshot: `orbits`, `treasury_value`, `active_proposals` of planets",
        old: "always empty, null and 0",
        ours: "their values; `active_proposals` is null until a service has counted them",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.space.planets[].*"],
        kind: Missing,
        what: "snapshot: fields of planets that space-service has (`dao_id`, `health`, `satellites` …)",
        old: "passed on as they are",
        ours: "under the documented names (`id`, `status`, `orbits` …)",
        reason: Fault,
    },
    Row {
        files: SNAPSHOTS,
        paths: &["*layers.space.planets[].*"],
        kind: Added,
        what: "snapshot: fields of planets",
        old: "none of them",
        ours: "`uuid`, `slug`, `microdao_id`, `members`, `treasury`, `activity`, `anomaly_score`, `position`",
        reason: Addition,
    },
    Row {
        files: LISTS,
        paths: &["items[]"],
        kind: Added,
        what: "entities",
        old: "microDAOs and agents only; none of a service that fails",
        ours: "also DAOs, nodes, channels and inactive agents; all stay while a service fails",
        reason: Fault,
    },
    Row {
        files: &["filled/entities_limit_1.json", "filled/entities_type_agent_layer_agents_limit_2.json"],
        paths: &["items[]"],
        kind: Missing,
        what: "entities: order",
        old: "as the services answer",
        ours: "by id, so that pages fit together",
        reason: Decision,
    },
    Row {
        files: LISTS,
        paths: &["has_more", "next_cursor", "next_offset"],
        kind: Added,
        what: "entities: paging",
        old: "none",
        ours: "`has_more`, `next_cursor`, `next_offset`",
        reason: Addition,
    },
    Row {
        files: ENTITIES,
        paths: &["type"],
        kind: Changed,
        what: "entity: `type`",
        old: "always `entity`",
        ours: "`agent`, `microdao`, `dao`, `node`, `channel`",
        reason: Fault,
    },
    Row {
        files: ENTITIES,
        paths: &["data.cpu", "data.gpu", "data.memory"],
        kind: Missing,
        what: "entity: a node",
        old: "as space-service has it",
        ours: "the item of the nodes layer, with `metrics`",
        reason: Fault,
    },
    Row {
        files: ENTITIES,
        paths: &["data.members", "data.nodes"],
        kind: Changed,
        what: "entity: `members` and `nodes` of a microDAO",
        old: "always 1 and 0",
        ours: "counted",
        reason: Fault,
    },
    Row {
        files: ENTITIES,
        paths: &["aliases", "data.*"],
        kind: Added,
        what: "entity: fields",
        old: "none of them",
        ours: "`aliases`; in `data` the fields of the item",
        reason: Addition,
    },
    Row {
        files: ENTITIES,
        paths: &["id", "type", "layer", "data"],
        kind: Added,
        what: "entity by a slug, uuid or `external_id`; DAOs and nodes; microDAOs while city-service fails",
        old: "`{error}`",
        ours: "found",
        reason: Fault,
    },
    Row {
        files: ENTITIES,
        paths: &["error"],
        kind: Missing,
        what: "entity: `error`",
        old: "200 with `error` for an unknown id",
        ours: "404 with a problem document",
        reason: Fault,
    },
    Row {
        files: ENTITIES,
        paths: &["(status)"],
        kind: Changed,
        what: "entity: status for an unknown id",
        old: "200",
        ours: "404",
        reason: Fault,
    },
    Row {
        files: &["filled/entity_*.json", "errors/*"],
        paths: &["detail", "instance", "parameter", "status", "title", "type", "hint", "_body.*"],
        kind: Added,
        what: "errors",
        old: "FastAPI's form",
        ours: "problem documents (RFC 9457) that name the parameter",
        reason: Decision,
    },
    Row {
        files: &["errors/*"],
        paths: &["detail", "_body.detail"],
        kind: Changed,
        what: "errors: `detail`",
        old: "a list or a word",
        ours: "a sentence",
        reason: Decision,
    },
    Row {
        files: &["errors/*_limit_*.json", "errors/history_offset_negative.json"],
        paths: &["(status)"],
        kind: Changed,
        what: "an invalid `limit` or `offset`",
        old: "422",
        ours: "400",
        reason: Decision,
    },
    Row {
        files: &["errors/entities_layer_unknown.json", "errors/entities_type_unknown.json"],
        paths: &["(status)"],
        kind: Changed,
        what: "an unknown `type`, `layer` or parameter",
        old: "200, an empty list; an unknown parameter is ignored",
        ours: "400 with its name; `_`, `v`, `t` and `utm_…` are ignored",
        reason: Fault,
    },
    Row {
        files: &["errors/entities_layer_unknown.json", "errors/entities_type_unknown.json"],
        paths: &["items"],
        kind: Missing,
        what: "an unknown `type` or `layer`: `items`",
        old: "an empty list",
        ours: "a problem document",
        reason: Fault,
    },
    Row {
        files: &["as_committed/history.json"],
        paths: &["(status)", ""],
        kind: Changed,
        what: "history, as the old service was published",
        old: "500: rows with JSON cannot be read, nor written",
        ours: "200",
        reason: Fault,
    },
    Row {
        files: &["errors/history_since_*.json", "cors/error_with_origin.json"],
        paths: &["(status)", "", "_body"],
        kind: Changed,
        what: "history: `since` that is not ISO 8601",
        old: "500",
        ours: "400 with its name; unix seconds and a `+` that is not encoded are read",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["items[].id"],
        kind: Changed,
        what: "history: `id`",
        old: "random",
        ours: "derived from the event, so that it is stored once",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["items[].timestamp"],
        kind: Changed,
        what: "history: `timestamp`, and with it order, `since` and `until`",
        old: "time of arrival",
        ours: "time of the event",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["items[].entity_id", "items[].entity_type"],
        kind: Changed,
        what: "history: `entity_id`, `entity_type`",
        old: "null for microDAOs, nodes and messages; `dao` for microDAOs; `unknown`; the id of an event",
        ours: "the entity with its type's prefix, or null",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["items[]"],
        kind: Missing,
        what: "history: which events a page has",
        old: "a repeated event twice; filters and `until` are ignored; a time without an offset or a date is local time",
        ours: "every event once; filters apply; UTC",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["items[]"],
        kind: Added,
        what: "history: further events",
        old: "14 of the published subjects are not subscribed, four payloads are dropped, envelopes are stored whole",
        ours: "all, with the envelope's payload; also polls (`living_map.sync.*`)",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["total", "has_more"],
        kind: Changed,
        what: "history: `total`, `has_more`",
        old: "of all rows, whatever the filter",
        ours: "of the events that match",
        reason: Fault,
    },
    Row {
        files: HISTORY,
        paths: &["items[].*", "next_cursor", "next_offset", "total_exact"],
        kind: Added,
        what: "history: fields",
        old: "none of them",
        ours: "`cursor` of each event; `next_cursor`, `next_offset`, `total_exact`",
        reason: Addition,
    },
    Row {
        files: &["frames.jsonl"],
        paths: &["frames[].*"],
        kind: Added,
        what: "stream: fields of an event's frame",
        old: "none of them",
        ours: "`cursor`, `id`, `entity_id`, `entity_type`, `changes`",
        reason: Addition,
    },
    Row {
        files: &["frames.jsonl"],
        paths: &["ping.cursor"],
        kind: Added,
        what: "stream: `ping`",
        old: "`kind`, `timestamp`",
        ours: "`cursor` too",
        reason: Addition,
    },
    Row {
        files: &["frames.jsonl"],
        paths: &["frames[]"],
        kind: Missing,
        what: "stream: frames",
        old: "a repeated event is sent twice; an envelope is the payload; an event can precede the snapshot",
        ours: "every event once; the envelope's payload; the snapshot first",
        reason: Fault,
    },
    Row {
        files: &["frames.jsonl"],
        paths: &["frames[]"],
        kind: Added,
        what: "stream: further events",
        old: "14 of the published subjects are not subscribed, four payloads are dropped",
        ours: "all recorded events",
        reason: Fault,
    },
    Row {
        files: &["errors/method_head_health.json"],
        paths: &["(status)", "_headers.content-length"],
        kind: Changed,
        what: "`HEAD`",
        old: "405",
        ours: "as `GET`",
        reason: Addition,
    },
    Row {
        files: &["errors/method_*.json"],
        paths: &["_headers.allow"],
        kind: Changed,
        what: "405: `Allow`",
        old: "`GET`",
        ours: "`GET,HEAD`",
        reason: Addition,
    },
    Row {
        files: &["errors/method_head_health.json"],
        paths: &["_headers.allow"],
        kind: Missing,
        what: "`HEAD`: `Allow`",
        old: "of the 405",
        ours: "none",
        reason: Addition,
    },
    Row {
        files: &["errors/trailing_slash.json"],
        paths: &["(status)", "_body"],
        kind: Changed,
        what: "a path with `/` at its end",
        old: "307 to the path without",
        ours: "404",
        reason: Decision,
    },
    Row {
        files: &["errors/trailing_slash.json"],
        paths: &["_headers.location"],
        kind: Missing,
        what: "a path with `/` at its end: `Location`",
        old: "the path without, on `http`",
        ours: "none",
        reason: Decision,
    },
    Row {
        files: &["errors/stream_without_upgrade.json"],
        paths: &["(status)"],
        kind: Changed,
        what: "the stream without a WebSocket handshake",
        old: "404",
        ours: "426",
        reason: Decision,
    },
    Row {
        files: &["cors/*"],
        paths: &["_headers.access-control-allow-credentials"],
        kind: Missing,
        what: "pages of other origins: requests with `credentials: 'include'`",
        old: "permitted",
        ours: "withheld by the browser; tokens in `Authorization` are permitted",
        reason: Decision,
    },
    Row {
        files: &["cors/*"],
        paths: &["_headers.access-control-allow-origin", "_headers.vary"],
        kind: Changed,
        what: "pages of other origins: `Access-Control-Allow-Origin`",
        old: "`*`, or the origin where the request has a cookie",
        ours: "always the origin, with `Vary`",
        reason: Decision,
    },
    Row {
        files: &["cors/preflight.json"],
        paths: &["_headers.access-control-allow-methods", "_body"],
        kind: Changed,
        what: "preflight",
        old: "any method; body `OK`",
        ours: "on the six old routes those that read; no body",
        reason: Decision,
    },
    Row {
        files: &["cors/preflight.json"],
        paths: &["_headers.access-control-max-age"],
        kind: Missing,
        what: "preflight: `Access-Control-Max-Age`",
        old: "600",
        ours: "the browser's default",
        reason: Decision,
    },
];

/// Fails unless each difference has a row and each row is needed.
pub fn check(found: &[Difference]) {
    let is_of = |row: &Row, difference: &Difference| {
        let is_any = |patterns: &[&str], text: &str| patterns.iter().any(|pattern| matches(pattern, text));
        row.kind == difference.kind && is_any(row.files, &difference.file) && is_any(row.paths, &difference.path)
    };
    let unlisted: Vec<String> = found
        .iter()
        .filter(|difference| !ROWS.iter().any(|row| is_of(row, difference)))
        .map(|Difference { file, path, kind, old, ours }| format!("{file}: {path} {kind:?}: {old} -> {ours}"))
        .collect();
    let unused: Vec<&str> =
        ROWS.iter().filter(|row| !found.iter().any(|difference| is_of(row, difference))).map(|row| row.what).collect();
    assert!(unlisted.is_empty(), "{} differences are in no row:\n{}", unlisted.len(), unlisted.join("\n"));
    assert!(unused.is_empty(), "rows without a difference: {unused:#?}");
}

/// `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

/// The table for the guide.
pub fn table() -> String {
    let rows = ROWS.iter().map(|Row { what, old, ours, reason, .. }| {
        let reason = match reason {
            Fault => "fault repaired",
            Addition => "addition",
            Decision => "decision",
        };
        format!("| {what} | {old} | {ours} | {reason} |\n")
    });
    ["| answer | old service | Living Map | |\n|---|---|---|---|\n".to_owned()].into_iter().chain(rows).collect()
}
