/**
 * The client's half of the fold: applies an event's changes to the layers of a snapshot, by the rules of the server's
 * `src/model/change.rs`. Nothing is changed in place: what a change does not touch keeps its identity.
 */

import type { Change } from './frames.js';
import type { Layers } from './generated.js';

type Fields = Record<string, unknown>;

const lists: Record<string, string> = { 'space dao': 'planets', 'space node': 'nodes', 'city channel': 'channels' };

/** The name of the list that holds entities of `type` in `layer`. */
export const listOf = (layer: string, type: string): string => lists[`${layer} ${type}`] ?? 'items';

/** The layers after `change`; the same object when it changed nothing. A layer that is `null` stays `null`. */
export function applyChange(layers: Layers, change: Change): Layers {
  const before = own(layers as unknown as Fields, change.layer, {});
  if (!isObject(before)) return layers;
  const after = inLayer(before, change);
  return after === before ? layers : { ...layers, [change.layer]: after };
}

function inLayer(layer: Fields, change: Change): Fields {
  if (change.op === 'totals') return merge(layer, change.patch);
  const name = listOf(change.layer, change.type);
  const items = own(layer, name, []);
  if (!Array.isArray(items)) return layer;
  const at = position(items, change.id);
  if (change.op === 'remove') return at < 0 ? layer : { ...layer, [name]: items.toSpliced(at, 1) };
  if (at < 0) return { ...layer, [name]: items.toSpliced(~at, 0, change.patch) };
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
    const before = own(target, key);
    const after = isObject(before) && isObject(value) ? merge(before, value) : value;
    if (after !== before) changed.push([key, after]);
  }
  // Made of entries, so that a field called `__proto__` is a field like any other.
  return changed.length === 0 ? target : { ...target, ...Object.fromEntries(changed) };
}

/** `after`, with every part of `before` that is equal in its place, so that a fresh snapshot renders only what differs. */
export function share<T>(before: unknown, after: T): T {
  if (Array.isArray(before) && Array.isArray(after)) return shareList(before, after) as T;
  if (!isObject(before) || !isObject(after)) return after;
  const keys = Object.keys(after);
  const shared: Fields = Object.fromEntries(keys.map((key) => [key, share(own(before, key), after[key])]));
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

/** Where the item with `id` is in a list ordered by id; if it is not, the complement (`~`) of where it belongs. */
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
 * The server's order of ids: by code point. JavaScript's `<` compares UTF-16 units, which puts characters beyond U+FFFF
 * before those from U+E000 on.
 */
export function compareIds(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return (a.codePointAt(at) ?? -1) - (b.codePointAt(at) ?? -1);
}

/** The field `key`, and nothing that all objects have. */
function own(fields: Fields, key: string, otherwise?: unknown): unknown {
  return Object.hasOwn(fields, key) ? fields[key] : otherwise;
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
