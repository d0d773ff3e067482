/** Localized texts with placeholders, numbers and times. */

import { en, type Key } from './en';
import { uk } from './uk';

export type Language = 'en' | 'uk';
export type Parameters = Record<string, string | number>;

const texts: Record<Language, Record<Key, string>> = { en, uk };

export interface Text {
  language: Language;
  t: (key: Key, parameters?: Parameters) => string;
  /** Translates a key that may be unknown; falls back to `otherwise`. */
  maybe: (key: string, otherwise: string) => string;
  number: (value: number, digits?: number) => string;
  percent: (part: number) => string;
  /** A short duration: milliseconds, then seconds with one digit, then its largest unit. */
  milliseconds: (value: number) => string;
  /** A duration in its largest unit. */
  duration: (seconds: number) => string;
  clock: (time: string | number, withDay?: boolean) => string;
}

const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;

function makeText(language: Language): Text {
  const plurals = new Intl.PluralRules(language);
  const forms = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
  // Plural forms in the order of the texts: one, few, many, other.
  const order = (['one', 'few', 'many', 'other'] as const).filter((form) => forms.includes(form));
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const fine = [0, 1, 2].map((digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }));
  const share = new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 });
  const time = new Intl.DateTimeFormat(language, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  const day = new Intl.DateTimeFormat(language, {
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });

  const unitOf = (unit: string, digits: number) =>
    new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: digits });
  const lengths = Object.fromEntries(UNITS.map(([unit]) => [unit, unitOf(unit, 0)]));
  const small = { millisecond: unitOf('millisecond', 0), second: unitOf('second', 1) };
  const duration = (seconds: number) => {
    const [unit, size] = UNITS.find(([, least]) => seconds >= least) ?? ['second', 1];
    return lengths[unit]?.format(Math.round(seconds / size)) ?? '';
  };

  const fill = (text: string, parameters: Parameters) => {
    const choices = text.split('|');
    const { count } = parameters;
    const at = typeof count === 'number' ? order.indexOf(plurals.select(count) as (typeof order)[number]) : 0;
    const chosen = choices[Math.min(Math.max(0, at), choices.length - 1)] ?? text;
    return chosen.replace(/\{(\w+)\}/g, (gap, name: string) => {
      const value = parameters[name];
      if (value === undefined) return gap;
      return typeof value === 'number' ? whole.format(value) : value;
    });
  };

  return {
    language,
    t: (key, parameters = {}) => fill(texts[language][key], parameters),
    maybe: (key, otherwise) => (Object.hasOwn(texts[language], key) ? texts[language][key as Key] : otherwise),
    number: (value, digits = 0) => (fine[digits] ?? whole).format(value),
    percent: (part) => share.format(part),
    duration,
    milliseconds(value) {
      if (value < 1000) return small.millisecond.format(value);
      return value < 60_000 ? small.second.format(value / 1000) : duration(value / 1000);
    },
    clock(value, withDay = false) {
      const date = new Date(value);
      if (Number.isNaN(date.getTime())) return String(value);
      return (withDay ? day : time).format(date);
    },
  };
}

const made: Partial<Record<Language, Text>> = {};

export function textOf(language: Language): Text {
  const text = made[language] ?? makeText(language);
  made[language] = text;
  return text;
}
