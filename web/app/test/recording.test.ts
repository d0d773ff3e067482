/** The map at any event of a recording, against a recording and its maps that the server's fold has made. */

import { readFileSync } from 'node:fs';
import type { EventFrame, Layers } from '@living-map/react';
import { describe, expect, test } from 'vitest';
import { type RecordedFrame, Recording, wholeMs } from '../src/replay/recording';

interface Vectors {
  maps: { cursor: string; logged_at: string; layers: Layers }[];
  items: RecordedFrame[];
}

const file = new URL('../../../tests/vectors/recording.json', import.meta.url);
const { maps, items }: Vectors = JSON.parse(readFileSync(file, 'utf8'));
/** Distance of two maps, in events. */
const STEP = items.length / (maps.length - 1);

const momentOf = (at: number) => {
  const { layers, cursor, logged_at } = maps[at] as Vectors['maps'][number];
  return { layers, cursor, time: wholeMs(logged_at) };
};
const mapAt = (ordinal: number) => maps[ordinal / STEP]?.layers;

/** Deterministic numbers below 1. */
function randomOf(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** All frames, added in pages of random sizes. */
function recorded(random: () => number, maxPage: number): Recording {
  const recording = new Recording(momentOf(0));
  for (let at = 0; at < items.length; ) {
    const count = 1 + Math.floor(random() * maxPage);
    recording.append(items.slice(at, at + count));
    at += count;
  }
  return recording;
}

describe.each([1, 2, 3, 4, 5])('seed %i', { timeout: 60_000 }, (seed) => {
  test('replay gives the maps of the server, forwards, backwards and by jumps', () => {
    const random = randomOf(seed);
    const recording = recorded(random, 40);
    const order = maps.map((_, at) => at * STEP);
    const jumps = Array.from({ length: 40 }, () => Math.floor(random() * maps.length) * STEP);
    for (const ordinal of [...order, ...order.toReversed(), ...jumps]) {
      // Other moments in between must not matter.
      recording.layersAt(Math.floor(random() * (items.length + 1)));
      expect(recording.layersAt(ordinal)).toStrictEqual(mapAt(ordinal));
    }
  });

  test('a recording that grows at both ends and forgets its far pages gives the same maps', () => {
    const random = randomOf(seed);
    const middle = Math.floor(maps.length / 2);
    const recording = new Recording(momentOf(middle));
    const offset = middle * STEP;
    for (let round = 0; round < 60; round++) {
      const [from, to] = [recording.begin.ordinal + offset, recording.end.ordinal + offset];
      if (random() < 0.5 && to < items.length) recording.append(items.slice(to, to + 1 + Math.floor(random() * 30)));
      else if (from > 0) {
        const start = Math.max(0, from / STEP - 1 - Math.floor(random() * 2));
        // Only a moment with a map can be the begin.
        if (Number.isInteger(start)) recording.prepend(momentOf(start), items.slice(start * STEP, from));
      }
      const [begin, end] = [recording.begin.ordinal, recording.end.ordinal];
      const ordinal = begin + Math.floor(random() * (end - begin + 1));
      const known = mapAt(ordinal + offset);
      if (known) expect(recording.layersAt(ordinal)).toStrictEqual(known);
      if (random() < 0.3) recording.trim(ordinal, 30, Number.POSITIVE_INFINITY);
      expect(recording.begin.ordinal).toBeLessThanOrEqual(ordinal);
      expect(recording.end.ordinal).toBeGreaterThanOrEqual(ordinal);
      if (known) expect(recording.layersAt(ordinal)).toStrictEqual(known);
    }
  });
});

test('a time shows all events that the log took until then, as the server does', () => {
  const recording = recorded(randomOf(9), 40);
  for (const { logged_at } of items) {
    const time = wholeMs(logged_at);
    const expected = items.filter((item) => wholeMs(item.logged_at) <= time).length;
    expect(recording.ordinalAt(time)).toBe(expected);
    expect(recording.ordinalAt(time - 1)).toBe(items.filter((item) => wholeMs(item.logged_at) < time).length);
    expect(recording.timeAt(expected)).toBe(time);
  }
  expect(recording.ordinalAt(0)).toBe(0);
  expect(recording.ordinalAt(Number.MAX_SAFE_INTEGER)).toBe(items.length);
});

test('a time between two milliseconds belongs to the later one', () => {
  expect(wholeMs('2026-01-19T12:00:00.123400Z')).toBe(Date.parse('2026-01-19T12:00:00.124Z'));
  expect(wholeMs('2026-01-19T12:00:00.123000Z')).toBe(Date.parse('2026-01-19T12:00:00.123Z'));
  expect(wholeMs('2026-01-19T12:00:00Z')).toBe(Date.parse('2026-01-19T12:00:00Z'));
});

test('the last frames come newest first', () => {
  const recording = recorded(randomOf(3), 7);
  const cursors = recording.framesBefore(20, 5).map(({ cursor }) => cursor);
  expect(cursors).toEqual(
    items
      .slice(15, 20)
      .map(({ frame }) => frame.cursor)
      .reverse(),
  );
  expect(recording.framesBefore(2, 5)).toHaveLength(2);
});

const EVENTS = 50_000;
const AGENTS = 1000;
/** Longest processor time of a jump to any event (ms). */
const JUMP_MS = 100;

test(`any of ${EVENTS} events is shown within ${JUMP_MS} ms`, { timeout: 60_000 }, () => {
  const agents = Array.from({ length: AGENTS }, (_, at) => ({ id: `agent:${String(at).padStart(4, '0')}`, n: -1 }));
  const layers = { agents: { items: agents, total: AGENTS } } as unknown as Layers;
  const recording = new Recording({ layers, cursor: '1.0', time: 0 });
  const frames = Array.from({ length: EVENTS }, (_, n): RecordedFrame => {
    const { id } = agents[(n * 7) % AGENTS] as { id: string };
    const changes = [{ op: 'upsert', layer: 'agents', type: 'agent', id, patch: { n } }];
    const frame = {
      kind: 'event',
      cursor: `1.${n + 1}`,
      id: String(n),
      entity_id: id,
      changes,
    } as unknown as EventFrame;
    return { logged_at: new Date(n * 10).toISOString(), frame };
  });
  for (let at = 0; at < EVENTS; at += 2000) recording.append(frames.slice(at, at + 2000));
  const random = randomOf(1);
  const times = Array.from({ length: 200 }, () => {
    const ordinal = Math.floor(random() * (EVENTS + 1));
    // Processor time does not depend on other processes.
    const started = process.cpuUsage();
    const shown = recording.layersAt(ordinal);
    const took = process.cpuUsage(started).user / 1000;
    const newest = Math.max(...(shown.agents?.items ?? []).map((item) => (item as unknown as { n: number }).n));
    expect(newest).toBe(ordinal - 1);
    return took;
  });
  expect(Math.max(...times)).toBeLessThan(JUMP_MS);
});
