import { expect, test } from 'vitest';
import { NO_FILTER } from '../src/filter';
import { diagramOf } from '../src/layout/diagram';
import { type Palette, parse } from '../src/picture/palette';
import { reuseEqualStyle, styleOf } from '../src/picture/style';
import { network } from './network';

const NAMES = ['ground', 'surface', 'disc', 'line', 'ink', 'muted', 'accent', 'ok', 'warn', 'bad', 'quiet'] as const;
const palette = Object.fromEntries(NAMES.map((name, at) => [name, parse(`#0000${at}0`)])) as Palette;
const layers = network(2, 20, 3);
const styleFor = (map: typeof layers) => styleOf(diagramOf(map, 'agents'), map, palette, NO_FILTER);

test('an equal style keeps its identity', () => {
  const before = styleFor(layers);
  const busier = structuredClone(layers);
  for (const agent of busier.agents?.items ?? []) agent.last_active = '2026-01-19T12:00:00Z';
  expect(reuseEqualStyle(before, styleFor(busier))).toBe(before);
});

test('a new status, filter or agent changes the style', () => {
  const before = styleFor(layers);
  const ailing = structuredClone(layers);
  const [first] = ailing.agents?.items ?? [];
  if (first) first.status = 'error';
  expect(reuseEqualStyle(before, styleFor(ailing))).not.toBe(before);
  const filtered = styleOf(diagramOf(layers, 'agents'), layers, palette, { ...NO_FILTER, kind: 'nobody' });
  expect(reuseEqualStyle(before, filtered)).not.toBe(before);
  expect(reuseEqualStyle(before, styleFor(network(2, 21, 3)))).not.toBe(before);
  expect(reuseEqualStyle(null, before)).toBe(before);
});
