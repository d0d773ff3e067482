/** Label placement. */

import type { Diagram } from '../layout/diagram';
import type { Trouble } from '../network/condition';
import type { ViewState } from './camera';
import { OFFSETS, TEXT } from './drawing';
import type { Size } from './painter';

export interface Label {
  key: string;
  text: string;
  position: [number, number];
  isGroup: boolean;
  /** Trouble of a group, which its label shows. */
  trouble: Trouble | null;
  /** Placement of the text relative to its anchor. */
  placement: 'above' | 'within' | 'below';
}

/** Order in which groups are named. */
const RANKS: readonly (Trouble | null)[] = ['failing', 'warning', null];

/** Signs in front of a name in trouble, as the shapes of marks: never colour alone. */
const SIGNS: Record<Trouble, string> = { failing: '◆', warning: '▲' };

/** Minimum radius for a label, of a group and of a mark (px). */
const GROUP_FROM = 20;
const MARK_FROM = 19;
const LIMIT = 160;
/** Maximum and minimum length of a label (characters). */
const MARK_CHARACTERS = 18;
const GROUP_CHARACTERS = 28;
const LEAST_CHARACTERS = 5;
/** Minimum distance between two labels (px). */
const GAP = 5;

/** A circle on the canvas (px from the canvas centre). */
interface Circle {
  at: number;
  x: number;
  y: number;
  r: number;
}

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/**
 * Selects the labels to show. Labels do not overlap, and a mark's label covers no mark, since it would hide a status. A
 * label that is too long is truncated; one without room appears when zoomed in.
 *
 * @param marks x, y and radius of each mark
 * @param none label of the group of marks without a group
 * @param widthOf width of a text of a given height (px)
 * @param troubleOf trouble of a group
 */
export function labelsOf(
  { layer, groups, marks: items }: Diagram,
  marks: Float32Array,
  circles: Float32Array,
  viewState: ViewState,
  size: Size,
  none: string,
  widthOf: (text: string, height: number) => number,
  troubleOf: (group: string) => Trouble | null,
): Label[] {
  const scale = 2 ** viewState.zoom;
  const inSight = (positions: Float32Array, from: number): Circle[] => {
    const found: Circle[] = [];
    for (let at = 0; at < positions.length / 3; at++) {
      const r = (positions[at * 3 + 2] ?? 0) * scale;
      const x = ((positions[at * 3] ?? 0) - viewState.target[0]) * scale;
      const y = ((positions[at * 3 + 1] ?? 0) - viewState.target[1]) * scale;
      const isSeen = Math.abs(x) - r < size.width / 2 && Math.abs(y) - r < size.height / 2;
      if (r >= from && isSeen) found.push({ at, x, y, r });
    }
    return found;
  };
  const boxOf = (label: Label, { x, y }: Circle, r: number): Box => {
    const height = label.isGroup ? TEXT.group : TEXT.mark;
    const half = widthOf(label.text, height) / 2 + GAP / 2;
    const tall = height / 2 + TEXT.padding[1];
    const middle = y + { above: -r - tall, within: 0, below: r + tall }[label.placement] + OFFSETS[label.placement];
    return { left: x - half, right: x + half, top: middle - tall, bottom: middle + tall };
  };
  const placed: { label: Label; box: Box }[] = [];
  const isFree = (box: Box, own?: Box) => placed.every((other) => other.box === own || !overlaps(box, other.box));

  // What is in trouble is named first; stable among the others.
  const rank = ({ at }: Circle) => RANKS.indexOf(troubleOf(groups[at]?.id ?? ''));
  for (const circle of inSight(circles, 0).sort((a, b) => rank(a) - rank(b))) {
    const group = groups[circle.at];
    if (!group || Math.max(circle.r, 6 * scale) < GROUP_FROM) continue;
    const [x = 0, y = 0, r = 0] = circles.subarray(circle.at * 3, circle.at * 3 + 3);
    const trouble = troubleOf(group.id);
    const name = shorten(group.label ?? none, GROUP_CHARACTERS);
    const text = trouble ? `${SIGNS[trouble]} ${name}` : name;
    // A label above a planet would cover its satellites.
    const placement = layer === 'space' && r > 0 ? 'within' : 'above';
    const position: Label['position'] = [x, placement === 'above' ? y - r : y];
    const label: Label = { key: `g${group.id}`, text, position, isGroup: true, trouble, placement };
    const box = boxOf(label, circle, circle.r);
    if (placed.length < LIMIT && isFree(box)) placed.push({ label, box });
  }

  // Larger marks first; stable for equal sizes.
  const named = inSight(marks, MARK_FROM).sort((a, b) => b.r - a.r);
  const others = named.length > 0 ? inSight(marks, 0) : [];
  const hides = (box: Box, own: number) => others.some((other) => other.at !== own && isPartIn(other, box));
  // A node's tile is the square inscribed in its circle.
  const below = layer === 'nodes' ? 0.78 : 1;
  const longer: (() => void)[] = [];
  for (const circle of named) {
    const mark = items[circle.at];
    if (!mark || placed.length >= LIMIT) continue;
    const [x = 0, y = 0, r = 0] = marks.subarray(circle.at * 3, circle.at * 3 + 3);
    const make = (text: string) => {
      const position: Label['position'] = [x, y + r * below];
      const label: Label = { key: mark.key, text, position, isGroup: false, trouble: null, placement: 'below' };
      return { label, box: boxOf(label, circle, circle.r * below) };
    };
    const text = shorten(mark.item.label, MARK_CHARACTERS);
    let length = [...text].length;
    while (length > LEAST_CHARACTERS && widthOf(shorten(text, length), TEXT.mark) > 2 * circle.r - GAP) length -= 1;
    const made = make(shorten(text, length));
    if (hides(made.box, circle.at) || !isFree(made.box)) continue;
    const own = placed.push(made) - 1;
    if (made.label.text === text) continue;
    longer.push(() => {
      const whole = make(text);
      if (!hides(whole.box, circle.at) && isFree(whole.box, made.box)) placed[own] = whole;
    });
  }
  // First all marks get a short label, then labels are lengthened where there is room.
  for (const lengthen of longer) lengthen();
  return placed.map(({ label }) => label);
}

/** Maximum number of cached text widths. */
const WIDTHS = 2000;

/** Returns a function that measures text in the label font. */
export function textMeasure(): (text: string, height: number) => number {
  const context = document.createElement('canvas').getContext('2d');
  const known = new Map<string, number>();
  return (text, height) => {
    const key = `${height} ${text}`;
    const before = known.get(key);
    if (before !== undefined || !context) return before ?? text.length * height;
    context.font = `${TEXT.weight} ${height}px ${TEXT.family}`;
    const { width } = context.measureText(text);
    if (known.size >= WIDTHS) known.clear();
    known.set(key, width);
    return width;
  };
}

const overlaps = (a: Box, b: Box) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

function isPartIn({ x, y, r }: Circle, { left, right, top, bottom }: Box): boolean {
  const [dx, dy] = [x - Math.min(right, Math.max(left, x)), y - Math.min(bottom, Math.max(top, y))];
  return dx * dx + dy * dy < r * r;
}

export function shorten(text: string, characters: number): string {
  const points = [...text];
  return points.length > characters ? `${points.slice(0, characters - 1).join('')}…` : text;
}
