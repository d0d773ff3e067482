/** Frames of the stream (docs/stream-protocol.md), built from the types of the server's OpenAPI document. */

import { isObject } from './fold.js';
import type { EntityType, Layer, Note, Snapshot } from './generated.js';

/** An event's effect on the map. */
export type Change =
  | { op: 'upsert'; layer: Layer; type: EntityType; id: string; patch: Record<string, unknown> }
  | { op: 'remove'; layer: Layer; type: EntityType; id: string }
  | { op: 'totals'; layer: Layer; patch: Record<string, unknown> };

/** An event of the log. */
export interface EventFrame {
  kind: 'event';
  /** NATS subject. */
  event_type: string;
  /** Producer's timestamp (RFC 3339). */
  timestamp: string;
  /** Published payload. */
  payload: unknown;
  /** Position in the log (opaque). */
  cursor: string;
  id: string;
  entity_id: string | null;
  entity_type: EntityType | null;
  changes: Change[];
  /** What was repaired, or could not be read, in what the publisher sent; absent where nothing was. */
  notes?: Note[];
}

export type Frame =
  | { kind: 'snapshot'; data: Snapshot }
  | EventFrame
  | { kind: 'ping'; timestamp: string; cursor?: string }
  | { kind: 'reconnect'; after_ms: number }
  | { kind: 'error'; error: string; code: string; timestamp: string };

/**
 * Parses a message. Unknown kinds are accepted: a newer server may send them. Returns `null` for an invalid message,
 * after which the connection can no longer be assumed to be complete.
 */
export function parseFrame(data: unknown): Frame | null {
  let frame: unknown;
  try {
    frame = JSON.parse(data as string);
  } catch {
    return null;
  }
  if (!isObject(frame)) return null;
  const { kind } = frame;
  const isWhole =
    kind === 'snapshot'
      ? isSnapshot(frame.data)
      : kind === 'event'
        ? isText(frame.cursor) && Array.isArray(frame.changes) && frame.changes.every(isChange)
        : kind === 'ping'
          ? isText(frame.cursor ?? '')
          : kind === 'reconnect'
            ? Number(frame.after_ms) >= 0
            : isText(kind);
  return isWhole ? (frame as unknown as Frame) : null;
}

const isText = (value: unknown) => typeof value === 'string';

const isSnapshot = (data: unknown) =>
  isObject(data) && isObject(data.layers) && isObject(data.meta) && isText(data.meta.cursor);

const isChange = (change: unknown) =>
  isObject(change) &&
  isText(change.layer) &&
  (change.op === 'totals' ||
    (isText(change.id) && isText(change.type) && (change.op === 'remove' || change.op === 'upsert'))) &&
  (change.op === 'remove' || isObject(change.patch));
