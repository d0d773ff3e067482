// @ts-check
/** Where the picture's discs and dots go. Pure, and stable: who has a place keeps it until its neighbours change. */

/** @import { Item } from '../types.d.ts' */
/** @import { Store } from './store.js' */

/** @typedef {{x: number, y: number, radius: number, outer: number, label: string, room: number}} Disc */
/** @typedef {{id: string, type: string, label: string, status: string, x: number, y: number, size: number}} Spot */
/** @typedef {{id: string, label: string, status: string, agents: Item[], nodes: Item[]}} Group */

/** Each next dot turns by this much, so that none is behind another: the arrangement of a sunflower's seeds. */
const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));
/** Between discs, and for the label below. Pixels. */
const GAP = 18;
const LABEL_HEIGHT = 18;
/** Bounds of a dot's share of room. Pixels. */
const SMALLEST = 0.4;
const LARGEST = 16;
/** Where there is room, a disc of few agents is large enough for its label. Pixels. */
const ROOMY = 30;

/**
 * @param {Pick<Store, 'list'>} store
 * @param {number} width
 * @param {number} height
 * @returns {{discs: Disc[], spots: Map<string, Spot>}}
 */
export function layOut(store, width, height) {
  const groups = groupsOf(store);
  const pitch = largestPitch(groups, width, height);
  const rows = balanced(groups, pitch, width);
  /** @type {Disc[]} */
  const discs = [];
  /** @type {Map<string, Spot>} */
  const spots = new Map();
  let y = Math.max(GAP / 2, (height - heightOf(rows) + GAP / 2) / 2);
  for (const row of rows) {
    let x = (width - row.width) / 2;
    for (const { group, radius, outer } of row.discs) {
      const [cx, cy] = [x + outer, y + row.height / 2];
      discs.push({ x: cx, y: cy, radius, outer, label: group.label, room: 2 * outer + GAP - 6 });
      if (group.id)
        place(spots, { id: group.id, label: group.label, status: group.status }, 'microdao', cx, cy, radius);
      group.agents.forEach((agent, i) => {
        const away = pitch * Math.sqrt(i + 0.5);
        const angle = i * GOLDEN_ANGLE;
        place(spots, agent, 'agent', cx + away * Math.cos(angle), cy + away * Math.sin(angle), pitch * 0.55);
      });
      group.nodes.forEach((node, i) => {
        const angle = (2 * Math.PI * i) / group.nodes.length - Math.PI / 2;
        const away = radius + nodeSize(pitch);
        place(spots, node, 'node', cx + away * Math.cos(angle), cy + away * Math.sin(angle), nodeSize(pitch));
      });
      x += 2 * outer + GAP;
    }
    y += row.height + LABEL_HEIGHT + GAP / 2;
  }
  return { discs, spots };
}

/**
 * @param {Map<string, Spot>} spots
 * @param {{id: string, name?: string, label?: string, status?: string}} item
 * @param {string} type
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function place(spots, item, type, x, y, size) {
  spots.set(item.id, {
    id: item.id,
    type,
    label: item.label || item.name || String(item.id),
    status: item.status ?? 'unknown',
    x,
    y,
    size,
  });
}

/**
 * @param {Pick<Store, 'list'>} store
 * @returns {Group[]}
 */
function groupsOf(store) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const item of store.list('city', 'items')) {
    groups.set(item.id, {
      id: item.id,
      label: item.name || String(item.id),
      status: item.status ?? 'unknown',
      agents: [],
      nodes: [],
    });
  }
  /** @type {Group} */
  const others = { id: '', label: 'on their own', status: '', agents: [], nodes: [] };
  for (const agent of store.list('agents', 'items'))
    (groups.get(String(agent.microdao_id)) ?? others).agents.push(agent);
  for (const node of store.list('nodes', 'items')) (groups.get(String(node.microdao_id)) ?? others).nodes.push(node);
  const all = [...groups.values()];
  return others.agents.length + others.nodes.length > 0 ? [...all, others] : all;
}

/** @param {number} pitch */
const nodeSize = (pitch) => Math.max(2.5, Math.min(pitch * 0.75, 6.5));

/**
 * @param {Group} group
 * @param {number} pitch
 */
function radii(group, pitch) {
  // A group with many nodes needs the circumference for them.
  const forNodes = (group.nodes.length * nodeSize(pitch) * 2.2) / (2 * Math.PI);
  const radius = Math.max(Math.min(ROOMY, 6 * pitch), pitch * (Math.sqrt(group.agents.length) + 0.9), forNodes);
  return { radius, outer: radius + (group.nodes.length > 0 ? 2 * nodeSize(pitch) : 0) };
}

/**
 * @param {Group[]} groups
 * @param {number} pitch
 * @param {number} width
 */
function shelve(groups, pitch, width) {
  /** @type {{discs: {group: Group, radius: number, outer: number}[], width: number, height: number}[]} */
  const rows = [];
  for (const group of groups) {
    const { radius, outer } = radii(group, pitch);
    let row = rows.at(-1);
    if (!row || row.width + GAP + 2 * outer > width - 2 * GAP) {
      row = { discs: [], width: -GAP, height: 0 };
      rows.push(row);
    }
    row.discs.push({ group, radius, outer });
    row.width += 2 * outer + GAP;
    row.height = Math.max(row.height, 2 * outer);
  }
  return rows;
}

/**
 * As many shelves as are needed, none of them much shorter than the others.
 * @param {Group[]} groups
 * @param {number} pitch
 * @param {number} width
 */
function balanced(groups, pitch, width) {
  const rows = shelve(groups, pitch, width);
  let low = width / 2;
  let high = width;
  for (let step = 0; step < 8; step++) {
    const middle = (low + high) / 2;
    if (shelve(groups, pitch, middle).length === rows.length) high = middle;
    else low = middle;
  }
  return shelve(groups, pitch, high);
}

/** @param {{height: number}[]} rows */
function heightOf(rows) {
  return rows.reduce((sum, row) => sum + row.height + LABEL_HEIGHT + GAP / 2, 0);
}

/**
 * The roomiest pitch at which everything fits, by bisection; the smallest when nothing does.
 * @param {Group[]} groups
 * @param {number} width
 * @param {number} height
 */
function largestPitch(groups, width, height) {
  let low = SMALLEST;
  let high = LARGEST;
  for (let step = 0; step < 12; step++) {
    const middle = (low + high) / 2;
    const rows = balanced(groups, middle, width);
    const fits = heightOf(rows) <= height - GAP && rows.every((row) => row.width <= width);
    if (fits) low = middle;
    else high = middle;
  }
  return low;
}
