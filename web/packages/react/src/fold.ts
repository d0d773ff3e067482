/**
 * The client's half of the fold: applies an event's changes to the layers of a snapshot, by the rules of the server's
 * `src/model/change.rs`. Nothing is changed in place: what a change does not touch keeps its identity.
 */

import type { Change } from './frames.js';
import type { Layers } from './generated.js';

type Fields = Record<string, unknown>;

/** The name of the list that holds entities of `type` in `layer`. */
export function listOf(layer: string, type: string): string {
  if (layer === 'space' && type === 'dao') return 'planets';
  if (layer === 'space' && type === 'node') return 'nodes';
  if (layer === 'city' && type === 'channel') return 'channels';
  return 'items';
}

/** The layers after `change`; the same object when it changed nothing. A layer that is `null` stays `null`. */
export function applyChange(layers: Layers, change: Change): Layers {
  const before = Object.hasOwn(layers, change.layer) ? layers[change.layer] : {};
  if (!isObject(before)) return layers;
  const after = inLayer(before, change);
  return after === before ? layers : { ...layers, [change.layer]: after };
}

function inLayer(layer: Fields, change: Change): Fields {
  if (change.op === 'totals') return merge(layer, change.patch);
  const name = listOf(change.layer, change.type);
  const items = Object.hasOwn(layer, name) ? layer[name] : [];
  if (!Array.isArray(items)) return layer;
  const { found, at } = position(items, change.id);
  if (change.op === 'remove') return found ? { ...layer, [name]: items.toSpliced(at, 1) } : layer;
  if (!found) return { ...layer, [name]: items.toSpliced(at, 0, change.patch) };
  const item: unknown = items[at];
  const merged = isObject(item) ? merge(item, change.patch) : item;
  return merged === item ? layer : { ...layer, [name]: items.with(at, merged) };
}

/**
 * JSON Merge Patch (RFC 7396) with one reading fixed: the map has no absent fields, so where the RFC deletes a field,
 * the field is `null` afterwards.
 */
function merge(target: Fields, patch: Fields): Fields {
  const changed: [string, unknown][] = [];
  for (const [key, value] of Object.entries(patch)) {
    const before = Object.hasOwn(target, key) ? target[key] : undefined;
    const after = isObject(before) && isObject(value) ? merge(before, value) : value;
    if (after !== before) changed.push([key, after]);
  }
  // Made of entries, so that a field called `__proto__` is a field like any other.
  return changed.length === 0 ? target : { ...target, ...Object.fromEntries(changed) };
}

/** `after`, with every part of `before` that is equal in its place, so that a fresh snapshot renders only what differs. */
export function share<T>(before: unknown, after: T): T {
  if (Object.is(before, after)) return after;
  if (Array.isArray(before) && Array.isArray(after)) return shareList(before, after) as T;
  if (!isObject(before) || !isObject(after)) return after;
  const keys = Object.keys(after);
  const shared: Fields = Object.fromEntries(
    keys.map((key) => [key, share(Object.hasOwn(before, key) ? before[key] : undefined, after[key])]),
  );
  const same = keys.length === Object.keys(before).length && keys.every((key) => shared[key] === before[key]);
  return (same ? before : shared) as T;
}

function shareList(before: unknown[], after: unknown[]): unknown[] {
  // Entities are found by id: one that came or went must not cost its neighbours their identity.
  const byId = new Map(before.map((item) => [idOf(item), item]));
  const shared = after.map((item, at) => {
    const id = idOf(item);
    return share(id === undefined ? before[at] : byId.get(id), item);
  });
  return shared.length === before.length && shared.every((item, at) => item === before[at]) ? before : shared;
}

const idOf = (item: unknown) => (isObject(item) && typeof item.id === 'string' ? item.id : undefined);

/** Where the item with `id` is in a list ordered by id, or where it belongs. */
export function position(items: readonly unknown[], id: string): { found: boolean; at: number } {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareIds(idOf(items[middle]) ?? '', id);
    if (order === 0) return { found: true, at: middle };
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return { found: false, at: low };
}

/**
 * The server's order of ids: by code point. JavaScript's `<` compares UTF-16 units, which puts characters beyond U+FFFF
 * before those from U+E000 on.
 */
export function compareIds(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  const isSurrogate = unit >= 0xd800 && unit <= 0xdfff;
  return isSurrogate ? unit + 0x10000 : unit;
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
