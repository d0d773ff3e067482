/** SVG paths of the status shapes in a 24 × 24 view box, for the page and for the map. */

import type { Shape } from '../picture/palette';

export interface ShapePath {
  path: string;
  isFilled: boolean;
}

const circle = 'M12 3.2a8.8 8.8 0 1 1 0 17.6a8.8 8.8 0 1 1 0-17.6Z';

export const SHAPES: Record<Shape, ShapePath> = {
  disc: { path: 'M12 2a10 10 0 1 1 0 20a10 10 0 1 1 0-20Z', isFilled: true },
  ring: { path: circle, isFilled: false },
  off: { path: `${circle}M6.2 17.8L17.8 6.2`, isFilled: false },
  triangle: { path: 'M12 1.5L23 21.5H1Z', isFilled: true },
  diamond: { path: 'M12 0.5L23.5 12L12 23.5L0.5 12Z', isFilled: true },
  tile: {
    path: 'M4 1.2H20A2.8 2.8 0 0 1 22.8 4V20A2.8 2.8 0 0 1 20 22.8H4A2.8 2.8 0 0 1 1.2 20V4A2.8 2.8 0 0 1 4 1.2Z',
    isFilled: true,
  },
  bubble: {
    path: 'M6 5H18A2 2 0 0 1 20 7V14A2 2 0 0 1 18 16H12L8 20V16H6A2 2 0 0 1 4 14V7A2 2 0 0 1 6 5Z',
    isFilled: false,
  },
};

export const STROKE = 2.6;
