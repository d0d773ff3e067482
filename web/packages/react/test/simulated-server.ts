/** Simulated server with an event log and random changes. */

import type { Change } from '../src/index.js';

type Item = { id: string; [field: string]: unknown };
type Maps = Record<string, { [field: string]: unknown }>;

/** Deterministic random numbers in [0, 1) from a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const LISTS = [
  ['agents', 'agent', 'items'],
  ['nodes', 'node', 'items'],
  ['space', 'node', 'nodes'],
  ['space', 'dao', 'planets'],
  ['city', 'microdao', 'items'],
  ['city', 'channel', 'channels'],
] as const;

/** Reference implementation of the fold (docs/stream-protocol.md): mutates, and sorts the whole list each time. */
function fold(map: Maps, change: Change) {
  const layer = map[change.layer] as Maps[string];
  if (change.op === 'totals') return void merge(layer, change.patch);
  const list = LISTS.find(([name, type]) => name === change.layer && type === change.type)?.[2] ?? 'items';
  const items = new Map((layer[list] as Item[]).map((item) => [item.id, item]));
  const item = items.get(change.id);
  if (change.op === 'remove') items.delete(change.id);
  else if (item) merge(item, change.patch);
  else items.set(change.id, change.patch as Item);
  layer[list] = [...items.values()].sort((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)));
}

function merge(target: Record<string, unknown>, patch: Record<string, unknown>) {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    value !== null && typeof value === 'object' && !Array.isArray(value);
  for (const [key, value] of Object.entries(patch)) {
    const before = target[key];
    if (isObject(before) && isObject(value)) merge(before, value);
    else target[key] = value;
  }
}

export class SimulatedServer {
  #epoch = 1;
  #map: Maps = {
    city: { items: [], channels: [], health: 'green' },
    space: { planets: [], nodes: [] },
    nodes: { items: [], total_cpu: 0 },
    agents: { items: [], total_agents: 0 },
  };
  /** Encoded frames of this epoch's events. */
  events: string[] = [];
  /** The encoded map at every cursor. */
  readonly #maps = new Map<string, string>();

  constructor(readonly random: () => number) {
    this.#record();
  }

  /** Random integer in [0, end). */
  below = (end: number) => Math.floor(this.random() * end);
  pick = <T>(all: readonly T[]): T => all[this.below(all.length)] as T;

  cursorAt = (position: number) => `${this.#epoch}.${position}`;
  get head() {
    return this.events.length;
  }
  mapAt = (cursor: string): unknown => JSON.parse(this.#maps.get(cursor) ?? 'null');

  /** Position of `cursor` in this epoch's log; `null` for another epoch. */
  positionOf(cursor: string): number | null {
    const [epoch, position] = cursor.split('.');
    return epoch === `${this.#epoch}` ? Number(position) : null;
  }

  snapshot(): string {
    const cursor = this.cursorAt(this.head);
    const layers = this.mapAt(cursor);
    const meta = { cursor, sources: [] };
    return JSON.stringify({ kind: 'snapshot', data: { generated_at: '2026-01-19T12:00:00Z', layers, meta } });
  }

  append() {
    const changes = Array.from({ length: this.below(4) }, () => this.#change());
    // Encoded before folding: the fold reuses and mutates the patches.
    const cursor = this.cursorAt(this.head + 1);
    const fields = { event_type: 'agent.event.status', timestamp: '2026-01-19T12:00:01Z', payload: {}, id: cursor };
    this.events.push(JSON.stringify({ kind: 'event', ...fields, cursor, changes }));
    for (const change of changes) fold(this.#map, change);
    this.#record();
  }

  /** Starts a new epoch with an empty log and the current map. */
  recreate() {
    this.#epoch += 1;
    this.events = [];
    this.append();
  }

  #record() {
    this.#maps.set(this.cursorAt(this.head), JSON.stringify(this.#map));
  }

  #change(): Change {
    const [layer, type] = this.pick(LISTS);
    if (this.below(5) === 0)
      return { op: 'totals', layer, patch: { total: this.below(9), deep: { [this.pick(['a', 'b'])]: 1 } } };
    const id = `${type}:${this.pick(['a', 'b', 'c', '\ue000', '\u{1f600}', 'Ї'])}`;
    if (this.below(4) === 0) return { op: 'remove', layer, type, id };
    const status = this.pick(['online', 'error', null]);
    const patch = this.pick([
      { id, status },
      { id, usage: { calls: this.below(3) } },
      { id, alerts: ['x'], usage: null },
    ]);
    return { op: 'upsert', layer, type, id, patch };
  }
}
