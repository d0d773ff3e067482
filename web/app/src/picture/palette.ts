/** Theme colours as RGB values for the painters. */

import { CONDITIONS, type Condition } from '../network/condition';

export type Colour = [number, number, number];

export const COLOURS = [
  'ground',
  'ground-far',
  'slab',
  'slab-line',
  'surface',
  'line',
  'ink',
  'muted',
  'accent',
  ...CONDITIONS,
] as const;
export type Palette = Record<(typeof COLOURS)[number], Colour>;

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const entries = COLOURS.map((name) => [name, parse(style.getPropertyValue(`--${name}`).trim())]);
  return Object.fromEntries(entries) as Palette;
}

/** @param text `#rrggbb` */
export function parse(text: string): Colour {
  const value = Number.parseInt(text.slice(1), 16) || 0;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** Shape of a mark, so that conditions are not distinguished by colour alone. */
export type Shape = 'disc' | 'ring' | 'off' | 'triangle' | 'diamond' | 'tile' | 'bubble';

const shapes: Record<Condition, Shape> = {
  failing: 'diamond',
  warning: 'triangle',
  away: 'off',
  working: 'disc',
  idle: 'ring',
};

export const shapeOf = (condition: Condition): Shape => shapes[condition];

/** Colour name for a load from 0 to 1. */
export function loadTone(load: number): 'accent' | 'warning' | 'failing' {
  if (load >= 0.9) return 'failing';
  return load >= 0.75 ? 'warning' : 'accent';
}
