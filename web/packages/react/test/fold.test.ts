import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { reuseEqual } from '../src/fold.js';
import { applyChange, type Change, type Layers } from '../src/index.js';
import { randomOf, SimulatedServer } from './simulated-server.js';

interface Vector {
  name: string;
  before: Layers;
  changes: Change[];
  after: Layers;
}

// Test vectors shared with the server's fold.
const folder = new URL('../../../../tests/vectors/', import.meta.url);
const vectors: Vector[] = ['fold.json', 'fold-random.json'].flatMap((file) =>
  JSON.parse(readFileSync(new URL(file, folder), 'utf8')),
);

test.each(vectors)('shared vector: $name', ({ before, changes, after }) => {
  const untouched = structuredClone(before);
  expect(changes.reduce(applyChange, before)).toStrictEqual(after);
  expect(before).toStrictEqual(untouched);
});

/** Random changes and their result by the reference fold of simulated-server.ts. */
function randomVector(seed: number): string {
  const server = new SimulatedServer(randomOf(seed));
  const append = (count: number) => {
    for (let i = 0; i < count; i++) server.append();
    return server.mapAt(server.cursorAt(server.head));
  };
  const before = append(seed % 20);
  const start = server.head;
  const after = append(6);
  const changes = server.events.slice(start).flatMap((event) => JSON.parse(event).changes);
  return JSON.stringify({ name: `by chance, seed ${seed}`, before, changes, after });
}

/** `UPDATE_VECTORS=1 npx vitest run test/fold.test.ts` writes the file. */
test('the random vectors match their seeds', () => {
  const lines = Array.from({ length: 40 }, (_, seed) => randomVector(seed));
  const file = new URL('fold-random.json', folder);
  const text = `[\n${lines.join(',\n')}\n]\n`;
  if (process.env.UPDATE_VECTORS) writeFileSync(file, text);
  expect(readFileSync(file, 'utf8')).toBe(text);
});

function layersOf(agents: object[]): Layers {
  return { agents: { items: agents }, nodes: { items: [] } } as unknown as Layers;
}

test('unchanged parts keep their identity', () => {
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

test('a field named __proto__ is an ordinary field', () => {
  const patch = JSON.parse('{"__proto__": {"polluted": true}}');
  const before = layersOf([{ id: 'agent:a' }]);
  const after = applyChange(before, { op: 'upsert', layer: 'agents', type: 'agent', id: 'agent:a', patch });
  const item = after.agents?.items[0] as object;
  expect(Object.keys(item)).toContain('__proto__');
  expect(Object.getPrototypeOf(item)).toBe(Object.prototype);
});

test('equal items of a new snapshot keep their identity, by id', () => {
  const a = { id: 'a', deep: { list: [1, 2] } };
  const before = { items: [a, { id: 'b', n: 1 }, { id: 'c' }] };
  const after = reuseEqual(before, structuredClone({ items: [{ id: '0' }, a, { id: 'b', n: 2 }, { id: 'c' }] }));
  expect(after).toStrictEqual({ items: [{ id: '0' }, a, { id: 'b', n: 2 }, { id: 'c' }] });
  expect(after.items[1]).toBe(a);
  expect(after.items[3]).toBe(before.items[2]);
  expect(reuseEqual(before, structuredClone(before))).toBe(before);
});
