/** The frames of the stream (docs/stream-protocol.md), made of the types that the server's OpenAPI document has. */

import { isObject } from './fold.js';
import type { EntityType, Layer, Snapshot } from './generated.js';

/** What an event did to the map. */
export type Change =
  | { op: 'upsert'; layer: Layer; type: EntityType; id: string; patch: Record<string, unknown> }
  | { op: 'remove'; layer: Layer; type: EntityType; id: string }
  | { op: 'totals'; layer: Layer; patch: Record<string, unknown> };

/** An event of the log. */
export interface EventFrame {
  kind: 'event';
  /** The NATS subject. */
  event_type: string;
  /** The producer's time, RFC 3339. */
  timestamp: string;
  /** What was published. */
  payload: unknown;
  /** Its position in the log. */
  cursor: string;
  id: string;
  entity_id: string | null;
  entity_type: EntityType | null;
  changes: Change[];
}

export type Frame =
  | { kind: 'snapshot'; data: Snapshot }
  | EventFrame
  | { kind: 'ping'; timestamp: string; cursor?: string }
  | { kind: 'reconnect'; after_ms: number }
  | { kind: 'other' };

/**
 * Reads a message. Kinds that are not known here are `other`: a newer server may send them. `null` is a message that
 * cannot be what the server meant, after which nothing on that line can be trusted to be complete.
 */
export function parseFrame(data: unknown): Frame | null {
  const frame = json(data);
  if (!isObject(frame) || typeof frame.kind !== 'string') return null;
  const isWhole = Object.hasOwn(checks, frame.kind) ? checks[frame.kind] : undefined;
  if (!isWhole) return { kind: 'other' };
  return isWhole(frame) ? (frame as unknown as Frame) : null;
}

const checks: Record<string, (frame: Record<string, unknown>) => boolean> = {
  snapshot: ({ data }) =>
    isObject(data) && isObject(data.layers) && isObject(data.meta) && typeof data.meta.cursor === 'string',
  event: ({ cursor, changes }) => typeof cursor === 'string' && Array.isArray(changes) && changes.every(isChange),
  ping: ({ cursor }) => cursor === undefined || typeof cursor === 'string',
  reconnect: ({ after_ms }) => typeof after_ms === 'number' && after_ms >= 0,
};

function isChange(change: unknown): boolean {
  if (!isObject(change) || typeof change.layer !== 'string') return false;
  if (change.op === 'totals') return isObject(change.patch);
  if (typeof change.id !== 'string' || typeof change.type !== 'string') return false;
  return change.op === 'remove' || (change.op === 'upsert' && isObject(change.patch));
}

function json(data: unknown): unknown {
  try {
    return typeof data === 'string' ? JSON.parse(data) : undefined;
  } catch {
    return undefined;
  }
}
