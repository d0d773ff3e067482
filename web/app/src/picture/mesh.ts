/** Marks as one mesh: a triangle for each, whose corners share the mark's numbers. */

import type { Atlas } from './atlas';
import type { Shape } from './palette';

/**
 * A mark's corners, from its middle, in halves of its height. The square from -1 to 1 lies in the upper left of the
 * triangle: what is beyond is left out when it is drawn, which costs a processor less than a second triangle.
 */
const TRIANGLE = [-1, -1, 3, -1, -1, 3] as const;
/** Corners of a mark. */
export const CORNERS = 3;

export function cornersOf(marks: number): Float32Array {
  return Float32Array.from({ length: marks * TRIANGLE.length }, (_, at) => TRIANGLE[at % TRIANGLE.length] ?? 0);
}

/**
 * Each mark's numbers for each of its corners. Without a view of each mark: there are thousands, several times a second.
 *
 * @param size how many numbers a mark has
 * @param into three times as long as `values`
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

/** Where each corner is in the atlas' image, in which the square goes from 0 to 1 at most. */
export function imagePlacesOf(shapes: readonly Shape[], { image, mapping }: Atlas): Float32Array {
  const placed = Object.fromEntries(
    Object.entries(mapping).map(([shape, { x, y, width, height }]) => {
      const [left, beyond] = [x / image.width, (x + 2 * width) / image.width];
      const [top, below] = [y / image.height, (y + 2 * height) / image.height];
      return [shape, [left, top, beyond, top, left, below]];
    }),
  ) as Record<Shape, number[]>;
  const places = new Float32Array(shapes.length * TRIANGLE.length);
  let to = 0;
  for (const shape of shapes) {
    for (const place of placed[shape]) places[to++] = place;
  }
  return places;
}
