/** Icon atlas of the shapes for deck.gl, as an alpha mask. */

import { SHAPES, STROKE } from '../ui/shapes';
import type { Shape } from './palette';

/** Resolution of one shape (px); shapes are rarely drawn larger. */
const CELL = 96;
const GAP = 8;

export interface Atlas {
  image: HTMLCanvasElement;
  mapping: Record<Shape, { x: number; y: number; width: number; height: number; mask: true }>;
}

export function makeAtlas(): Atlas {
  const names = Object.keys(SHAPES) as Shape[];
  const image = document.createElement('canvas');
  image.width = names.length * (CELL + GAP);
  image.height = CELL;
  const context = image.getContext('2d');
  const mapping = {} as Atlas['mapping'];
  for (const [at, name] of names.entries()) {
    const x = at * (CELL + GAP);
    mapping[name] = { x, y: 0, width: CELL, height: CELL, mask: true };
    if (!context) continue;
    context.setTransform(CELL / 24, 0, 0, CELL / 24, x, 0);
    const path = new Path2D(SHAPES[name].path);
    context.lineWidth = STROKE;
    if (SHAPES[name].isFilled) context.fill(path);
    else context.stroke(path);
  }
  return { image, mapping };
}
