/** Search over the map by id, name in any script, and transliteration. */

import type { Layers } from '@living-map/react';
import { allEntities, type Item } from './entities';

/** Latin letters of Ukrainian ones, by the national system of 2010 without its rules for the start of a word. */
const LATIN: Record<string, string> = {
  а: 'a',
  б: 'b',
  в: 'v',
  г: 'h',
  ґ: 'g',
  д: 'd',
  е: 'e',
  є: 'ie',
  ж: 'zh',
  з: 'z',
  и: 'y',
  і: 'i',
  ї: 'i',
  й: 'i',
  к: 'k',
  л: 'l',
  м: 'm',
  н: 'n',
  о: 'o',
  п: 'p',
  р: 'r',
  с: 's',
  т: 't',
  у: 'u',
  ф: 'f',
  х: 'kh',
  ц: 'ts',
  ч: 'ch',
  ш: 'sh',
  щ: 'shch',
  ь: '',
  ю: 'iu',
  я: 'ia',
  '’': '',
  "'": '',
};

/** Text in lower case, Latin letters, without accents; words separated by one space. */
export function folded(text: string): string {
  const latin = [...text.toLocaleLowerCase()].map((letter) => LATIN[letter] ?? letter).join('');
  return latin
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .replace(/[\s_-]+/g, ' ')
    .trim();
}

const cache = new WeakMap<Item, { name: string; id: string }>();

function keysOf(item: Item) {
  const known = cache.get(item) ?? { name: folded(item.label), id: item.id.toLocaleLowerCase() };
  cache.set(item, known);
  return known;
}

/** Entities whose name or id contains `text`; names that start with it first. */
export function search(layers: Layers | null, text: string, limit: number): Item[] {
  const wanted = folded(text);
  const id = text.trim().toLocaleLowerCase();
  if (!id) return [];
  const begins: Item[] = [];
  const contains: Item[] = [];
  for (const item of allEntities(layers)) {
    const keys = keysOf(item);
    if (wanted && keys.name.startsWith(wanted)) begins.push(item);
    else if ((wanted && keys.name.includes(wanted)) || keys.id.includes(id)) contains.push(item);
    if (begins.length >= limit) break;
  }
  return [...begins, ...contains].slice(0, limit);
}
