import { expect, test } from 'vitest';
import { NO_FILTER } from '../src/filter';
import { diagramOf } from '../src/layout/diagram';
import { networkState } from '../src/network/state';
import { COLOURS, type Palette, parse } from '../src/picture/palette';
import { reuseEqualStyle, styleOf } from '../src/picture/style';
import { network } from './network';

const palette = Object.fromEntries(COLOURS.map((name, at) => [name, parse(`#0000${at.toString(16)}0`)])) as Palette;
/** A moment at which nobody has been active for long. */
const LATER = Date.parse('2027-01-01T00:00:00Z');
const layers = network(2, 20, 3);
const styleFor = (map: typeof layers) =>
  styleOf(diagramOf(map, 'agents'), networkState(map, [], LATER), palette, NO_FILTER);

test('an equal style keeps its identity', () => {
  const before = styleFor(layers);
  const busier = structuredClone(layers);
  for (const agent of busier.agents?.items ?? []) agent.last_active = '2026-01-19T12:00:00Z';
  expect(reuseEqualStyle(before, styleFor(busier))).toBe(before);
});

test('a failing agent and its district have rings', () => {
  const ailing = structuredClone(layers);
  const [first] = ailing.agents?.items ?? [];
  if (first) first.status = 'error';
  const { troubled, troubles } = styleOf(
    diagramOf(ailing, 'city'),
    networkState(ailing, [], LATER),
    palette,
    NO_FILTER,
  );
  expect(troubled).toEqual([first?.id, first?.microdao_id]);
  expect(troubles).toEqual(['failing', 'failing']);
});

test('a new status, filter or agent changes the style', () => {
  const before = styleFor(layers);
  const ailing = structuredClone(layers);
  const [first] = ailing.agents?.items ?? [];
  if (first) first.status = 'error';
  expect(reuseEqualStyle(before, styleFor(ailing))).not.toBe(before);
  const state = networkState(layers, [], LATER);
  const filtered = styleOf(diagramOf(layers, 'agents'), state, palette, { ...NO_FILTER, kind: 'nobody' });
  expect(reuseEqualStyle(before, filtered)).not.toBe(before);
  expect(reuseEqualStyle(before, styleFor(network(2, 21, 3)))).not.toBe(before);
  expect(reuseEqualStyle(null, before)).toBe(before);
});
