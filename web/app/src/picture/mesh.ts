/** Mesh with one triangle per mark, whose corners share the mark's attributes. */

import type { Atlas } from './atlas';
import type { Shape } from './palette';

/**
 * Corners of a mark relative to its centre, in half heights. The square from -1 to 1 lies in the triangle's upper left;
 * the rest is discarded in the shader, which is cheaper on a software renderer than a second triangle.
 */
const TRIANGLE = [-1, -1, 3, -1, -1, 3] as const;
/** Number of corners per mark. */
export const CORNERS = 3;

export function cornersOf(marks: number): Float32Array {
  return Float32Array.from({ length: marks * TRIANGLE.length }, (_, at) => TRIANGLE[at % TRIANGLE.length] ?? 0);
}

/**
 * Repeats each mark's values for its corners. Copies by index instead of `subarray`, since it runs for thousands of
 * marks several times per second.
 *
 * @param size number of values per mark
 * @param into output, three times as long as `values`
 */
export function atCorners<A extends Float32Array | Uint8ClampedArray>(
  values: Float32Array | Uint8Array,
  size: number,
  into: A,
): A {
  let to = 0;
  for (let mark = 0; mark < values.length; mark += size) {
    for (let corner = 0; corner < CORNERS; corner++) {
      for (let at = mark; at < mark + size; at++) into[to++] = values[at] ?? 0;
    }
  }
  return into;
}

/** Texture coordinates of each corner in the atlas. */
export function textureCoordinatesOf(shapes: readonly Shape[], { image, mapping }: Atlas): Float32Array {
  const placed = Object.fromEntries(
    Object.entries(mapping).map(([shape, { x, y, width, height }]) => {
      const [left, beyond] = [x / image.width, (x + 2 * width) / image.width];
      const [top, below] = [y / image.height, (y + 2 * height) / image.height];
      return [shape, [left, top, beyond, top, left, below]];
    }),
  ) as Record<Shape, number[]>;
  const positions = new Float32Array(shapes.length * TRIANGLE.length);
  let to = 0;
  for (const shape of shapes) {
    for (const coordinate of placed[shape]) positions[to++] = coordinate;
  }
  return positions;
}
