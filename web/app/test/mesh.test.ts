import { expect, test } from 'vitest';
import type { Atlas } from '../src/picture/atlas';
import { atCorners, CORNERS, cornersOf, textureCoordinatesOf } from '../src/picture/mesh';

test('the triangle of a mark encloses its square', () => {
  const corners = cornersOf(2);
  expect(corners).toHaveLength(2 * CORNERS * 2);
  const [ax, ay, bx = 0, by = 0, cx = 0, cy = 0] = corners.subarray(CORNERS * 2);
  expect([ax, ay]).toEqual([-1, -1]);
  expect([(bx + cx) / 2, (by + cy) / 2]).toEqual([1, 1]);
});

test('values of a mark are repeated for its corners', () => {
  const positions = atCorners(Float32Array.of(1, 2, 3, 4, 5, 6), 3, new Float32Array(2 * 3 * CORNERS));
  expect([...positions]).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 4, 5, 6]);
});

test('texture coordinates cover exactly one shape', () => {
  const cell = { width: 10, height: 10, y: 0, mask: true } as const;
  const mapping = { disc: { ...cell, x: 0 }, ring: { ...cell, x: 20 } };
  const atlas = { image: { width: 40, height: 20 }, mapping } as unknown as Atlas;
  const positions = textureCoordinatesOf(['ring', 'disc'], atlas);
  // Midpoint between two corners of the triangle, on the edge of the square.
  const between = (mark: number, from: number, to: number) =>
    [0, 1].map((axis) => {
      const at = (corner: number) => positions[mark * CORNERS * 2 + corner * 2 + axis] ?? Number.NaN;
      return (at(from) + at(to)) / 2;
    });
  expect([between(0, 0, 1), between(0, 0, 2)]).toEqual([
    [0.75, 0],
    [0.5, 0.5],
  ]);
  expect([between(1, 0, 1), between(1, 0, 2)]).toEqual([
    [0.25, 0],
    [0, 0.5],
  ]);
});
