/**
 * Client side of the fold: applies an event's changes to the layers of a snapshot, by the rules of the server's
 * `src/model/change.rs`. Nothing is mutated; unchanged parts keep their identity.
 */

import type { Change } from './frames.js';
import type { Layers } from './generated.js';

type Fields = Record<string, unknown>;

const lists: Record<string, string> = { 'space dao': 'planets', 'space node': 'nodes', 'city channel': 'channels' };

/** Name of the list that holds entities of `type` in `layer`. */
export const listOf = (layer: string, type: string): string => lists[`${layer} ${type}`] ?? 'items';

/** Applies `change`; returns the same object if nothing changed. A layer that is `null` stays `null`. */
export function applyChange(layers: Layers, change: Change): Layers {
  const before = ownProperty(layers as unknown as Fields, change.layer, {});
  if (!isObject(before)) return layers;
  const after = applyToLayer(before, change);
  return after === before ? layers : { ...layers, [change.layer]: after };
}

function applyToLayer(layer: Fields, change: Change): Fields {
  if (change.op === 'totals') return merge(layer, change.patch);
  const name = listOf(change.layer, change.type);
  const items = ownProperty(layer, name, []);
  if (!Array.isArray(items)) return layer;
  const at = position(items, change.id);
  if (change.op === 'remove') return at < 0 ? layer : { ...layer, [name]: items.toSpliced(at, 1) };
  if (at < 0) return { ...layer, [name]: items.toSpliced(~at, 0, change.patch) };
  const item: unknown = items[at];
  const merged = isObject(item) ? merge(item, change.patch) : item;
  return merged === item ? layer : { ...layer, [name]: items.with(at, merged) };
}

/**
 * JSON Merge Patch (RFC 7396) with one difference: a `null` in the patch sets the field to `null` instead of deleting
 * it, since the map has no absent fields.
 */
function merge(target: Fields, patch: Fields): Fields {
  const changed: [string, unknown][] = [];
  for (const [key, value] of Object.entries(patch)) {
    const before = ownProperty(target, key);
    const after = isObject(before) && isObject(value) ? merge(before, value) : value;
    if (after !== before) changed.push([key, after]);
  }
  // `Object.fromEntries` defines properties, so that `__proto__` is an ordinary field.
  return changed.length === 0 ? target : { ...target, ...Object.fromEntries(changed) };
}

/** Returns `after` with equal parts replaced by those of `before`, so that a new snapshot renders only differences. */
export function reuseEqual<T>(before: unknown, after: T): T {
  if (Array.isArray(before) && Array.isArray(after)) return reuseEqualItems(before, after) as T;
  if (!isObject(before) || !isObject(after)) return after;
  const keys = Object.keys(after);
  const reused: Fields = Object.fromEntries(keys.map((key) => [key, reuseEqual(ownProperty(before, key), after[key])]));
  const same = keys.length === Object.keys(before).length && keys.every((key) => reused[key] === before[key]);
  return (same ? before : reused) as T;
}

function reuseEqualItems(before: unknown[], after: unknown[]): unknown[] {
  // Matched by id: an inserted or removed entity must not change the identity of its neighbours.
  const byId = new Map(before.map((item) => [idOf(item), item]));
  const reused = after.map((item, at) => {
    const id = idOf(item);
    return reuseEqual(id === undefined ? before[at] : byId.get(id), item);
  });
  return reused.length === before.length && reused.every((item, at) => item === before[at]) ? before : reused;
}

const idOf = (item: unknown) => (isObject(item) && typeof item.id === 'string' ? item.id : undefined);

/** Binary search by id; if not found, the complement (`~`) of the insertion index. */
export function position(items: readonly unknown[], id: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareIds(idOf(items[middle]) ?? '', id);
    if (order === 0) return middle;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return ~low;
}

/**
 * Compares ids by code point, as the server does. JavaScript's `<` compares UTF-16 code units, which sorts characters
 * beyond U+FFFF before those from U+E000 on.
 */
export function compareIds(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return (a.codePointAt(at) ?? -1) - (b.codePointAt(at) ?? -1);
}

/** Returns the own property `key`, ignoring the prototype. */
function ownProperty(fields: Fields, key: string, fallback?: unknown): unknown {
  return Object.hasOwn(fields, key) ? fields[key] : fallback;
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
