import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { share } from '../src/fold.js';
import { applyChange, type Change, type Layers } from '../src/index.js';

interface Vector {
  name: string;
  before: Layers;
  changes: Change[];
  after: Layers;
}

// The same that the server's fold and the page's are tried with.
const file = new URL('../../../../tests/vectors/fold.json', import.meta.url);
const vectors: Vector[] = JSON.parse(readFileSync(file, 'utf8'));

test.each(vectors)('shared vector: $name', ({ before, changes, after }) => {
  const untouched = structuredClone(before);
  expect(changes.reduce(applyChange, before)).toStrictEqual(after);
  expect(before).toStrictEqual(untouched);
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
