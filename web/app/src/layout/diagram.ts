/** Diagram of a layer: marks in groups, before layout. */

import type { AgentItem, Layer, Layers } from '@living-map/react';
import { type Item, itemsOf } from '../entities';

/** A circle that contains marks. */
export interface DiagramGroup {
  /** Canonical id if the group is an entity. */
  readonly id: string;
  /** `null`: the group of marks without a group. */
  readonly label: string | null;
  readonly isEntity: boolean;
  /** Relative size from 0 to 1: a planet's treasury compared with the largest one. */
  readonly weight: number;
}

export interface DiagramMark {
  /** Unique key: the entity's id, with the group's id if the entity appears more than once. */
  readonly key: string;
  readonly item: Item;
  readonly group: string;
  /** Radius (map units; an agent has 1). */
  readonly size: number;
}

export interface Diagram {
  readonly layer: Layer;
  readonly groups: readonly DiagramGroup[];
  readonly marks: readonly DiagramMark[];
}

/** Id of the group of marks without a group. */
export const NONE = '';

/** Marks by item: unchanged items yield the same mark. One cache per layer, since groups differ between layers. */
const cache: Record<Layer, WeakMap<Item, DiagramMark>> = {
  city: new WeakMap(),
  space: new WeakMap(),
  nodes: new WeakMap(),
  agents: new WeakMap(),
};

function mark(layer: Layer, item: Item, group: string, size: number): DiagramMark {
  const before = cache[layer].get(item);
  if (before && before.group === group && before.size === size) return before;
  const made = { key: item.id, item, group, size };
  cache[layer].set(item, made);
  return made;
}

export function diagramOf(layers: Layers | null, layer: Layer): Diagram {
  return makers[layer](layers);
}

const makers: Record<Layer, (layers: Layers | null) => Diagram> = {
  city(layers) {
    const { groups, groupOf } = districts(layers);
    const channels = itemsOf(layers, 'city').filter(({ type }) => type === 'channel');
    // Packing places the first ones in the centre: agents surround their channels.
    const marks = [
      ...channels.map((item) => mark('city', item, groupOf(item), 1.35)),
      ...itemsOf(layers, 'agents').map((item) => mark('city', item, groupOf(item), 1)),
    ];
    return diagram('city', groups, marks);
  },

  space(layers) {
    const planets = layers?.space?.planets ?? [];
    const nodes = new Map(
      itemsOf(layers, 'space')
        .filter(({ type }) => type === 'node')
        .map((item) => [item.id, item]),
    );
    const most = Math.max(1, ...planets.map(({ treasury_value }) => treasury_value));
    const groups = planets.map(({ id, name, treasury_value }) => {
      // In steps, so that a small payment does not change the layout.
      const weight = Math.round(Math.sqrt(Math.max(0, treasury_value) / most) * 8) / 8;
      return { id, label: name, isEntity: true, weight };
    });
    const placed = new Set<string>();
    const marks: DiagramMark[] = [];
    for (const planet of planets) {
      for (const id of planet.orbits) {
        const item = nodes.get(id);
        if (!item) continue;
        if (placed.has(id)) marks.push({ key: `${id}@${planet.id}`, item, group: planet.id, size: 2 });
        else marks.push(mark('space', item, planet.id, 2));
        placed.add(id);
      }
    }
    for (const item of nodes.values()) if (!placed.has(item.id)) marks.push(mark('space', item, NONE, 2));
    return diagram('space', groups, marks);
  },

  nodes(layers) {
    const { groups, groupOf } = districts(layers);
    return diagram(
      'nodes',
      groups,
      itemsOf(layers, 'nodes').map((item) => mark('nodes', item, groupOf(item), 6)),
    );
  },

  agents(layers) {
    const agents = layers?.agents?.items ?? [];
    const kinds = [...new Set(itemsOf(layers, 'agents').map(({ kind }) => kind))].sort();
    const groups = kinds.map((kind) => ({ id: `kind:${kind}`, label: kind, isEntity: false, weight: 0 }));
    const marks = itemsOf(layers, 'agents').map((item, at) =>
      mark('agents', item, `kind:${item.kind}`, usageSize(agents[at])),
    );
    return diagram('agents', groups, marks);
  },
};

/** Radius by LLM calls of the last 24 hours, in steps: an agent grows when the number quadruples. */
export function usageSize(agent: AgentItem | undefined): number {
  const calls = agent?.usage.llm_calls_24h ?? 0;
  return 1 + 0.45 * Math.min(5, Math.floor(Math.log2(1 + Math.max(0, calls)) / 2));
}

function districts(layers: Layers | null) {
  const microdaos = layers?.city?.items ?? [];
  const ids = new Set(microdaos.map(({ id }) => id));
  const groups: DiagramGroup[] = microdaos.map(({ id, name }) => ({ id, label: name, isEntity: true, weight: 0 }));
  const groupOf = ({ microdaoId }: Item) => (microdaoId !== null && ids.has(microdaoId) ? microdaoId : NONE);
  return { groups, groupOf };
}

function diagram(layer: Layer, groups: readonly DiagramGroup[], marks: readonly DiagramMark[]): Diagram {
  if (!marks.some(({ group }) => group === NONE)) return { layer, groups, marks };
  return { layer, groups: [...groups, { id: NONE, label: null, isEntity: false, weight: 0 }], marks };
}

/** Whether two diagrams have the same layout, so that only their styles may differ. */
export function hasSameLayout(a: Diagram | null, b: Diagram): boolean {
  if (a?.layer !== b.layer || a.marks.length !== b.marks.length || a.groups.length !== b.groups.length) return false;
  for (let i = 0; i < a.groups.length; i++) {
    const [left, right] = [a.groups[i], b.groups[i]];
    if (left?.id !== right?.id || left?.weight !== right?.weight) return false;
  }
  for (let i = 0; i < a.marks.length; i++) {
    const [left, right] = [a.marks[i], b.marks[i]];
    if (left === right) continue;
    if (left?.key !== right?.key || left?.group !== right?.group || left?.size !== right?.size) return false;
  }
  return true;
}
