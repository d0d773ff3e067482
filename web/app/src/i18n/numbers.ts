/**
 * Numbers for people: rounded, grouped, with units. All views, tables, tooltips and sentences use these. `src/words/numbers.rs`
 * has the same rules for the command line; `tests/vectors/sentences.json` compares them.
 */

/** Unit of a measure. */
export type Unit = 'share' | 'celsius' | 'milliseconds' | 'seconds' | 'bytes' | 'none';

/** Fields whose values are shares. */
const SHARES = new Set([
  'activity',
  'anomaly_score',
  'cpu',
  'disk',
  'gpu',
  'memory',
  'memory_usage',
  'progress',
  'ram',
]);

/** The unit of a field, by the last name of its path. */
export function unitOf(field: string): Unit {
  const name = field.slice(field.lastIndexOf('.') + 1);
  if (SHARES.has(name)) return 'share';
  if (name === 'temperature') return 'celsius';
  if (name.endsWith('_ms')) return 'milliseconds';
  if (name.endsWith('_seconds')) return 'seconds';
  return name.endsWith('_bytes') ? 'bytes' : 'none';
}

export interface Numbers {
  number: (value: number, digits?: number) => string;
  /** A share as a percentage; a value above 1 is a percentage already. */
  percent: (value: number) => string;
  /** A measured time: milliseconds, seconds with one digit, or its two largest units. */
  milliseconds: (value: number) => string;
  /** A rough duration in its largest unit. */
  duration: (seconds: number) => string;
  /** An amount of a currency or token. */
  money: (amount: number, symbol: string) => string;
  bytes: (value: number) => string;
  /** A value with the unit of its field. */
  measured: (field: string, value: number) => string;
  /** The plural form of a count, of `one|other`, or `one|few|many` in Ukrainian. */
  plural: (count: number, forms: string) => string;
}

const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;

const BYTES = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;

/** A text that is a number in decimal digits. */
const NUMERIC = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A number, or a text that is one; `null`: neither. */
export function numeric(value: unknown): number | null {
  const number = typeof value === 'number' || (typeof value === 'string' && NUMERIC.test(value)) ? Number(value) : null;
  return number !== null && Number.isFinite(number) ? number : null;
}

export function makeNumbers(language: string): Numbers {
  const format = (options: Intl.NumberFormatOptions) => {
    // Rounded to nothing, a small negative number has no sign.
    const made = new Intl.NumberFormat(language, { signDisplay: 'negative', ...options });
    return (value: number) => made.format(value);
  };
  const unitWith = (unit: string, digits = 0) =>
    format({ style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: digits });
  const fine = [0, 1, 2].map((digits) => format({ maximumFractionDigits: digits }));
  const share = format({ style: 'percent', maximumFractionDigits: 0 });
  const cents = format({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const tiny = format({ maximumSignificantDigits: 2 });
  const times = new Map(UNITS.map(([unit]) => [unit, unitWith(unit)]));
  const small = { milliseconds: unitWith('millisecond'), seconds: unitWith('second', 1) };
  const sizes = BYTES.map((unit, at) => unitWith(unit, at === 0 ? 0 : 1));
  const plurals = new Intl.PluralRules(language);
  const forms = plurals.resolvedOptions().pluralCategories;
  // Plural forms in the order of the texts: one, few, many, other.
  const order = (['one', 'few', 'many', 'other'] as const).filter((form) => forms.includes(form));

  const number = (value: number, digits = 0) => (fine[digits] ?? fine[0])?.(value) ?? '';
  const percent = (value: number) => share(value > 1 ? value / 100 : value);
  const ofTime = (unit: (typeof UNITS)[number][0], count: number) => times.get(unit)?.(count) ?? '';
  const duration = (seconds: number) => {
    const [unit, size] = UNITS.find(([, least]) => seconds >= least) ?? ['second', 1];
    return ofTime(unit, Math.round(seconds / size));
  };
  const milliseconds = (value: number) => {
    if (value < 1000) return small.milliseconds(value);
    if (value < 60_000) return small.seconds(value / 1000);
    const seconds = Math.round(value / 1000);
    const at = UNITS.findIndex(([, least]) => seconds >= least);
    const [unit, size] = UNITS[at] ?? ['second', 1];
    const [below, part] = UNITS[at + 1] ?? ['second', 1];
    const rest = Math.floor((seconds % size) / part);
    const whole = ofTime(unit, Math.floor(seconds / size));
    return rest > 0 ? `${whole} ${ofTime(below, rest)}` : whole;
  };
  const bytes = (value: number) => {
    const at = Math.min(Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)), BYTES.length - 1);
    return sizes[at]?.(value / 1000 ** at) ?? '';
  };
  const money = (amount: number, symbol: string) => {
    const isTiny = amount !== 0 && Math.abs(amount) < 0.01;
    return `${isTiny ? tiny(amount) : Number.isInteger(amount) ? number(amount) : cents(amount)} ${symbol}`;
  };
  const byUnit: Record<Unit, (value: number) => string> = {
    share: percent,
    celsius: (value) => `${number(value, 1)} °C`,
    milliseconds,
    seconds: (value) => milliseconds(value * 1000),
    bytes,
    none: (value) => number(value, 1),
  };
  return {
    number,
    percent,
    milliseconds,
    duration,
    money,
    bytes,
    measured: (field, value) => byUnit[unitOf(field)](value),
    plural(count, text) {
      const choices = text.split('|');
      const at = order.indexOf(plurals.select(count) as (typeof order)[number]);
      return choices[Math.min(Math.max(0, at), choices.length - 1)] ?? text;
    },
  };
}
