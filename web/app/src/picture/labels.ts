/** Which names there is room for. */

import type { Seeds } from '../layout/seeds';
import type { Look } from './camera';

export interface Label {
  key: string;
  text: string;
  position: [number, number];
  isGroup: boolean;
  /** Where the text is, seen from its position. */
  place: 'above' | 'within' | 'below';
}

/** A group's name is shown from this radius on, a mark's from that. Pixels. */
const GROUP_FROM = 20;
const MARK_FROM = 19;
const LIMIT = 160;
/** Characters of a name that is longer than its place. */
const MARK_CHARACTERS = 18;
const GROUP_CHARACTERS = 28;

/**
 * @param marks x, y and radius of each mark
 * @param none what the group of those without one is called
 */
export function labelsOf(
  { layer, groups, marks: seeds }: Seeds,
  marks: Float32Array,
  circles: Float32Array,
  look: Look,
  size: { width: number; height: number },
  none: string,
): Label[] {
  const scale = 2 ** look.zoom;
  const [left, top] = [look.target[0] - size.width / 2 / scale, look.target[1] - size.height / 2 / scale];
  const isSeen = (x: number, y: number, r: number) =>
    x + r > left && x - r < left + size.width / scale && y + r > top && y - r < top + size.height / scale;
  const labels: Label[] = [];
  for (const [at, { id, label }] of groups.entries()) {
    const [x = 0, y = 0, r = 0] = circles.subarray(at * 3, at * 3 + 3);
    if (Math.max(r, 6) * scale < GROUP_FROM || !isSeen(x, y, r)) continue;
    // A planet's satellites would be under a name above it.
    const isPlanet = layer === 'space' && r > 0;
    const place = isPlanet ? 'within' : 'above';
    const position: Label['position'] = [x, isPlanet ? y : y - r];
    labels.push({ key: `g${id}`, text: shorten(label ?? none, GROUP_CHARACTERS), position, isGroup: true, place });
    if (labels.length >= LIMIT) return labels;
  }
  for (const [at, { key, item }] of seeds.entries()) {
    const r = marks[at * 3 + 2] ?? 0;
    if (r * scale < MARK_FROM) continue;
    const [x = 0, y = 0] = marks.subarray(at * 3, at * 3 + 2);
    if (!isSeen(x, y, r)) continue;
    // A node's tile is a square in its circle.
    const below = layer === 'nodes' ? r * 0.78 : r;
    labels.push({
      key,
      text: shorten(item.label, MARK_CHARACTERS),
      position: [x, y + below],
      isGroup: false,
      place: 'below',
    });
    if (labels.length >= LIMIT) break;
  }
  return labels;
}

export function shorten(text: string, characters: number): string {
  const points = [...text];
  return points.length > characters ? `${points.slice(0, characters - 1).join('')}…` : text;
}
