import type { Layers } from '@living-map/react';
import { describe, expect, test } from 'vitest';
import { type Arrangement, arrange } from '../src/layout/arrange';
import { type Diagram, diagramOf, hasSameLayout, NONE, usageSize } from '../src/layout/diagram';
import { layoutInputOf } from '../src/layout/input';
import { agent, network } from './network';

const laidOut = (layers: Layers, layer: Diagram['layer']) => {
  const diagram = diagramOf(layers, layer);
  return { diagram, arrangement: arrange(layoutInputOf(diagram)) };
};

const circle = (circles: Float32Array, at: number) => {
  const [x = Number.NaN, y = Number.NaN, r = Number.NaN] = circles.subarray(at * 3, at * 3 + 3);
  return { x, y, r };
};

/** Number of overlapping marks, by a sweep line, which is fast for thousands. */
function overlaps(marks: Float32Array): number {
  const circles = Array.from({ length: marks.length / 3 }, (_, at) => circle(marks, at)).sort((a, b) => a.x - b.x);
  let found = 0;
  for (const [at, a] of circles.entries()) {
    for (const b of circles.slice(at + 1)) {
      if (b.x - a.x > 20) break;
      if (Math.hypot(a.x - b.x, a.y - b.y) < a.r + b.r - 1e-2) found += 1;
    }
  }
  return found;
}

function outside({ diagram, arrangement }: { diagram: Diagram; arrangement: Arrangement }): string[] {
  return diagram.marks
    .filter(({ group }, at) => {
      const mark = circle(arrangement.marks, at);
      const around = circle(
        arrangement.groups,
        diagram.groups.findIndex(({ id }) => id === group),
      );
      return Math.hypot(mark.x - around.x, mark.y - around.y) + mark.r > around.r + 1e-2;
    })
    .map(({ key }) => key);
}

describe.each([
  [0, 0, 0],
  [1, 1, 1],
  [6, 60, 12],
  [12, 3000, 40],
])('%i microDAOs, %i agents, %i nodes', (microdaos, agents, nodes) => {
  const layers = network(microdaos, agents, nodes);

  test.each(['city', 'nodes', 'agents'] as const)('%s: marks are inside their group and do not overlap', (layer) => {
    const made = laidOut(layers, layer);
    expect([...made.arrangement.marks].every(Number.isFinite)).toBe(true);
    expect(outside(made)).toEqual([]);
    expect(overlaps(made.arrangement.marks)).toBe(0);
  });

  test('space: nodes are on rings of their planet, without overlap', () => {
    const { diagram, arrangement } = laidOut(layers, 'space');
    expect(diagram.marks.length).toBeGreaterThanOrEqual(nodes);
    expect(overlaps(arrangement.marks)).toBe(0);
    const rings = Array.from({ length: arrangement.rings.length / 3 }, (_, at) => circle(arrangement.rings, at));
    for (let at = 0; at < diagram.marks.length; at++) {
      const mark = circle(arrangement.marks, at);
      const off = rings.map(({ x, y, r }) => Math.abs(Math.hypot(mark.x - x, mark.y - y) - r));
      expect(Math.min(...off)).toBeLessThan(1e-2);
    }
  });

  test.each(['city', 'space', 'nodes', 'agents'] as const)('%s: everything is within the bounds', (layer) => {
    const { arrangement } = laidOut(layers, layer);
    const [left, top, right, bottom] = arrangement.bounds;
    for (let at = 0; at < arrangement.marks.length / 3; at++) {
      const { x, y } = circle(arrangement.marks, at);
      expect(x >= left && x <= right && y >= top && y <= bottom).toBe(true);
    }
  });
});

test('equal maps have equal layouts', () => {
  const a = laidOut(network(6, 200, 12), 'city').arrangement;
  const b = laidOut(network(6, 200, 12), 'city').arrangement;
  expect(a).toEqual(b);
});

test('a changed status keeps the layout', () => {
  const before = network(3, 20, 4);
  const agents = before.agents?.items ?? [];
  const after = {
    ...before,
    agents: before.agents && {
      ...before.agents,
      items: agents.map((item, at) => (at === 3 ? { ...item, status: 'error' as const } : item)),
    },
  };
  for (const layer of ['city', 'agents'] as const) {
    expect(hasSameLayout(diagramOf(before, layer), diagramOf(after, layer))).toBe(true);
  }
});

test('a moved, added or removed entity changes the layout', () => {
  const before = network(3, 20, 4);
  const diagram = diagramOf(before, 'city');
  const [first, ...rest] = before.agents?.items ?? [];
  if (!first || !before.agents) throw new Error('no agents');
  const moved = { ...before, agents: { ...before.agents, items: [{ ...first, microdao_id: 'microdao:2' }, ...rest] } };
  const gone = { ...before, agents: { ...before.agents, items: rest } };
  expect(hasSameLayout(diagram, diagramOf(moved, 'city'))).toBe(false);
  expect(hasSameLayout(diagram, diagramOf(gone, 'city'))).toBe(false);
});

describe('an agent that comes or goes', () => {
  /** Positions by key, relative to a mark's group or absolute for a group. */
  const placesOf = (layers: Layers) => {
    const { diagram, arrangement } = laidOut(layers, 'city');
    const marks = new Map(diagram.marks.map(({ key }, at) => [key, circle(arrangement.marks, at)]));
    const groups = new Map(diagram.groups.map(({ id }, at) => [id, circle(arrangement.groups, at)]));
    return { diagram, marks, groups };
  };
  const withAgents = (layers: Layers, items: NonNullable<Layers['agents']>['items']): Layers => ({
    ...layers,
    agents: layers.agents && { ...layers.agents, items },
  });

  test.each([60, 1000, 10_000])('moves nothing outside its district, with %i agents', (count) => {
    let random = count;
    const next = (limit: number) => {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
      return random % limit;
    };
    const layers = network(17, count, 0);
    const items = layers.agents?.items ?? [];
    const before = placesOf(layers);
    for (let round = 0; round < 20; round++) {
      const at = next(items.length);
      const district = items[at]?.microdao_id ?? '';
      const added = agent(`agent:new-${round}`, district);
      const changed = round % 2 === 0 ? items.toSpliced(at, 1) : items.toSpliced(at, 0, added);
      const after = placesOf(withAgents(layers, changed));
      if (before.groups.get(district)?.r !== after.groups.get(district)?.r) continue;
      expect(after.groups).toEqual(before.groups);
      const moved = after.diagram.marks.filter(({ key, group }) => {
        const [now, then] = [after.marks.get(key), before.marks.get(key)];
        return group !== district && (now?.x !== then?.x || now?.y !== then?.y);
      });
      expect(moved).toEqual([]);
    }
  });
});

test('entities without a known microDAO are in one separate group', () => {
  const layers = network(2, 4, 0);
  const items = [agent('agent:a', null), agent('agent:b', 'microdao:unknown')];
  const diagram = diagramOf({ ...layers, agents: layers.agents && { ...layers.agents, items } }, 'city');
  expect(diagram.marks.filter(({ group }) => group === NONE).map(({ key }) => key)).toEqual(['agent:a', 'agent:b']);
  expect(diagram.groups.at(-1)?.id).toBe(NONE);
});

test('an agent grows in steps with its calls', () => {
  const size = (calls: number) => {
    const one = agent('agent:a', null);
    return usageSize({ ...one, usage: { ...one.usage, llm_calls_24h: calls } });
  };
  expect(size(0)).toBe(size(1));
  expect(size(100)).toBe(size(101));
  expect(size(1000)).toBeGreaterThan(size(100));
  expect(size(1e12)).toBeLessThan(4);
});
