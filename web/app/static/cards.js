// @ts-check
/** The four layers as cards: figures on top, a list below. */

import { byId, el, glyph, setAttribute, setStatus, setText } from './dom.js';
import { ago, number, percent } from './format.js';
import { VirtualList } from './list.js';

/** @import { Item, LayerName } from '../types.d.ts' */
/** @import { Row } from './list.js' */
/** @import { Store } from './store.js' */

/**
 * @typedef {object} Card
 * @property {LayerName} layer
 * @property {string} list the layer's list that is shown
 * @property {[string, (store: Store) => string][]} figures what is counted, and how much of it there is
 * @property {() => Row} makeRow
 */

/**
 * A row: the status's mark, the name, then one cell for each text that `cells` gives.
 * @param {(item: Item, now: number) => string[]} cells
 * @param {number} count
 * @param {HTMLElement} [extra] stands before the cells
 * @param {(item: Item) => void} [updateExtra]
 * @returns {Row}
 */
function row(cells, count, extra, updateExtra) {
  const mark = glyph();
  const name = el('span', 'name');
  const status = el('span', 'status');
  const boxes = Array.from({ length: count }, () => el('span', 'cell'));
  const element = el('div', undefined, mark, name, status, ...(extra ? [extra] : []), ...boxes);
  return {
    element,
    update(item, now) {
      setStatus(mark, item.status);
      setText(name, item.name || item.id);
      setText(status, item.status ?? 'unknown');
      updateExtra?.(item);
      cells(item, now).forEach((text, i) => {
        const box = boxes[i];
        if (box) setText(box, text);
      });
    },
  };
}

/**
 * @param {unknown} value
 * @returns {Record<string, unknown>}
 */
const object = (value) => /** @type {Record<string, unknown>} */ (value ?? {});

/** @param {unknown} value */
const size = (value) => (Array.isArray(value) ? value.length : 0);

/** Three loads as bars, read out as words. */
function loads() {
  const names = ['cpu', 'gpu', 'ram'];
  const bars = names.map((name) => {
    const meter = el('i');
    return { name, meter, box: el('span', 'load', el('b', undefined, name), meter) };
  });
  const element = el('span', 'loads', ...bars.map((bar) => bar.box));
  /** @param {Item} item */
  const update = (item) => {
    const metrics = object(item.metrics);
    for (const { name, meter, box } of bars) {
      const load = metrics[name];
      const part = typeof load === 'number' ? Math.max(0, Math.min(load, 1)) : 0;
      meter.style.setProperty('--load', part.toFixed(3));
      setAttribute(box, 'data-high', String(part >= 0.9));
      setAttribute(box, 'title', `${name} ${percent(load)}`);
    }
  };
  return { element, update };
}

/** @type {Card[]} */
const CARDS = [
  {
    layer: 'city',
    list: 'items',
    figures: [
      ['microDAOs', (store) => number(store.field('city', 'microdaos_total'))],
      ['members', (store) => number(store.field('city', 'active_users'))],
      ['active agents', (store) => number(store.field('city', 'active_agents'))],
      ['channels', (store) => number(store.list('city', 'channels').length)],
    ],
    makeRow: () =>
      row(
        (item) => [`${number(item.members)} members`, `${number(item.agents)} agents`, `${number(item.nodes)} nodes`],
        3,
      ),
  },
  {
    layer: 'space',
    list: 'planets',
    figures: [
      ['DAOs', (store) => number(store.list('space', 'planets').length)],
      ['nodes', (store) => number(store.list('space', 'nodes').length)],
      ['open proposals', (store) => number(sum(store.list('space', 'planets'), 'active_proposals'))],
      ['in treasuries', (store) => number(sum(store.list('space', 'planets'), 'treasury_value'))],
    ],
    makeRow: () =>
      row(
        (item) => [
          `${number(item.treasury_value)} held`,
          `${number(item.active_proposals)} open`,
          `${number(size(item.orbits))} in orbit`,
        ],
        3,
      ),
  },
  {
    layer: 'nodes',
    list: 'items',
    figures: [
      ['nodes', (store) => number(store.list('nodes', 'items').length)],
      ['mean CPU', (store) => mean(store, 'cpu')],
      ['mean GPU', (store) => mean(store, 'gpu')],
      ['mean memory', (store) => mean(store, 'ram')],
    ],
    makeRow: () => {
      const bars = loads();
      return row((item, now) => [`${ago(item.last_seen, now)} ago`], 1, bars.element, bars.update);
    },
  },
  {
    layer: 'agents',
    list: 'items',
    figures: [
      ['agents', (store) => number(store.field('agents', 'total_agents'))],
      ['online', (store) => number(store.field('agents', 'online_agents'))],
      ['LLM calls, 24 h', (store) => number(store.field('agents', 'total_llm_calls_24h'))],
    ],
    makeRow: () =>
      row((item, now) => {
        const usage = object(item.usage);
        return [
          `${number(usage.llm_calls_24h)} calls`,
          `${number(usage.tokens_24h)} tokens`,
          item.last_active ? `${ago(item.last_active, now)} ago` : 'not seen',
        ];
      }, 3),
  },
];

/**
 * @param {Item[]} items
 * @param {string} field
 */
function sum(items, field) {
  let total = 0;
  for (const item of items) {
    const value = item[field];
    if (typeof value === 'number') total += value;
  }
  return total;
}

/**
 * Over the nodes that report it: the wire's totals are sums, in which a node without a GPU counts as an idle one.
 * @param {Store} store
 * @param {string} metric
 */
function mean(store, metric) {
  let total = 0;
  let count = 0;
  for (const node of store.list('nodes', 'items')) {
    const load = object(node.metrics)[metric];
    if (typeof load !== 'number') continue;
    total += load;
    count += 1;
  }
  return percent(count > 0 ? total / count : undefined);
}

export class Cards {
  /** @type {Map<LayerName, {card: Card, list: VirtualList, figures: Element[], empty: Element}>} */
  #parts = new Map();
  #query = '';

  /**
   * @param {Store} store
   * @param {(id: string) => void} onOpen
   */
  constructor(store, onOpen) {
    this.store = store;
    for (const card of CARDS) {
      const root = byId(card.layer);
      const box = byId(`${card.layer}-list`);
      const figures = card.figures.map(([label]) => {
        const value = el('dd');
        root.querySelector('dl')?.append(el('div', undefined, value, el('dt', undefined, label)));
        return value;
      });
      const empty = el('p', 'empty');
      box.before(empty);
      const list = new VirtualList(box, {
        label: root.querySelector('h2')?.textContent ?? card.layer,
        makeRow: card.makeRow,
        onOpen,
        touchedAt: (id) => store.touchedAt(id),
      });
      this.#parts.set(card.layer, { card, list, figures, empty });
    }
  }

  /**
   * Shows only items whose name, id or status contains `query`.
   * @param {string} query
   */
  filter(query) {
    this.#query = query.trim().toLowerCase();
    for (const layer of this.#parts.keys()) this.render(layer);
  }

  /** @param {LayerName} layer */
  render(layer) {
    const part = this.#parts.get(layer);
    if (!part) return;
    part.card.figures.forEach(([, value], i) => {
      const box = part.figures[i];
      if (box) setText(box, value(this.store));
    });
    const all = this.store.list(layer, part.card.list);
    const shown = this.#query ? all.filter((item) => this.#matches(item)) : all;
    setText(
      part.empty,
      shown.length > 0 ? '' : all.length > 0 ? 'Nothing here matches the filter.' : 'Nothing here yet.',
    );
    part.list.show(shown);
  }

  /** Ages go on when nothing else does. */
  renderRows() {
    for (const { list } of this.#parts.values()) list.render();
  }

  /** @param {Item} item */
  #matches(item) {
    return [item.name, item.id, item.status].some((text) => text?.toLowerCase().includes(this.#query));
  }
}
