/** Shapes and colours of marks and groups by condition, theme and filter. */

import { type Filter, isFiltering, matches } from '../filter';
import type { Diagram } from '../layout/diagram';
import { isTrouble, type Trouble } from '../network/condition';
import type { NetworkState } from '../network/state';
import type { Marks } from './drawing';
import { type Colour, type Palette, shapeOf } from './palette';

/** Opacity of marks that the filter excludes, 0 to 255. */
const DIMMED = 36;
/** Share of the condition's colour in the ground of a group in which something is wrong. */
const TINT = 0.16;
/** Maximum number of rings around marks and groups in trouble; with more, the colours show enough. */
const TROUBLED = 200;

/** The conditions that a style shows. */
export type Conditions = Pick<NetworkState, 'conditionOf' | 'troubleIn'>;

export interface Style {
  shapes: Marks['shapes'];
  /** RGBA of each mark, and of its badge. */
  colours: Uint8Array;
  badge: Uint8Array;
  /** RGBA of each group's area and outline. */
  fill: Uint8Array;
  line: Uint8Array;
  /** Keys of the marks that are failing and of the groups in trouble, which rings show from afar, and their troubles. */
  troubled: readonly string[];
  troubles: readonly Trouble[];
}

export function styleOf(
  { marks, groups, layer }: Diagram,
  { conditionOf, troubleIn }: Conditions,
  palette: Palette,
  filter: Filter,
): Style {
  const colours = new Uint8Array(marks.length * 4);
  const badge = new Uint8Array(marks.length * 4);
  const filters = isFiltering(filter);
  const isTile = layer === 'nodes';
  const troubled: string[] = [];
  const troubles: Trouble[] = [];
  const ring = (key: string, trouble: Trouble) => {
    if (troubled.length >= TROUBLED) return;
    troubled.push(key);
    troubles.push(trouble);
  };
  const shapes = marks.map(({ item, key }, at) => {
    const condition = conditionOf(item.id);
    const tone = palette[condition];
    if (condition === 'failing' && !isTile) ring(key, condition);
    const alpha = filters && !matches(filter, item, conditionOf) ? DIMMED : 255;
    colours.set(isTile ? palette.surface : tone, at * 4);
    badge.set(tone, at * 4);
    colours[at * 4 + 3] = badge[at * 4 + 3] = alpha;
    if (isTile) return 'tile';
    return item.type === 'channel' ? 'bubble' : shapeOf(condition);
  });
  const fill = new Uint8Array(groups.length * 4);
  const line = new Uint8Array(groups.length * 4);
  for (const [at, { id, isEntity }] of groups.entries()) {
    const isPlanet = layer === 'space' && isEntity;
    const condition = isEntity ? conditionOf(id) : 'idle';
    const trouble = isTrouble(condition) ? condition : troubleIn(id);
    if (trouble) ring(id, trouble);
    const ground = isPlanet ? mix(palette.accent, palette.slab, 0.55) : palette.slab;
    fill.set([...(trouble ? mix(palette[trouble], ground, TINT) : ground), 255], at * 4);
    line.set([...(trouble ? palette[trouble] : isPlanet ? palette[condition] : palette['slab-line']), 255], at * 4);
  }
  return { shapes, colours, badge, fill, line, troubled, troubles };
}

/** Returns `before` if the styles are equal, so that it is not uploaded again. */
export function reuseEqualStyle(before: Style | null, now: Style): Style {
  const parts = ['shapes', 'colours', 'badge', 'fill', 'line', 'troubled', 'troubles'] as const;
  return before && parts.every((part) => isEqual(before[part], now[part])) ? before : now;
}

function isEqual(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

function mix(a: Colour, b: Colour, part: number): Colour {
  const channel = (at: 0 | 1 | 2) => Math.round(a[at] * part + b[at] * (1 - part));
  return [channel(0), channel(1), channel(2)];
}
