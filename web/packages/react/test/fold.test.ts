import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { share } from '../src/fold.js';
import { applyChange, type Change, type Layers } from '../src/index.js';
import { randomOf, World } from './world.js';

interface Vector {
  name: string;
  before: Layers;
  changes: Change[];
  after: Layers;
}

// The same that the server's fold is tried with.
const folder = new URL('../../../../tests/vectors/', import.meta.url);
const vectors: Vector[] = ['fold.json', 'fold-random.json'].flatMap((file) =>
  JSON.parse(readFileSync(new URL(file, folder), 'utf8')),
);

test.each(vectors)('shared vector: $name', ({ before, changes, after }) => {
  const untouched = structuredClone(before);
  expect(changes.reduce(applyChange, before)).toStrictEqual(after);
  expect(before).toStrictEqual(untouched);
});

/** What the plain fold of world.ts makes of changes by chance. */
function randomVector(seed: number): string {
  const world = new World(randomOf(seed));
  const append = (count: number) => {
    for (let i = 0; i < count; i++) world.append();
    return world.mapAt(world.cursorAt(world.head));
  };
  const before = append(seed % 20);
  const start = world.head;
  const after = append(6);
  const changes = world.events.slice(start).flatMap((event) => JSON.parse(event).changes);
  return JSON.stringify({ name: `by chance, seed ${seed}`, before, changes, after });
}

test('the vectors by chance are those of their seeds; `UPDATE_VECTORS=1 npx vitest run test/fold.test.ts` writes them', () => {
  const lines = Array.from({ length: 40 }, (_, seed) => randomVector(seed));
  const file = new URL('fold-random.json', folder);
  const text = `[\n${lines.join(',\n')}\n]\n`;
  if (process.env.UPDATE_VECTORS) writeFileSync(file, text);
  expect(readFileSync(file, 'utf8')).toBe(text);
});

function layersOf(agents: object[]): Layers {
  return { agents: { items: agents }, nodes: { items: [] } } as unknown as Layers;
}

test('what a change does not touch keeps its identity', () => {
  const before = layersOf([{ id: 'agent:a', usage: {} }, { id: 'agent:b' }]);
  const patch = { status: 'error' };
  const after = applyChange(before, { op: 'upsert', layer: 'agents', type: 'agent', id: 'agent:b', patch });
  expect(after).not.toBe(before);
  expect(after.nodes).toBe(before.nodes);
  expect(after.agents?.items[0]).toBe(before.agents?.items[0]);
  expect(after.agents?.items[1]).not.toBe(before.agents?.items[1]);
});

test.each<Change>([
  { op: 'upsert', layer: 'agents', type: 'agent', id: 'agent:a', patch: { status: 'idle', usage: { calls: 1 } } },
  { op: 'remove', layer: 'agents', type: 'agent', id: 'agent:z' },
  { op: 'totals', layer: 'agents', patch: {} },
])('a change that changes nothing ($op) gives the same object', (change) => {
  const before = layersOf([{ id: 'agent:a', status: 'idle', usage: { calls: 1 } }]);
  expect(applyChange(before, change)).toBe(before);
});

test('a field called __proto__ is a field, and no prototype', () => {
  const patch = JSON.parse('{"__proto__": {"polluted": true}}');
  const before = layersOf([{ id: 'agent:a' }]);
  const after = applyChange(before, { op: 'upsert', layer: 'agents', type: 'agent', id: 'agent:a', patch });
  const item = after.agents?.items[0] as object;
  expect(Object.keys(item)).toContain('__proto__');
  expect(Object.getPrototypeOf(item)).toBe(Object.prototype);
});

test('a fresh snapshot shares what is equal, found by id, with the one before', () => {
  const a = { id: 'a', deep: { list: [1, 2] } };
  const before = { items: [a, { id: 'b', n: 1 }, { id: 'c' }] };
  const after = share(before, structuredClone({ items: [{ id: '0' }, a, { id: 'b', n: 2 }, { id: 'c' }] }));
  expect(after).toStrictEqual({ items: [{ id: '0' }, a, { id: 'b', n: 2 }, { id: 'c' }] });
  expect(after.items[1]).toBe(a);
  expect(after.items[3]).toBe(before.items[2]);
  expect(share(before, structuredClone(before))).toBe(before);
});
