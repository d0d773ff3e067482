/** The wire shapes that the page reads. The server's `/openapi.json` is the full description. */

export type LayerName = 'city' | 'space' | 'nodes' | 'agents';

/** An item of one of a layer's lists; which other fields there are depends on the list. */
export interface Item {
  id: string;
  name?: string;
  status?: string;
  [field: string]: unknown;
}

/** A layer's own fields and its lists, ordered by id. `null`: the snapshot was asked for without it. */
export type LayerData = Record<string, unknown> | null;

export type Layers = Partial<Record<LayerName, LayerData>>;

export interface SourceHealth {
  service: string;
  status: 'ok' | 'stale' | 'down' | 'unknown';
  age_seconds: number | null;
  last_success_at: string | null;
  last_error: string | null;
}

export interface Snapshot {
  generated_at: string;
  layers: Layers;
  meta: { cursor: string; sources?: SourceHealth[]; [field: string]: unknown };
}

export type Patch = Record<string, unknown>;

export type Change =
  | { op: 'upsert'; layer: LayerName; type: string; id: string; patch: Patch }
  | { op: 'remove'; layer: LayerName; type: string; id: string }
  | { op: 'totals'; layer: LayerName; patch: Patch };

export interface EventFrame {
  kind: 'event';
  event_type: string;
  timestamp: string;
  payload: unknown;
  cursor: string;
  id: string;
  entity_id: string | null;
  entity_type: string | null;
  changes: Change[];
}

export type Frame =
  | { kind: 'snapshot'; data: Snapshot }
  | EventFrame
  | { kind: 'ping'; timestamp: string; cursor?: string }
  | { kind: 'error'; error: string; timestamp: string; code?: string }
  | { kind: 'reconnect'; after_ms: number }
  | { kind: 'alert' };

export interface EntityDetail {
  id: string;
  type: string;
  layer: LayerName;
  data: Record<string, unknown>;
  aliases?: string[];
}

export interface Relation {
  relation: string;
  id: string;
  type: string;
  label: string;
}

export interface HistoryItem {
  id: string;
  timestamp: string;
  event_type: string;
  payload: unknown;
  source_service: string | null;
  entity_id: string | null;
}

/** How the page is connected; `retryAt` (milliseconds of the page's clock) only while it waits to try again. */
export interface Connection {
  status: 'connecting' | 'open' | 'closed';
  attempt: number;
  retryAt: number | null;
}
