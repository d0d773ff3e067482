import { expect, test } from 'vitest';
import { clusters, type Mark } from '../src/replay/cluster';

const mark = (time: number, kind: Mark['kind'] = 'alert'): Mark => ({ kind, time, text: `${kind} at ${time}` });

test('marks that would overlap are one group, and those outside the range are left out', () => {
  const marks = [mark(990), mark(500), mark(505, 'lesson'), mark(0), mark(-1), mark(1001)];
  const found = clusters(marks, { from: 0, to: 1000 }, 0.01);
  expect(found.map(({ marks }) => marks.map(({ time }) => time))).toEqual([[0], [500, 505], [990]]);
  expect(found.map(({ position }) => position)).toEqual([0, 0.5, 0.99]);
});
