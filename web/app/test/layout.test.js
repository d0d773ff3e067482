// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { layOut } from '../static/layout.js';

/** @import { Item } from '../types.d.ts' */

/**
 * @param {number} microdaos
 * @param {number} agents
 * @param {number} nodes
 */
function network(microdaos, agents, nodes) {
  /** @type {Record<string, Item[]>} */
  const lists = {
    city: Array.from({ length: microdaos }, (_, i) => ({ id: `microdao:${i}`, name: `m${i}` })),
    agents: Array.from({ length: agents }, (_, i) => ({
      id: `agent:${i}`,
      microdao_id: `microdao:${i % (microdaos + 1)}`,
    })),
    nodes: Array.from({ length: nodes }, (_, i) => ({ id: `node:${i}`, microdao_id: `microdao:${i % microdaos}` })),
    space: [],
  };
  return { list: (/** @type {string} */ layer) => lists[layer] ?? [] };
}

for (const [microdaos, agents, nodes] of /** @type {[number, number, number][]} */ ([
  [1, 1, 1],
  [10, 240, 22],
  [30, 2_000, 100],
  [12, 20_000, 40],
])) {
  test(`everything has a place in sight: ${agents} agents in ${microdaos} microDAOs`, () => {
    const [width, height] = [1000, 270];
    const { spots } = layOut(network(microdaos, agents, nodes), width, height);
    assert.equal(spots.size, microdaos + agents + nodes);
    for (const { id, x, y } of spots.values()) {
      assert.ok(x >= 0 && x <= width && y >= 0 && y <= height, `${id} is at ${x}, ${y}`);
    }
  });
}

test('the same network is drawn the same', () => {
  const draw = () => layOut(network(10, 240, 22), 900, 300);
  assert.deepEqual(draw(), draw());
});

test('an empty network is an empty picture', () => {
  assert.deepEqual(layOut({ list: () => [] }, 900, 300), { discs: [], spots: new Map() });
});
