/** Theme colours as RGB values for the painters. */

import type { Status } from '@living-map/react';

export type Colour = [number, number, number];

const NAMES = ['ground', 'surface', 'disc', 'line', 'ink', 'muted', 'accent', 'ok', 'warn', 'bad', 'quiet'] as const;
export type Palette = Record<(typeof NAMES)[number], Colour>;

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const entries = NAMES.map((name) => [name, parse(style.getPropertyValue(`--${name}`).trim())]);
  return Object.fromEntries(entries) as Palette;
}

/** @param text `#rrggbb` */
export function parse(text: string): Colour {
  const value = Number.parseInt(text.slice(1), 16) || 0;
  return [value >> 16, (value >> 8) & 255, value & 255];
}

const tones: Record<Status, 'ok' | 'warn' | 'bad' | 'quiet'> = {
  active: 'ok',
  online: 'ok',
  idle: 'quiet',
  inactive: 'quiet',
  offline: 'quiet',
  warning: 'warn',
  error: 'bad',
};

export const toneOf = (status: Status) => tones[status] ?? 'quiet';

/** Shape of a status, so that it is not distinguished by colour alone. */
export type Shape = 'disc' | 'ring' | 'off' | 'triangle' | 'diamond' | 'tile' | 'bubble';

const shapes: Record<Status, Shape> = {
  active: 'disc',
  online: 'disc',
  idle: 'ring',
  inactive: 'off',
  offline: 'off',
  warning: 'triangle',
  error: 'diamond',
};

export const shapeOf = (status: Status): Shape => shapes[status] ?? 'ring';

/** Colour name for a load from 0 to 1. */
export function loadTone(load: number): 'accent' | 'warn' | 'bad' {
  if (load >= 0.9) return 'bad';
  return load >= 0.75 ? 'warn' : 'accent';
}
