import { findEntity, type Snapshot } from '@living-map/react';
import { describe, expect, test } from 'vitest';
import { countBuckets } from '../src/density';
import { en, type Key } from '../src/i18n/en';
import { loadTexts, textOf } from '../src/i18n/text';
import { uk } from '../src/i18n/uk';
import { factsOf } from '../src/panels/facts';
import { network } from './network';

await loadTexts('uk');

const gaps = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort();

describe('translations', () => {
  test('have the same keys', () => {
    expect(Object.keys(uk).sort()).toEqual(Object.keys(en).sort());
    expect(Object.entries(uk).filter(([, text]) => text.trim() === '')).toEqual([]);
  });

  test.each(Object.keys(en) as Key[])('%s has equal placeholders and all plural forms', (key) => {
    expect(gaps(uk[key])).toEqual(gaps(en[key]));
    const forms = (text: string) => text.split('|').length;
    if (forms(en[key]) > 1 || forms(uk[key]) > 1) expect([forms(en[key]), forms(uk[key])]).toEqual([2, 3]);
  });
});

describe('texts', () => {
  test('use the plural form of the count', () => {
    const attempts = (language: 'en' | 'uk') =>
      [1, 2, 5, 21].map((count) => textOf(language).t('letters.attempts', { count }));
    expect(attempts('en')).toEqual(['1 attempt', '2 attempts', '5 attempts', '21 attempts']);
    expect(attempts('uk')).toEqual(['1 спроба', '2 спроби', '5 спроб', '21 спроба']);
  });

  test('parameters are inserted literally', () => {
    expect(textOf('en').t('failed', { error: '{error} $& <b>' })).toBe('Server error: {error} $& <b>');
  });

  test('unknown keys fall back to the raw value', () => {
    expect(textOf('uk').maybe('type.agent', 'agent')).toBe('агент');
    expect(textOf('uk').maybe('type.sleeping', 'sleeping')).toBe('sleeping');
    expect(textOf('en').maybe('toString', 'x')).toBe('x');
  });

  test('durations use their largest unit', () => {
    const { duration } = textOf('en');
    expect([0.2, 59, 61, 7200, 200_000].map(duration)).toEqual(['0 sec', '59 sec', '1 min', '2 hr', '2 days']);
  });

  test('an invalid time is shown as it is', () => {
    expect(textOf('en').clock('soon')).toBe('soon');
  });
});

test('facts have units; unknown fields are omitted', () => {
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
    Uptime: '2 hr 1 min',
  });
  expect(facts('node:00000')).not.toHaveProperty('Memory');
  expect(facts('agent:00000')).toMatchObject({ 'Tokens, 24 h': '900', 'Response time': '812 ms' });
  expect(facts('microdao:0')).toMatchObject({ Treasury: '1.50 DAAR', Members: '3' });
});

test('events outside the range are not counted', () => {
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
