/** Shapes and colours of marks and groups by status, theme and filter. */

import type { Layers } from '@living-map/react';
import { type Filter, isFiltering, matches } from '../filter';
import type { Diagram } from '../layout/diagram';
import type { Marks } from './drawing';
import { type Palette, shapeOf, toneOf } from './palette';

/** Opacity of marks that the filter excludes, 0 to 255. */
const DIMMED = 36;

export interface Style {
  shapes: Marks['shapes'];
  /** RGBA of each mark, and of its badge. */
  colours: Uint8Array;
  badge: Uint8Array;
  /** RGBA of each group's area and outline. */
  fill: Uint8Array;
  line: Uint8Array;
}

export function styleOf(
  { marks, groups, layer }: Diagram,
  layers: Layers | null,
  palette: Palette,
  filter: Filter,
): Style {
  const colours = new Uint8Array(marks.length * 4);
  const badge = new Uint8Array(marks.length * 4);
  const filters = isFiltering(filter);
  const isTile = layer === 'nodes';
  const shapes = marks.map(({ item }, at) => {
    const tone = palette[toneOf(item.status)];
    const alpha = filters && !matches(filter, item) ? DIMMED : 255;
    colours.set(isTile ? palette.surface : tone, at * 4);
    badge.set(tone, at * 4);
    colours[at * 4 + 3] = badge[at * 4 + 3] = alpha;
    if (isTile) return 'tile';
    return item.type === 'channel' ? 'bubble' : shapeOf(item.status);
  });
  const fill = new Uint8Array(groups.length * 4);
  const line = new Uint8Array(groups.length * 4);
  const planets = new Map(layers?.space?.planets.map((planet) => [planet.id, planet]));
  for (const [at, { id }] of groups.entries()) {
    const planet = layer === 'space' ? planets.get(id) : undefined;
    fill.set([...(planet ? mix(palette.accent, palette.disc, 0.55) : palette.disc), 255], at * 4);
    line.set([...(planet ? palette[toneOf(planet.status)] : palette.line), 255], at * 4);
  }
  return { shapes, colours, badge, fill, line };
}

/** Returns `before` if the styles are equal, so that it is not uploaded again. */
export function reuseEqualStyle(before: Style | null, now: Style): Style {
  const parts = ['shapes', 'colours', 'badge', 'fill', 'line'] as const;
  return before && parts.every((part) => isEqual(before[part], now[part])) ? before : now;
}

function isEqual(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

const mix = (a: Palette['ink'], b: Palette['ink'], part: number) =>
  a.map((value, at) => Math.round(value * part + (b[at] ?? 0) * (1 - part)));
