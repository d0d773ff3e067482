import { findEntity, type Snapshot } from '@living-map/react';
import { describe, expect, test } from 'vitest';
import { countBuckets } from '../src/density';
import { en, type Key } from '../src/i18n/en';
import { textOf } from '../src/i18n/text';
import { uk } from '../src/i18n/uk';
import { factsOf } from '../src/panels/facts';
import { network } from './network';

const gaps = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort();

describe('translations', () => {
  test('are complete, and none is left over', () => {
    expect(Object.keys(uk).sort()).toEqual(Object.keys(en).sort());
    expect(Object.entries(uk).filter(([, text]) => text.trim() === '')).toEqual([]);
  });

  test.each(Object.keys(en) as Key[])('%s has the same gaps, and all forms it needs', (key) => {
    expect(gaps(uk[key])).toEqual(gaps(en[key]));
    const forms = (text: string) => text.split('|').length;
    if (forms(en[key]) > 1 || forms(uk[key]) > 1) expect([forms(en[key]), forms(uk[key])]).toEqual([2, 3]);
  });
});

describe('words', () => {
  test('are in the form that the count asks for', () => {
    const attempts = (language: 'en' | 'uk') =>
      [1, 2, 5, 21].map((count) => textOf(language).t('letters.attempts', { count }));
    expect(attempts('en')).toEqual(['1 attempt', '2 attempts', '5 attempts', '21 attempts']);
    expect(attempts('uk')).toEqual(['1 спроба', '2 спроби', '5 спроб', '21 спроба']);
  });

  test('what fills a gap is taken as it is', () => {
    expect(textOf('en').t('failed', { error: '{error} $& <b>' })).toBe('Server error: {error} $& <b>');
  });

  test('unknown words are shown as they came', () => {
    expect(textOf('uk').maybe('status.online', 'online')).toBe('на зв’язку');
    expect(textOf('uk').maybe('status.sleeping', 'sleeping')).toBe('sleeping');
    expect(textOf('en').maybe('toString', 'x')).toBe('x');
  });

  test('lengths of time are in their largest unit', () => {
    const { duration } = textOf('en');
    expect([0.2, 59, 61, 7200, 200_000].map(duration)).toEqual(['0 sec', '59 sec', '1 min', '2 hr', '2 days']);
  });

  test('a time that is none is shown as it came', () => {
    expect(textOf('en').clock('soon')).toBe('soon');
  });
});

test('facts are numbers with their units, and what is unknown is left out', () => {
  const layers = network(1, 1, 1);
  const facts = (id: string) => {
    const entity = findEntity({ layers } as Snapshot, id);
    if (!entity) throw new Error(id);
    return Object.fromEntries(factsOf(entity, textOf('en')).map(({ name, value }) => [name, value]));
  };
  expect(facts('node:00000')).toMatchObject({
    CPU: '50%',
    GPU: '95%',
    Temperature: '61 °C',
    Latency: '12 ms',
    Uptime: '2 hr',
  });
  expect(facts('node:00000')).not.toHaveProperty('Memory');
  expect(facts('agent:00000')).toMatchObject({ 'Tokens, 24 h': '900', 'Response time': '812 ms' });
  expect(facts('microdao:0')).toMatchObject({ Treasury: '1.50 DAAR', Members: '3' });
});

test('events are counted where they happened, and outside the range not at all', () => {
  const times = [
    [-1, 5],
    [0, 1],
    [49, 2],
    [50, 4],
    [99, 8],
    [100, 16],
    [Number.NaN, 32],
  ] as const;
  expect(countBuckets(times, 0, 100, 2)).toEqual([3, 12]);
});
