import { describe, expect, test } from 'vitest';
import { allEntities, itemById, relationsOf } from '../src/entities';
import { MOVE_MS, Motion } from '../src/picture/motion';
import { nearest, neighbour } from '../src/picture/pick';
import { search } from '../src/search';
import { agent, network } from './network';

const layers = network(2, 4, 3);

describe('relations', () => {
  const of = (id: string) => {
    const item = itemById(layers, id);
    return item && relationsOf(layers, item).map(({ relation, item: { id: other } }) => `${relation} ${other}`);
  };

  test('of a microDAO', () => {
    expect(of('microdao:0')).toEqual([
      'governed_by dao:00000',
      'has channel:0',
      'has agent:00000',
      'has agent:00002',
      'has node:00000',
      'has node:00002',
    ]);
  });

  test('of a DAO, an agent and a node', () => {
    expect(of('dao:00000')).toEqual(['governs microdao:0', 'orbited_by node:00000']);
    expect(of('agent:00001')).toEqual(['belongs_to microdao:1']);
    expect(of('node:00001')).toEqual(['belongs_to microdao:1', 'orbits dao:00001']);
  });

  test('unknown entities have no relations', () => {
    expect(of('agent:nobody')).toBeNull();
  });
});

test('every entity is listed once', () => {
  const ids = allEntities(layers).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.length).toBe(2 + 2 + 2 + 4 + 3);
});

test('search ranks prefixes before other matches of name or id', () => {
  expect(search(layers, ' DAO ', 10).map(({ id }) => id)).toEqual([
    'dao:00000',
    'dao:00001',
    'microdao:0',
    'microdao:1',
  ]);
  expect(search(layers, 'channel:1', 10).map(({ id }) => id)).toEqual(['channel:1']);
  expect(search(layers, '', 10)).toEqual([]);
  expect(search(layers, 'a', 3).length).toBe(3);
});

test('names in Cyrillic are found in Latin letters', () => {
  const items = [agent('agent:m77', null), agent('agent:o4', null)];
  const [marta, oleh] = items;
  if (!marta || !oleh || !layers.agents) throw new Error('no agents');
  const named = {
    ...layers,
    agents: {
      ...layers.agents,
      items: [
        { ...marta, name: 'Марта 77' },
        { ...oleh, name: 'Zoë' },
      ],
    },
  };
  const found = (text: string) => search(named, text, 10).map(({ id }) => id);
  expect([found('marta 77'), found('МАРТА'), found('Marta-77'), found('m77')]).toEqual(Array(4).fill(['agent:m77']));
  expect(found('zoe')).toEqual(['agent:o4']);
});

describe('picking', () => {
  const circles = Float32Array.from([0, 0, 2, 10, 0, 2, 0, 10, 1]);

  test('finds the nearest circle within reach', () => {
    expect(nearest(circles, 1, 0, 0)).toBe(0);
    expect(nearest(circles, 7.5, 0, 1)).toBe(1);
    expect(nearest(circles, 5, 5, 0.5)).toBe(-1);
    expect(nearest(new Float32Array(), 0, 0, 9)).toBe(-1);
  });

  test('finds the nearest circle in a direction', () => {
    expect(neighbour(circles, [0, 0, 2], 1, 0)).toBe(1);
    expect(neighbour(circles, [0, 0, 2], 0, 1)).toBe(2);
    expect(neighbour(circles, [0, 0, 2], -1, 0)).toBe(-1);
    expect(neighbour(circles, null, 1, 0)).toBe(0);
  });
});

describe('motion', () => {
  test('known circles move, new ones grow, all reach their target', () => {
    const motion = new Motion();
    motion.moveTo(['a', 'b'], Float32Array.from([0, 0, 1, 5, 5, 1]), null);
    motion.moveTo(['b', 'c'], Float32Array.from([9, 9, 1, 3, 3, 2]), 1000);
    expect([...motion.current]).toEqual([5, 5, 1, 3, 3, 0]);
    expect(motion.indexOf('a')).toBe(-1);
    motion.step(1000 + MOVE_MS / 2);
    expect([...motion.current]).toEqual([7, 7, 1, 3, 3, 1]);
    expect(motion.isMoving).toBe(true);
    motion.step(1000 + MOVE_MS);
    expect([...motion.current]).toEqual([9, 9, 1, 3, 3, 2]);
    expect(motion.isMoving).toBe(false);
    const { current } = motion;
    motion.step(9999);
    expect(motion.current).toBe(current);
  });

  test('without animation positions change at once', () => {
    const motion = new Motion();
    motion.moveTo(['a'], Float32Array.from([1, 2, 3]), null);
    expect([motion.isMoving, ...motion.current]).toEqual([false, 1, 2, 3]);
  });
});
