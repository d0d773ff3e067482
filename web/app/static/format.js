// @ts-check
/** How values are written on the page. */

const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

export const NOTHING = '–';

/**
 * A count or an amount: in full up to 9,999, short beyond.
 * @param {unknown} value
 */
export function number(value) {
  if (typeof value !== 'number' || !Number.isFinite(value)) return NOTHING;
  return Math.abs(value) < 10_000 ? plain.format(value) : compact.format(value);
}

/**
 * A load, 0 to 1, as a percentage.
 * @param {unknown} value
 */
export function percent(value) {
  return typeof value === 'number' && Number.isFinite(value) ? `${Math.round(value * 100)}%` : NOTHING;
}

/**
 * A duration in its largest unit.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/**
 * How long ago a time was. Clocks differ: what seems to lie ahead is now.
 * @param {unknown} time RFC 3339
 * @param {number} now milliseconds
 */
export function ago(time, now) {
  const at = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return Number.isNaN(at) ? NOTHING : duration((now - at) / 1000);
}

/**
 * The time of day, in the reader's time zone.
 * @param {unknown} time RFC 3339
 */
export function timeOfDay(time) {
  const at = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return Number.isNaN(at) ? NOTHING : clock.format(at);
}

/**
 * Any value of an entity's fields, in one line.
 * @param {unknown} value
 * @returns {string}
 */
export function anything(value) {
  if (value === null || value === undefined || value === '') return NOTHING;
  if (typeof value === 'number') return plain.format(value);
  if (Array.isArray(value)) return value.length === 0 ? NOTHING : value.map(anything).join(', ');
  if (typeof value === 'object' && 'token_symbol' in value && 'balance' in value)
    return `${value.balance} ${value.token_symbol}`;
  if (typeof value === 'object')
    return Object.entries(value)
      .map(([key, inner]) => `${key} ${anything(inner)}`)
      .join(' · ');
  return String(value);
}
