/** Marks as the corners of one mesh: four for each, which share the mark's numbers. */

import type { Atlas } from './atlas';
import type { Shape } from './palette';

/** A mark's corners, from its middle, in halves of its height: upper left, upper right, lower left, lower right. */
const CORNERS = [-1, -1, 1, -1, -1, 1, 1, 1] as const;
/** Which corners its two triangles have. */
const TRIANGLES = [0, 1, 2, 2, 1, 3] as const;

/** Corners of a mark. */
const FOUR = 4;
/** Corners of its two triangles, of which they share two. */
export const INDICES = TRIANGLES.length;

export function indicesOf(marks: number): Uint32Array {
  return Uint32Array.from(
    { length: marks * INDICES },
    (_, at) => Math.floor(at / INDICES) * FOUR + (TRIANGLES[at % INDICES] ?? 0),
  );
}

export function cornersOf(marks: number): Float32Array {
  return Float32Array.from({ length: marks * CORNERS.length }, (_, at) => CORNERS[at % CORNERS.length] ?? 0);
}

/**
 * Each mark's numbers for each of its corners. Without a view of each mark: there are thousands, several times a second.
 *
 * @param size how many numbers a mark has
 * @param into four times as long as `values`
 */
export function atCorners<A extends Float32Array | Uint8ClampedArray>(
  values: Float32Array | Uint8Array,
  size: number,
  into: A,
): A {
  let to = 0;
  for (let mark = 0; mark < values.length; mark += size) {
    for (let corner = 0; corner < FOUR; corner++) {
      for (let at = mark; at < mark + size; at++) into[to++] = values[at] ?? 0;
    }
  }
  return into;
}

/** Where each corner is in the atlas' image, from 0 to 1. */
export function imagePlacesOf(shapes: readonly Shape[], { image, mapping }: Atlas): Float32Array {
  const placed = Object.fromEntries(
    Object.entries(mapping).map(([shape, { x, y, width, height }]) => {
      const [left, right] = [x / image.width, (x + width) / image.width];
      const [top, bottom] = [y / image.height, (y + height) / image.height];
      return [shape, [left, top, right, top, left, bottom, right, bottom]];
    }),
  ) as Record<Shape, number[]>;
  const places = new Float32Array(shapes.length * CORNERS.length);
  let to = 0;
  for (const shape of shapes) {
    for (const place of placed[shape]) places[to++] = place;
  }
  return places;
}
