// @ts-check
/** Small helpers over the DOM. Everything that comes from the network goes in as text, never as markup. */

/**
 * The element with `id`, which index.html promises.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page lacks #${id}`);
  return element;
}

/**
 * A new element.
 * @param {string} tag
 * @param {string} [className]
 * @param {(Node | string)[]} children
 */
export function el(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * Writes text only when it differs: most of what is rendered again has not changed, and a write costs layout.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string} value
 */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

const STATUSES = ['active', 'inactive', 'online', 'offline', 'warning', 'error', 'idle'];

/** A mark whose shape tells the status; the words stand beside it or in its label. */
export function glyph() {
  const mark = el('span', 'glyph');
  mark.setAttribute('aria-hidden', 'true');
  return mark;
}

/**
 * @param {Element} mark
 * @param {unknown} status
 */
export function setStatus(mark, status) {
  setAttribute(mark, 'data-status', STATUSES.includes(String(status)) ? String(status) : 'unknown');
}

export const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
