/**
 * Circle-packing layout by d3-hierarchy. A pure function of ids, groups and sizes, in the order of ids, so that equal
 * maps have equal layouts and an added agent moves its neighbours only slightly.
 */

import type { Layer } from '@living-map/react';
import { hierarchy, pack, packEnclose, packSiblings } from 'd3-hierarchy';

/** Complete input of the layout, transferable to the worker. */
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

/** Padding between marks and between groups (map units). */
const MARK_GAP = 0.45;
const GROUP_GAP = 4;
/** Minimum radius of a group, so that an empty one is visible. */
const GROUP_MIN = 5;

export function arrange(plan: LayoutInput): Arrangement {
  return plan.layer === 'space' ? systems(plan) : circles(plan);
}

interface Node {
  group: number;
  mark: number;
  children?: Node[];
}

/** Packs marks into their groups and the groups into a circle. */
function circles({ groups, group, size }: LayoutInput): Arrangement {
  const children: Node[] = groups.map((_, at) => ({ group: at, mark: -1, children: [] }));
  for (let at = 0; at < group.length; at++) children[group[at] ?? 0]?.children?.push({ group: -1, mark: at });
  const tree = hierarchy<Node>({ group: -1, mark: -1, children }, (node) =>
    node.children?.length ? node.children : undefined,
  );
  const root = pack<Node>()
    .radius(({ data }) => (data.mark < 0 ? GROUP_MIN : (size[data.mark] ?? 1)))
    .padding(({ depth }) => (depth === 0 ? GROUP_GAP : MARK_GAP))(tree);
  const positions = { marks: new Float32Array(group.length * 3), groups: new Float32Array(groups.length * 3) };
  for (const { data, x, y, r } of root.descendants()) {
    const circle = [x - root.x, y - root.y, r];
    if (data.mark >= 0) positions.marks.set(circle, data.mark * 3);
    else if (data.group >= 0) positions.groups.set(circle, data.group * 3);
  }
  return { ...positions, rings: new Float32Array(), bounds: boundsOf(positions.groups) };
}

/** Maximum number of satellites per ring. */
const RING_MAX = 14;

/** Places satellites on rings around their planets and packs these systems into a circle. */
function systems({ groups, group, size }: LayoutInput): Arrangement {
  const members = groups.map((): number[] => []);
  for (let at = 0; at < group.length; at++) members[group[at] ?? 0]?.push(at);
  const planned = groups.map(({ id, weight }, at) => {
    const own = members[at] ?? [];
    // Nodes without a planet orbit an empty centre.
    const radius = id === '' ? 0 : 6 + 6 * weight;
    const step = 2.6 * Math.max(2, ...own.map((mark) => size[mark] ?? 2));
    const rings = Math.ceil(own.length / RING_MAX);
    return { at, own, radius, step, rings, x: 0, y: 0, r: radius + rings * step + 6 };
  });
  packSiblings(planned);
  const whole = planned.length > 0 ? packEnclose(planned) : { x: 0, y: 0, r: 1 };
  const positions: Arrangement = {
    marks: new Float32Array(group.length * 3),
    groups: new Float32Array(groups.length * 3),
    rings: new Float32Array(planned.reduce((sum, { rings }) => sum + rings, 0) * 3),
    bounds: [0, 0, 0, 0],
  };
  let ringAt = 0;
  for (const { at, own, radius, step, rings, x, y } of planned) {
    const [cx, cy] = [x - whole.x, y - whole.y];
    positions.groups.set([cx, cy, radius], at * 3);
    for (let ring = 0; ring < rings; ring++) {
      const distance = radius + (ring + 1) * step;
      positions.rings.set([cx, cy, distance], ringAt++ * 3);
      const here = own.slice(Math.ceil((ring * own.length) / rings), Math.ceil(((ring + 1) * own.length) / rings));
      for (const [index, mark] of here.entries()) {
        // Different start angles, so that satellites of neighbouring rings and systems do not line up.
        const angle = (index / here.length) * 2 * Math.PI + at * 2.4 + ring * 0.7;
        positions.marks.set(
          [cx + distance * Math.cos(angle), cy + distance * Math.sin(angle), size[mark] ?? 2],
          mark * 3,
        );
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
