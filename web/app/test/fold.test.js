// @ts-check
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { apply, compareIds, listOf, merge } from '../static/fold.js';

/** @import { Change } from '../types.d.ts' */

/**
 * @param {string} id
 * @param {Record<string, unknown>} [patch]
 * @returns {Change}
 */
const agent = (id, patch = {}) => ({ op: 'upsert', layer: 'agents', type: 'agent', id, patch: { id, ...patch } });

test('null sets null, objects merge, lists are replaced whole', () => {
  const target = { a: 1, b: { c: 1, d: 2 }, e: [1, 2], f: 'x' };
  merge(target, { b: { c: 5 }, e: [], f: null, g: null });
  assert.deepEqual(target, { a: 1, b: { c: 5, d: 2 }, e: [], f: null, g: null });
});

test('an object replaces what is no object, and the other way round', () => {
  const target = { a: 1, b: { c: 1 }, d: [1] };
  merge(target, { a: { x: 1 }, b: 2, d: { y: 1 } });
  assert.deepEqual(target, { a: { x: 1 }, b: 2, d: { y: 1 } });
});

test('a patch stays what it was when the map goes on', () => {
  const layers = {};
  const first = agent('agent:a', { usage: { calls: 1 } });
  const kept = structuredClone(first);
  apply(layers, first);
  apply(layers, agent('agent:a', { usage: { calls: 2 } }));
  assert.deepEqual(first, kept);
  assert.deepEqual(layers, { agents: { items: [{ id: 'agent:a', usage: { calls: 2 } }] } });
});

test('lists stay ordered by id, whatever the order of arrival', () => {
  const layers = {};
  for (const id of ['agent:b', 'agent:a', 'agent:c']) apply(layers, agent(id));
  apply(layers, { op: 'remove', layer: 'agents', type: 'agent', id: 'agent:b' });
  apply(layers, { op: 'remove', layer: 'agents', type: 'agent', id: 'agent:never-there' });
  assert.deepEqual(layers, { agents: { items: [{ id: 'agent:a' }, { id: 'agent:c' }] } });
});

test('the order of ids is that of their UTF-8 bytes, as on the server', () => {
  const ids = ['a', 'ab', 'b', 'é', '\ud7ff', '\ue000', '\uffff', '😀', '😁', ''];
  const byBytes = ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual(ids.toSorted(compareIds), byBytes);
});

test('each type goes into its list', () => {
  assert.equal(listOf('space', 'dao'), 'planets');
  assert.equal(listOf('space', 'node'), 'nodes');
  assert.equal(listOf('nodes', 'node'), 'items');
  assert.equal(listOf('city', 'channel'), 'channels');
  assert.equal(listOf('city', 'microdao'), 'items');
});

test('totals touch no list, and a layer that was not asked for stays away', () => {
  const layers = { agents: { items: [], total_agents: 1 }, city: null };
  apply(layers, { op: 'totals', layer: 'agents', patch: { total_agents: 2 } });
  apply(layers, { op: 'totals', layer: 'city', patch: { microdaos_total: 9 } });
  assert.deepEqual(layers, { agents: { items: [], total_agents: 2 }, city: null });
});

test('a field called __proto__ is a field like any other', () => {
  const target = {};
  merge(target, JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"x": 1}}'));
  assert.equal(Object.getPrototypeOf(target), Object.prototype);
  assert.equal(/** @type {any} */ ({}).polluted, undefined);
  assert.equal(JSON.stringify(target), '{"__proto__":{"polluted":true},"constructor":{"x":1}}');
});

// [{name, before, changes, after}]: what a snapshot's layers were and are after the changes.
const vectors = new URL('../../../tests/vectors/fold.json', import.meta.url);

for (const { name, before, changes, after } of JSON.parse(readFileSync(vectors, 'utf8'))) {
  test(`as on the server: ${name}`, () => {
    for (const change of changes) apply(before, change);
    assert.deepEqual(before, after);
  });
}
