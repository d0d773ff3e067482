import { expect, test } from 'vitest';
import type { Atlas } from '../src/picture/atlas';
import { atCorners, cornersOf, INDICES, imagePlacesOf, indicesOf } from '../src/picture/mesh';

test('each mark is two triangles of four corners of its own', () => {
  const indices = indicesOf(3);
  expect(indices).toHaveLength(3 * INDICES);
  for (let mark = 0; mark < 3; mark++) {
    const own = [...indices.subarray(mark * INDICES, (mark + 1) * INDICES)];
    expect(new Set(own)).toEqual(new Set([0, 1, 2, 3].map((corner) => mark * 4 + corner)));
  }
});

test('the triangles cover the square once', () => {
  const corners = cornersOf(1);
  const area = ([a = 0, b = 0, c = 0]: number[]) => {
    const [ax = 0, ay = 0] = corners.subarray(a * 2);
    const [bx = 0, by = 0] = corners.subarray(b * 2);
    const [cx = 0, cy = 0] = corners.subarray(c * 2);
    return Math.abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2;
  };
  const indices = [...indicesOf(1)];
  expect(area(indices.slice(0, 3)) + area(indices.slice(3))).toBe(4);
});

test('a mark hands its numbers to all its corners', () => {
  const places = atCorners(Float32Array.of(1, 2, 3, 4, 5, 6), 3, new Float32Array(24));
  expect([...places]).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6, 4, 5, 6]);
});

test('corners find their shape in the image, the upper ones its upper edge', () => {
  const cell = { width: 10, height: 10, y: 0, mask: true } as const;
  const mapping = { disc: { ...cell, x: 0 }, ring: { ...cell, x: 20 } };
  const atlas = { image: { width: 40, height: 20 }, mapping } as unknown as Atlas;
  expect([...imagePlacesOf(['ring', 'disc'], atlas)]).toEqual([
    ...[0.5, 0, 0.75, 0, 0.5, 0.5, 0.75, 0.5],
    ...[0, 0, 0.25, 0, 0, 0.5, 0.25, 0.5],
  ]);
});
