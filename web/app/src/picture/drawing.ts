/** Drawing: the input of both painters. */

import type { Bars } from './bars';
import type { Label } from './labels';
import type { Palette, Shape } from './palette';

/** Circles as one array of x, y and radius. */
export interface Circles {
  positions: Float32Array;
  fill: Uint8Array;
  line: Uint8Array;
}

export interface Marks {
  positions: Float32Array;
  shapes: readonly Shape[];
  colours: Uint8Array;
}

/** Highlight ring around a mark or group. */
export interface Ring {
  x: number;
  y: number;
  radius: number;
  colour: [number, number, number, number];
  /** Line width (px). */
  width: number;
}

export interface Drawing {
  palette: Palette;
  groups: Circles;
  orbits: Float32Array;
  marks: Marks;
  /** Icon height in mark radii. */
  markScale: number;
  bars: Bars | null;
  badges: Marks | null;
  rings: readonly Ring[];
  labels: readonly Label[];
}

export function css([red = 0, green = 0, blue = 0, alpha = 255]: ArrayLike<number> & Iterable<number>): string {
  return `rgb(${red} ${green} ${blue} / ${alpha / 255})`;
}

/** Radius of a ring around a circle; the relative margin is limited, since groups are large. */
export const around = (radius: number, grown: number): number => radius + grown * Math.min(radius, 2);

/** Minimum sizes (px); `badgeScale` is in mark radii. */
export const LEAST = { groupLine: 1.25, mark: 2.5, badge: 4, badgeScale: 0.42, ring: 4 } as const;

export const BASELINES = { above: 'bottom', within: 'center', below: 'top' } as const;
/** Vertical label offsets (px). */
export const OFFSETS = { above: -3, within: 0, below: 3 } as const;
/** Label text: sizes (px) and opacity of the background, 0 to 255. */
export const TEXT = {
  family: '"Inter Variable", system-ui, sans-serif',
  weight: 500,
  group: 13,
  mark: 11.5,
  padding: [4, 1],
  ground: 215,
} as const;
