/** Contrast of the design tokens, in both themes (WCAG 2.1 AA). */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CONDITIONS } from '../src/network/condition';
import { parse } from '../src/picture/palette';

const css = readFileSync(new URL('../src/styles/tokens.css', import.meta.url), 'utf8');

function tokensIn(selector: string): Map<string, string> {
  const body = css.slice(css.indexOf(`${selector} {`)).split('}')[0] ?? '';
  return new Map([...body.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map(([, name = '', value = '']) => [name, value]));
}

const themes = {
  light: tokensIn(':root[data-theme="light"]'),
  dark: tokensIn(':root[data-theme="dark"]'),
};

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = parse(colour).map((channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [lighter = 0, darker = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (lighter + 0.05) / (darker + 0.05);
}

const TEXT = ['ink', 'muted', 'accent', 'working', 'warning', 'failing'];
const GROUNDS = ['surface', 'raised'];
const MARK_GROUNDS = ['slab', 'surface'];

test.each(['light', 'dark'] as const)('%s: text has 4.5:1, marks 3:1', (theme) => {
  const tokens = themes[theme];
  const of = (name: string) => tokens.get(name) ?? '';
  expect(tokens.size).toBeGreaterThan(15);
  const poor: string[] = [];
  const check = (names: readonly string[], grounds: readonly string[], least: number) => {
    for (const name of names)
      for (const ground of grounds) {
        const found = contrast(of(name), of(ground));
        if (found < least) poor.push(`${name} on ${ground}: ${found.toFixed(2)}`);
      }
  };
  check(TEXT, GROUNDS, 4.5);
  check(['on-accent'], ['accent'], 4.5);
  check(CONDITIONS, MARK_GROUNDS, 3);
  expect(poor).toEqual([]);
});

test('the dark theme of the system and the chosen one are equal', () => {
  const system = tokensIn(':root:not([data-theme="light"])');
  expect(system).toEqual(themes.dark);
});
