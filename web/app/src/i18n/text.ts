/** Localized texts with placeholders, numbers and times. */

import { en, type Key } from './en';
import { makeNumbers, type Numbers } from './numbers';

export type Language = 'en' | 'uk';
export type Parameters = Record<string, string | number>;

type Texts = Record<Key, string>;

/** Texts of the languages that are loaded. */
const texts: Partial<Record<Language, Texts>> & { readonly en: Texts } = { en };

/** Loads the texts of a language, which `textOf` needs. */
export async function loadTexts(language: Language): Promise<void> {
  if (language === 'uk') texts.uk ??= (await import('./uk')).uk;
}

export interface Text extends Numbers {
  language: Language;
  t: (key: Key, parameters?: Parameters) => string;
  /** Fills a text that is no key: its placeholders, and by `count` its plural form. */
  fill: (text: string, parameters: Parameters) => string;
  /** Translates a key that may be unknown; falls back to `otherwise`. */
  maybe: (key: string, otherwise: string) => string;
  clock: (time: string | number, withDay?: boolean) => string;
}

function makeText(language: Language, own: Texts): Text {
  const numbers = makeNumbers(language);
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

  const fill = (text: string, parameters: Parameters) => {
    const { count } = parameters;
    const chosen = typeof count === 'number' ? numbers.plural(count, text) : text;
    return chosen.replace(/\{(\w+)\}/g, (gap, name: string) => {
      const value = parameters[name];
      if (value === undefined) return gap;
      return typeof value === 'number' ? numbers.number(value) : value;
    });
  };

  return {
    ...numbers,
    language,
    fill,
    t: (key, parameters = {}) => fill(own[key], parameters),
    maybe: (key, otherwise) => (Object.hasOwn(own, key) ? own[key as Key] : otherwise),
    clock(value, withDay = false) {
      const date = new Date(value);
      if (Number.isNaN(date.getTime())) return String(value);
      return (withDay ? day : time).format(date);
    },
  };
}

const made: Partial<Record<Language, Text>> = {};

/** The texts of a loaded language; English ones if it is not loaded. */
export function textOf(language: Language): Text {
  const own = texts[language];
  if (!own) return textOf('en');
  made[language] ??= makeText(language, own);
  return made[language];
}
