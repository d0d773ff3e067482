// @ts-check
/**
 * The client's half of the fold: applies an event's changes to the layers of a snapshot, by the rules of the server's
 * `src/model/change.rs`. Whoever holds the snapshot at one cursor and applies every change up to another has exactly the
 * snapshot at that other cursor.
 */

/** @import { Change, Item, Layers, Patch } from '../types.d.ts' */

/**
 * The name of the list that holds entities of `type` in `layer`.
 * @param {string} layer
 * @param {string} type
 */
export function listOf(layer, type) {
  if (layer === 'space' && type === 'dao') return 'planets';
  if (layer === 'space' && type === 'node') return 'nodes';
  if (layer === 'city' && type === 'channel') return 'channels';
  return 'items';
}

/**
 * Applies `change` to `layers`, in place. A layer that the snapshot was asked for without stays `null`.
 * @param {Layers} layers
 * @param {Change} change
 */
export function apply(layers, change) {
  if (!Object.hasOwn(layers, change.layer)) layers[change.layer] = {};
  const layer = layers[change.layer];
  if (!isObject(layer)) return;
  if (change.op === 'totals') {
    merge(layer, change.patch);
    return;
  }
  const name = listOf(change.layer, change.type);
  if (!Object.hasOwn(layer, name)) layer[name] = [];
  const items = layer[name];
  if (!Array.isArray(items)) return;
  const { found, at } = position(items, change.id);
  if (change.op === 'remove') {
    if (found) items.splice(at, 1);
  } else if (!found) {
    items.splice(at, 0, structuredClone(change.patch));
  } else if (isObject(items[at])) {
    merge(items[at], change.patch);
  }
}

/**
 * Applies a JSON Merge Patch (RFC 7396) with one reading fixed: the map has no absent fields, so where the RFC deletes
 * a field, the field is `null` afterwards.
 * @param {Patch} target
 * @param {Patch} patch
 */
export function merge(target, patch) {
  for (const key of Object.keys(patch)) {
    const before = Object.hasOwn(target, key) ? target[key] : undefined;
    const value = patch[key];
    if (isObject(before) && isObject(value)) merge(before, value);
    else set(target, key, isContainer(value) ? structuredClone(value) : value);
  }
}

/**
 * Where the item with `id` is in a list ordered by id, or where it belongs.
 * @param {Item[]} items
 * @param {string} id
 * @returns {{found: boolean, at: number}}
 */
export function position(items, id) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = items[middle]?.id;
    const order = compareIds(typeof other === 'string' ? other : '', id);
    if (order === 0) return { found: true, at: middle };
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return { found: false, at: low };
}

/**
 * The server's order of ids: by code point. JavaScript's `<` compares UTF-16 units, which puts characters beyond
 * U+FFFF before those from U+E000 on.
 * @param {string} a
 * @param {string} b
 */
export function compareIds(a, b) {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** @param {number} unit */
function rank(unit) {
  const isSurrogate = unit >= 0xd800 && unit <= 0xdfff;
  return isSurrogate ? unit + 0x10000 : unit;
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isObject(value) {
  return isContainer(value) && !Array.isArray(value);
}

/**
 * @param {unknown} value
 * @returns {value is object}
 */
function isContainer(value) {
  return typeof value === 'object' && value !== null;
}

/**
 * Sets an own field even when it is called `__proto__`, which assignment would take for the prototype.
 * @param {Patch} target
 * @param {string} key
 * @param {unknown} value
 */
function set(target, key, value) {
  if (key === '__proto__') {
    Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    target[key] = value;
  }
}
