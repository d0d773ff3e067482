// @ts-check
/** The panel of one entity: its fields as they change, what it is connected with, what happened to it. */

import { getJson, Problem } from './api.js';
import { byId, el, glyph, setStatus, setText } from './dom.js';
import { anything, percent, timeOfDay } from './format.js';

/** @import { EntityDetail, EventFrame, HistoryItem, Relation } from '../types.d.ts' */
/** @import { Store } from './store.js' */

/** Events that the panel shows. */
const RECENT = 30;
/** Fields that are loads from 0 to 1. */
const LOADS = new Set(['cpu', 'gpu', 'ram', 'memory', 'disk', 'activity', 'anomaly_score']);

export class Detail {
  #panel = byId('detail');
  #title = byId('detail-title');
  #kind = byId('detail-kind');
  #status = byId('detail-status');
  #fields = byId('detail-fields');
  #relations = byId('detail-relations');
  #history = byId('detail-history');
  #message = byId('detail-message');
  #mark = glyph();
  /** @type {EntityDetail | null} */
  #entity = null;
  #drawn = '';
  /** @type {AbortController | null} */
  #loading = null;

  /**
   * @param {Store} store
   * @param {(id: string) => void} onOpen
   */
  constructor(store, onOpen) {
    this.store = store;
    this.#title.before(this.#mark);
    this.#relations.addEventListener('click', (event) => {
      const button = event.target instanceof Element ? event.target.closest('button') : null;
      if (button?.dataset.id) onOpen(button.dataset.id);
    });
  }

  /** @param {string} id any of the entity's names */
  async open(id) {
    this.#loading?.abort();
    const loading = new AbortController();
    this.#loading = loading;
    this.#clear(id);
    this.#panel.hidden = false;
    document.body.classList.add('with-detail');
    this.#title.focus();
    const path = `living-map/entities/${encodeURIComponent(id)}`;
    try {
      this.#entity = /** @type {EntityDetail} */ (await getJson(path, loading.signal));
      this.#drawn = '';
      this.render();
      const query = new URLSearchParams({ entity_id: this.#entity.id, limit: String(RECENT) });
      const [relations, history] = await Promise.all([
        getJson(`${path}/relations`, loading.signal),
        getJson(`living-map/history?${query}`, loading.signal),
      ]);
      this.#showRelations(relations.relations);
      this.#history.append(.../** @type {HistoryItem[]} */ (history.items).map(happening));
    } catch (error) {
      if (loading.signal.aborted) return;
      setText(this.#message, error instanceof Problem ? error.message : 'The server did not answer.');
    }
  }

  close() {
    this.#loading?.abort();
    this.#entity = null;
    this.#panel.hidden = true;
    document.body.classList.remove('with-detail');
  }

  /** Draws the entity as the map has it now. */
  render() {
    const entity = this.#entity;
    if (!entity) return;
    const live = this.store.item(entity.layer, entity.type, entity.id);
    const data = live ?? entity.data;
    const text = JSON.stringify(data);
    if (text === this.#drawn) return;
    this.#drawn = text;
    setText(this.#title, String(data.name ?? entity.id));
    setText(this.#kind, `${entity.type} · ${entity.id}`);
    setText(this.#status, String(data.status ?? 'unknown'));
    setStatus(this.#mark, data.status);
    const fields = flatten(data).filter(([name]) => !['id', 'name', 'status', 'type'].includes(name));
    if (entity.aliases?.length) fields.push(['also known as', entity.aliases.join(', ')]);
    this.#fields.replaceChildren(
      ...fields.map(([name, value]) => el('div', undefined, el('dt', undefined, name), el('dd', undefined, value))),
    );
  }

  /** @param {EventFrame} event */
  happened(event) {
    if (!this.#entity || event.entity_id !== this.#entity.id) return;
    this.#history.prepend(happening(event));
    while (this.#history.children.length > RECENT) this.#history.lastElementChild?.remove();
  }

  /** @param {string} id */
  #clear(id) {
    this.#entity = null;
    this.#title.textContent = id;
    this.#kind.textContent = '';
    this.#status.textContent = '';
    this.#message.textContent = '';
    setStatus(this.#mark, 'unknown');
    for (const box of [this.#fields, this.#relations, this.#history]) box.replaceChildren();
  }

  /** @param {Relation[]} relations */
  #showRelations(relations) {
    this.#relations.replaceChildren(
      ...relations.map((relation) => {
        const button = el('button', 'entity', relation.label || relation.id);
        button.setAttribute('type', 'button');
        button.title = relation.id;
        button.dataset.id = relation.id;
        return el('li', undefined, el('span', undefined, relation.relation.replaceAll('_', ' ')), button);
      }),
    );
  }
}

/** @param {EventFrame | HistoryItem} event */
function happening(event) {
  const time = el('time', undefined, timeOfDay(event.timestamp));
  time.setAttribute('datetime', event.timestamp);
  const details = el('details', undefined, el('summary', undefined, time, el('span', 'subject', event.event_type)));
  // Made when it is looked at: most payloads never are.
  details.addEventListener(
    'toggle',
    () => details.append(el('pre', undefined, JSON.stringify(event.payload, null, 2))),
    {
      once: true,
    },
  );
  return el('li', undefined, details);
}

/**
 * An entity's fields in lines: the fields of inner objects by their path.
 * @param {Record<string, unknown>} data
 * @param {string} prefix
 * @returns {[string, string][]}
 */
function flatten(data, prefix = '') {
  return Object.entries(data).flatMap(([key, value]) => {
    const isInner = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (isInner) return flatten(/** @type {Record<string, unknown>} */ (value), `${prefix}${key} `);
    const text = LOADS.has(key) ? percent(value) : anything(value);
    return [[`${prefix}${key}`.replaceAll('_', ' '), text]];
  });
}
