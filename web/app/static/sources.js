// @ts-check
/** How the six upstream services are doing. */

import { byId, el, glyph, setAttribute, setStatus, setText } from './dom.js';
import { duration } from './format.js';

/** @import { SourceHealth } from '../types.d.ts' */
/** @import { Store } from './store.js' */

/** @type {Record<SourceHealth['status'], [string, string]>} the mark, and what it says beyond the age */
const MEANING = {
  ok: ['online', ''],
  stale: ['warning', 'last good data'],
  down: ['error', 'no data'],
  unknown: ['idle', 'not asked yet'],
};

export class Sources {
  #list = byId('sources');
  /** @type {Map<string, {item: HTMLElement, mark: Element, text: Element}>} */
  #items = new Map();

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
  }

  render() {
    const passed = (Date.now() - this.store.sourcesAt) / 1000;
    for (const source of this.store.sources) {
      const { item, mark, text } = this.#items.get(source.service) ?? this.#add(source.service);
      const [status, meaning] = MEANING[source.status] ?? MEANING.unknown;
      setStatus(mark, status);
      const age = source.age_seconds === null ? '' : `${duration(source.age_seconds + passed)} ago`;
      setText(text, [meaning, age].filter(Boolean).join(', '));
      setAttribute(item, 'title', source.last_error ?? '');
      setAttribute(item, 'data-status', source.status);
    }
  }

  /** @param {string} service */
  #add(service) {
    const mark = glyph();
    const text = el('span', 'state');
    const item = el('li', undefined, mark, el('b', undefined, service), text);
    this.#list.append(item);
    const parts = { item, mark, text };
    this.#items.set(service, parts);
    return parts;
  }
}
