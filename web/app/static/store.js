// @ts-check
/** What the page knows: the folded map, the last events, the sources. No DOM here. */

import { apply, listOf, position } from './fold.js';

/** @import { EventFrame, Frame, Item, LayerName, Snapshot, SourceHealth } from '../types.d.ts' */

/** @typedef {LayerName | 'sources' | 'feed'} Part what of the page has to be drawn again */

/** Events that the feed shows. */
const FEED_LIMIT = 100;
/** Seconds that the rate's curve shows. */
export const RATE_SECONDS = 60;
/** Touches remembered before the old ones are thrown away. */
const TOUCH_LIMIT = 10_000;

export class Store {
  /** @type {Snapshot['layers']} */
  layers = {};
  /** @type {SourceHealth[]} */
  sources = [];
  /** When {@link sources} was true. Milliseconds. */
  sourcesAt = 0;
  cursor = '';
  /** @type {EventFrame[]} newest first */
  feed = [];
  eventsSeen = 0;
  /** @type {number[]} events in each of the last seconds, oldest first; the last is the current second */
  rate = new Array(RATE_SECONDS).fill(0);
  /** @type {Set<Part>} */
  dirty = new Set();
  /** @type {Map<string, number>} when an event last touched an entity; milliseconds */
  #touches = new Map();

  /** @param {Frame} frame */
  receive(frame) {
    if (frame.kind === 'snapshot') this.#replace(frame.data);
    else if (frame.kind === 'event') this.#event(frame);
    else if (frame.kind === 'ping' && frame.cursor) this.cursor = frame.cursor;
  }

  /** To be called once a second. */
  tick() {
    this.rate.shift();
    this.rate.push(0);
  }

  /** @param {SourceHealth[]} sources */
  setSources(sources) {
    this.sources = sources;
    this.sourcesAt = Date.now();
    this.dirty.add('sources');
  }

  /**
   * One of a layer's lists.
   * @param {LayerName} layer
   * @param {string} name
   * @returns {Item[]}
   */
  list(layer, name) {
    const items = this.layers[layer]?.[name];
    return Array.isArray(items) ? items : [];
  }

  /**
   * One of a layer's own fields.
   * @param {LayerName} layer
   * @param {string} name
   */
  field(layer, name) {
    return this.layers[layer]?.[name];
  }

  /**
   * The item of an entity where it is at home; null when it is not on the map.
   * @param {LayerName} layer
   * @param {string} type
   * @param {string} id
   */
  item(layer, type, id) {
    const items = this.list(layer, listOf(layer, type));
    const { found, at } = position(items, id);
    return found ? (items[at] ?? null) : null;
  }

  /** @param {string} id */
  touchedAt(id) {
    return this.#touches.get(id) ?? 0;
  }

  /** @param {Snapshot} snapshot */
  #replace(snapshot) {
    this.layers = snapshot.layers;
    this.cursor = snapshot.meta.cursor;
    if (snapshot.meta.sources) this.setSources(snapshot.meta.sources);
    for (const part of /** @type {Part[]} */ (['city', 'space', 'nodes', 'agents'])) this.dirty.add(part);
  }

  /** @param {EventFrame} event */
  #event(event) {
    const now = Date.now();
    for (const change of event.changes ?? []) {
      apply(this.layers, change);
      this.dirty.add(change.layer);
      if (change.op !== 'totals') this.#touch(change.id, now);
    }
    if (event.entity_id) this.#touch(event.entity_id, now);
    this.cursor = event.cursor;
    this.eventsSeen += 1;
    this.rate[RATE_SECONDS - 1] = (this.rate[RATE_SECONDS - 1] ?? 0) + 1;
    this.feed.unshift(event);
    if (this.feed.length > FEED_LIMIT) this.feed.length = FEED_LIMIT;
    this.dirty.add('feed');
  }

  /**
   * @param {string} id
   * @param {number} now
   */
  #touch(id, now) {
    // Deleted first, so that the map stays ordered by time and its oldest are its first.
    this.#touches.delete(id);
    this.#touches.set(id, now);
    if (this.#touches.size <= TOUCH_LIMIT) return;
    for (const old of this.#touches.keys()) {
      if (this.#touches.size <= TOUCH_LIMIT / 2) break;
      this.#touches.delete(old);
    }
  }
}
