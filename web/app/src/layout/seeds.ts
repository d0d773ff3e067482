/** What of the map a layer's picture is made of: marks in groups, before anything has a place. */

import type { AgentItem, Layer, Layers } from '@living-map/react';
import { type Item, itemsOf } from '../entities';

/** A circle that holds marks. */
export interface GroupSeed {
  /** A canonical id where the group is an entity. */
  readonly id: string;
  /** `null`: those that belong to none. */
  readonly label: string | null;
  readonly isEntity: boolean;
  /** How much of it there is beside its marks, 0 to 1: a planet's share of the greatest treasury. */
  readonly weight: number;
}

export interface MarkSeed {
  /** Names the mark in a picture: the entity's id, or that and where, for one that is there more than once. */
  readonly key: string;
  readonly item: Item;
  readonly group: string;
  /** Radius. Map units; an agent has 1. */
  readonly size: number;
}

export interface Seeds {
  readonly layer: Layer;
  readonly groups: readonly GroupSeed[];
  readonly marks: readonly MarkSeed[];
}

/** The group of those that belong to none. */
export const NONE = '';

/** Marks of unchanged items are the same objects; one memory for each picture, since their groups differ. */
const known: Record<Layer, WeakMap<Item, MarkSeed>> = {
  city: new WeakMap(),
  space: new WeakMap(),
  nodes: new WeakMap(),
  agents: new WeakMap(),
};

function mark(layer: Layer, item: Item, group: string, size: number): MarkSeed {
  const before = known[layer].get(item);
  if (before && before.group === group && before.size === size) return before;
  const seed = { key: item.id, item, group, size };
  known[layer].set(item, seed);
  return seed;
}

export function seedsOf(layers: Layers | null, layer: Layer): Seeds {
  return makers[layer](layers);
}

const makers: Record<Layer, (layers: Layers | null) => Seeds> = {
  city(layers) {
    const { groups, groupOf } = districts(layers);
    const channels = itemsOf(layers, 'city').filter(({ type }) => type === 'channel');
    // The first are in the middle: the agents are around their channels.
    const marks = [
      ...channels.map((item) => mark('city', item, groupOf(item), 1.35)),
      ...itemsOf(layers, 'agents').map((item) => mark('city', item, groupOf(item), 1)),
    ];
    return seeds('city', groups, marks);
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
      // In steps, so that a payment does not move the sky.
      const weight = Math.round(Math.sqrt(Math.max(0, treasury_value) / most) * 8) / 8;
      return { id, label: name, isEntity: true, weight };
    });
    const placed = new Set<string>();
    const marks: MarkSeed[] = [];
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
    return seeds('space', groups, marks);
  },

  nodes(layers) {
    const { groups, groupOf } = districts(layers);
    return seeds(
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
    return seeds('agents', groups, marks);
  },
};

/** By calls of the last 24 hours, in steps: an agent grows when it has four times as many, not with each. */
export function usageSize(agent: AgentItem | undefined): number {
  const calls = agent?.usage.llm_calls_24h ?? 0;
  return 1 + 0.45 * Math.min(5, Math.floor(Math.log2(1 + Math.max(0, calls)) / 2));
}

function districts(layers: Layers | null) {
  const microdaos = layers?.city?.items ?? [];
  const ids = new Set(microdaos.map(({ id }) => id));
  const groups: GroupSeed[] = microdaos.map(({ id, name }) => ({ id, label: name, isEntity: true, weight: 0 }));
  const groupOf = ({ microdaoId }: Item) => (microdaoId !== null && ids.has(microdaoId) ? microdaoId : NONE);
  return { groups, groupOf };
}

function seeds(layer: Layer, groups: readonly GroupSeed[], marks: readonly MarkSeed[]): Seeds {
  if (!marks.some(({ group }) => group === NONE)) return { layer, groups, marks };
  return { layer, groups: [...groups, { id: NONE, label: null, isEntity: false, weight: 0 }], marks };
}

/** Whether two pictures' things have the same places: then only their looks differ. */
export function samePlaces(a: Seeds | null, b: Seeds): boolean {
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
