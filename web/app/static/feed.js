// @ts-check
/** The feed of the last events and the curve of their rate. */

import { byId, el, setText } from './dom.js';
import { number, timeOfDay } from './format.js';
import { RATE_SECONDS } from './store.js';

/** @import { EventFrame } from '../types.d.ts' */
/** @import { Store } from './store.js' */

export class Feed {
  #list = byId('feed-list');
  #curve = byId('rate-curve');
  #rate = byId('rate');
  /** @type {EventFrame | undefined} the newest event drawn */
  #newest;

  /**
   * @param {Store} store
   * @param {(id: string) => void} onOpen
   */
  constructor(store, onOpen) {
    this.store = store;
    this.#list.addEventListener('click', (event) => {
      const button = event.target instanceof Element ? event.target.closest('button') : null;
      if (button?.dataset.id) onOpen(button.dataset.id);
    });
  }

  render() {
    const { feed } = this.store;
    const known = this.#newest ? feed.indexOf(this.#newest) : -1;
    const fresh = known < 0 ? feed : feed.slice(0, known);
    this.#list.prepend(...fresh.map(entry));
    while (this.#list.children.length > feed.length) this.#list.lastElementChild?.remove();
    this.#newest = feed[0];
  }

  renderRate() {
    const { rate } = this.store;
    // The current second is not over: it would always look like a drop.
    const whole = rate.slice(0, RATE_SECONDS - 1);
    const recent = whole.slice(-5);
    setText(
      this.#rate,
      `${number(Math.round((recent.reduce((a, b) => a + b, 0) / recent.length) * 10) / 10)} events/s`,
    );
    const top = Math.max(1, ...whole);
    const points = whole.map(
      (count, i) => `${((i / (whole.length - 1)) * 120).toFixed(1)},${(22 - (count / top) * 20).toFixed(1)}`,
    );
    this.#curve.setAttribute('points', points.join(' '));
  }
}

/** @param {EventFrame} event */
function entry(event) {
  const time = el('time', undefined, timeOfDay(event.timestamp));
  time.setAttribute('datetime', event.timestamp);
  const subject = el('span', 'subject', event.event_type);
  subject.title = event.event_type;
  const item = el('li', undefined, time, subject);
  item.dataset.family = family(event.event_type);
  if (event.entity_id) {
    const button = el('button', 'entity', event.entity_id);
    button.setAttribute('type', 'button');
    button.dataset.id = event.entity_id;
    item.append(button);
  }
  return item;
}

/**
 * The layer whose colour an event has.
 * @param {string} subject
 */
function family(subject) {
  const head = subject.split('.', 1)[0] ?? '';
  if (['agent', 'agents', 'usage'].includes(head)) return 'agents';
  if (head === 'node') return 'nodes';
  if (head === 'dao') return 'space';
  if (['city', 'microdao', 'messaging'].includes(head)) return 'city';
  return 'other';
}
