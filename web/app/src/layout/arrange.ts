/**
 * Layout of a layer: groups in rows, their marks on a spiral. A pure function of ids, groups and sizes, in linear time.
 *
 * A group has a size class; its space grows in steps of four. So one mark more or fewer moves nothing outside its group, and
 * groups move only when one of them appears, disappears or changes its class.
 */

import type { Layer } from '@living-map/react';

/** Complete input of the layout. */
export interface LayoutInput {
  layer: Layer;
  groups: { id: string; weight: number }[];
  /** Index in `groups` of each mark's group. */
  group: Int32Array;
  size: Float32Array;
}

export interface Arrangement {
  /** x, y and radius of each mark, in input order (map units, origin at the centre). */
  marks: Float32Array;
  groups: Float32Array;
  /** x, y and radius of each orbit. */
  rings: Float32Array;
  /** Left, top, right and bottom of the layout. */
  bounds: [number, number, number, number];
}

/** Radius of a mark with the space around it, by its radius. */
const SPACED = 1.32;
/** Space between groups: a part of their diameter, and at least so much (map units). */
const GROUP_PART = 0.1;
const GROUP_GAP = 3;
/** Radius of a group of the smallest class, and its padding; the next class has twice the radius. */
const CLASS_RADIUS = 8;
const GROUP_PADDING = 0.8;
/** Radius of the circle that holds marks on a spiral, by the square root of their squared radii. */
const SPIRAL = 1.3;
/** Angle between two marks on the spiral: the golden angle. */
const TURN = Math.PI * (3 - Math.sqrt(5));
/** Number of marks that stand in a circle, not on a spiral. */
const FEW = 6;
/** Width of the whole layout by its height, as most screens have it. */
const ASPECT = 1.6;

export function arrange(input: LayoutInput): Arrangement {
  return input.layer === 'space' ? systems(input) : districts(input);
}

/** Places each group's marks around its centre, and the groups in rows. */
function districts({ groups, group, size }: LayoutInput): Arrangement {
  const members = membersOf(groups.length, group);
  const marks = new Float32Array(group.length * 3);
  const circles = members.map((own, at) => {
    const reach = around(own, size, marks);
    const r = classRadius(reach);
    spread(own, marks, (r - GROUP_PADDING) / Math.max(reach, 1));
    return { at, r, x: 0, y: 0 };
  });
  inRows(circles);
  for (let mark = 0; mark < group.length; mark++) {
    const { x, y } = circles[group[mark] ?? 0] ?? { x: 0, y: 0 };
    marks[mark * 3] = (marks[mark * 3] ?? 0) + x;
    marks[mark * 3 + 1] = (marks[mark * 3 + 1] ?? 0) + y;
  }
  const positions = Float32Array.from(circles.flatMap(({ x, y, r }) => [x, y, r]));
  return { marks, groups: positions, rings: new Float32Array(), bounds: boundsOf(positions) };
}

function membersOf(groups: number, group: Int32Array): number[][] {
  const members = Array.from({ length: groups }, (): number[] => []);
  for (let mark = 0; mark < group.length; mark++) members[group[mark] ?? 0]?.push(mark);
  return members;
}

/**
 * Writes positions of marks around the origin to `places`, the largest in the middle.
 * @returns the radius that they take
 */
function around(own: readonly number[], size: Float32Array, places: Float32Array): number {
  const sizeOf = (mark: number) => size[mark] ?? 1;
  const ordered = own.toSorted((a, b) => sizeOf(b) - sizeOf(a) || a - b);
  const largest = sizeOf(ordered[0] ?? 0);
  const isCircle = own.length > 1 && own.length <= FEW && sizeOf(ordered.at(-1) ?? 0) === largest;
  const circle = (largest * SPACED) / Math.sin(Math.PI / Math.max(2, own.length));
  let filled = 0;
  let reach = 0;
  for (const [at, mark] of ordered.entries()) {
    const radius = sizeOf(mark);
    const area = (radius * SPACED) ** 2;
    const spiral = at === 0 ? 0 : SPIRAL * Math.sqrt(filled + area / 2);
    const distance = isCircle ? circle : spiral;
    const angle = isCircle ? (at / own.length) * 2 * Math.PI : at * TURN;
    places.set([distance * Math.cos(angle), distance * Math.sin(angle), radius], mark * 3);
    filled += area;
    reach = Math.max(reach, distance + radius);
  }
  return reach;
}

/**
 * Moves marks apart, so that they fill their group: by steps of the square root of two, so that they rarely move.
 * @param room radius of the group, by the radius that the marks take
 */
function spread(own: readonly number[], places: Float32Array, room: number): void {
  const factor = 2 ** (Math.max(0, Math.floor(2 * Math.log2(room))) / 2);
  if (factor === 1) return;
  for (const mark of own) {
    places[mark * 3] = (places[mark * 3] ?? 0) * factor;
    places[mark * 3 + 1] = (places[mark * 3 + 1] ?? 0) * factor;
  }
}

/** Radius of a group by the radius that its marks take, in steps. */
const classRadius = (reach: number) =>
  CLASS_RADIUS * 2 ** Math.max(0, Math.ceil(Math.log2((reach + GROUP_PADDING) / CLASS_RADIUS)));

interface Circle {
  at: number;
  r: number;
  x: number;
  y: number;
}

/** Width of a circle with the space around it. */
const sideOf = (r: number) => 2 * r * (1 + GROUP_PART) + GROUP_GAP;

/** Places circles in rows, the largest first, centred at the origin. Their order is that of their index. */
function inRows(circles: Circle[]): void {
  const area = circles.reduce((sum, { r }) => sum + sideOf(r) ** 2, 0);
  const widest = Math.max(0, ...circles.map(({ r }) => sideOf(r)));
  const width = Math.max(widest, Math.sqrt(area * ASPECT));
  const rows: { circles: Circle[]; width: number; height: number }[] = [];
  for (const circle of circles.toSorted((a, b) => b.r - a.r || a.at - b.at)) {
    const side = sideOf(circle.r);
    let row = rows.at(-1);
    if (!row || row.width + side > width * 1.001) {
      row = { circles: [], width: 0, height: side };
      rows.push(row);
    }
    row.circles.push(circle);
    row.width += side;
  }
  let y = -rows.reduce((sum, { height }) => sum + height, 0) / 2;
  for (const row of rows) {
    let x = -row.width / 2;
    for (const circle of row.circles) {
      const side = sideOf(circle.r);
      circle.x = x + side / 2;
      circle.y = y + row.height / 2;
      x += side;
    }
    y += row.height;
  }
}

/** Maximum number of satellites per ring. */
const RING_MAX = 14;

/** Places satellites on rings around their planets and these systems in rows. */
function systems({ groups, group, size }: LayoutInput): Arrangement {
  const members = membersOf(groups.length, group);
  const planned = groups.map(({ id, weight }, at) => {
    const own = members[at] ?? [];
    // Nodes without a planet orbit an empty centre.
    const radius = id === '' ? 0 : 6 + 6 * weight;
    const step = 2.6 * Math.max(2, ...own.map((mark) => size[mark] ?? 2));
    const rings = Math.ceil(own.length / RING_MAX);
    return { at, own, radius, step, rings, x: 0, y: 0, r: radius + rings * step + 4 };
  });
  inRows(planned);
  const positions: Arrangement = {
    marks: new Float32Array(group.length * 3),
    groups: new Float32Array(groups.length * 3),
    rings: new Float32Array(planned.reduce((sum, { rings }) => sum + rings, 0) * 3),
    bounds: [0, 0, 0, 0],
  };
  let ringAt = 0;
  for (const { at, own, radius, step, rings, x, y } of planned) {
    positions.groups.set([x, y, radius], at * 3);
    for (let ring = 0; ring < rings; ring++) {
      const distance = radius + (ring + 1) * step;
      positions.rings.set([x, y, distance], ringAt++ * 3);
      const here = own.slice(Math.ceil((ring * own.length) / rings), Math.ceil(((ring + 1) * own.length) / rings));
      for (const [index, mark] of here.entries()) {
        // Different start angles, so that satellites of neighbouring rings and systems do not line up.
        const angle = (index / here.length) * 2 * Math.PI + at * 2.4 + ring * 0.7;
        const place = [x + distance * Math.cos(angle), y + distance * Math.sin(angle), size[mark] ?? 2];
        positions.marks.set(place, mark * 3);
      }
    }
  }
  // The outermost circles of systems: rings, or planets without rings.
  positions.bounds = boundsOf(Float32Array.from([...positions.groups, ...positions.rings]));
  return positions;
}

function boundsOf(circles: Float32Array): Arrangement['bounds'] {
  const bounds: Arrangement['bounds'] = [0, 0, 0, 0];
  for (let at = 0; at < circles.length; at += 3) {
    const [x = 0, y = 0, r = 0] = circles.subarray(at, at + 3);
    const sides = [x - r, y - r, x + r, y + r] as const;
    for (const side of [0, 1]) bounds[side] = Math.min(bounds[side] ?? 0, sides[side] ?? 0);
    for (const side of [2, 3]) bounds[side] = Math.max(bounds[side] ?? 0, sides[side] ?? 0);
  }
  return bounds;
}
