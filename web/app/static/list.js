// @ts-check
/**
 * A list that stays quick with a hundred thousand items: only the rows in view exist. One tab stop; the arrow keys move
 * within it, Enter opens.
 */

import { calm, el } from './dom.js';

/** @import { Item } from '../types.d.ts' */

/** @typedef {{element: HTMLElement, update: (item: Item, now: number) => void}} Row */

/** Must be the height of `.row` in style.css. Pixels. */
const ROW_HEIGHT = 32;

export class VirtualList {
  /** @type {Item[]} */
  #items = [];
  /** @type {{row: Row, item: Item | null, drawn: number}[]} */
  #rows = [];
  #active = 0;
  #spacer = el('div', 'spacer');

  /**
   * @param {HTMLElement} box
   * @param {{label: string, makeRow: () => Row, onOpen: (id: string) => void, touchedAt: (id: string) => number}} options
   */
  constructor(box, options) {
    this.box = box;
    this.options = options;
    box.tabIndex = 0;
    box.setAttribute('role', 'listbox');
    box.setAttribute('aria-label', options.label);
    box.append(this.#spacer);
    box.addEventListener('scroll', () => this.render(), { passive: true });
    box.addEventListener('keydown', (event) => this.#key(event));
    box.addEventListener('click', (event) => this.#click(event));
    box.addEventListener('focus', () => this.render());
    box.addEventListener('blur', () => this.render());
    new ResizeObserver(() => this.render()).observe(box);
  }

  /** @param {Item[]} items */
  show(items) {
    this.#items = items;
    this.render();
  }

  render() {
    const { box, options } = this;
    const count = this.#items.length;
    const height = `${count * ROW_HEIGHT}px`;
    if (this.#spacer.style.height !== height) this.#spacer.style.height = height;
    this.#active = Math.max(0, Math.min(this.#active, count - 1));
    const first = Math.max(0, Math.floor(box.scrollTop / ROW_HEIGHT));
    const wanted = Math.min(count - first, Math.ceil(box.clientHeight / ROW_HEIGHT) + 1);
    while (this.#rows.length < wanted) this.#addRow();
    const now = Date.now();
    const focused = document.activeElement === box;
    this.#rows.forEach((slot, i) => {
      const { element, update } = slot.row;
      const index = first + i;
      const item = i < wanted ? (this.#items[index] ?? null) : null;
      element.hidden = item === null;
      if (item === null) {
        slot.item = null;
        return;
      }
      const top = `translateY(${index * ROW_HEIGHT}px)`;
      if (element.style.transform !== top) element.style.transform = top;
      update(item, now);
      element.dataset.id = item.id;
      element.setAttribute('aria-setsize', String(count));
      element.setAttribute('aria-posinset', String(index + 1));
      const isActive = focused && index === this.#active;
      element.setAttribute('aria-selected', String(isActive));
      if (isActive) box.setAttribute('aria-activedescendant', element.id);
      const touched = options.touchedAt(item.id);
      // Only a touch that happened while the row showed this item is news.
      if (slot.item === item && touched > slot.drawn) flash(element);
      slot.item = item;
      slot.drawn = now;
    });
  }

  #addRow() {
    const row = this.options.makeRow();
    row.element.classList.add('row');
    row.element.id = `${this.box.id}-row-${this.#rows.length}`;
    row.element.setAttribute('role', 'option');
    this.box.append(row.element);
    this.#rows.push({ row, item: null, drawn: 0 });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW_HEIGHT) - 1);
    const last = this.#items.length - 1;
    /** @type {Record<string, number>} */
    const moves = {
      ArrowUp: this.#active - 1,
      ArrowDown: this.#active + 1,
      PageUp: this.#active - page,
      PageDown: this.#active + page,
      Home: 0,
      End: last,
    };
    const target = moves[event.key];
    if (target !== undefined) {
      this.#active = Math.max(0, Math.min(target, last));
      this.#reveal();
    } else if (event.key === 'Enter') {
      const item = this.#items[this.#active];
      if (item) this.options.onOpen(item.id);
    } else {
      return;
    }
    event.preventDefault();
    this.render();
  }

  #reveal() {
    const top = this.#active * ROW_HEIGHT;
    const { box } = this;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW_HEIGHT > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW_HEIGHT - box.clientHeight;
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const row = event.target instanceof Element ? event.target.closest('.row') : null;
    if (!(row instanceof HTMLElement) || !row.dataset.id) return;
    const id = row.dataset.id;
    this.#active = this.#items.findIndex((item) => item.id === id);
    this.options.onOpen(id);
  }
}

/** @param {HTMLElement} element */
function flash(element) {
  if (!calm.matches) element.animate([{ backgroundColor: 'var(--flash)' }, {}], { duration: 900, easing: 'ease-out' });
}
