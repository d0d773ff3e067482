/** Uniform list of entities for all views of the map. */

import {
  type AgentItem,
  type ChannelItem,
  type CityItem,
  type EntityType,
  findEntity,
  type Layer,
  type Layers,
  type NodeItem,
  type Planet,
  type Snapshot,
  type SpaceNode,
  type Status,
} from '@living-map/react';

export interface Item {
  readonly id: string;
  readonly type: EntityType;
  readonly layer: Layer;
  readonly label: string;
  readonly status: Status;
  /** Kind of an agent; the entity type otherwise. */
  readonly kind: string;
  readonly microdaoId: string | null;
}

type Data = AgentItem | ChannelItem | CityItem | NodeItem | Planet | SpaceNode;

/** Items by source object: unchanged data yields the same item, so that long lists compare quickly. */
const cache = new WeakMap<Data, Item>();

function item(layer: Layer, type: EntityType, data: Data): Item {
  let found = cache.get(data);
  if (!found) {
    const microdaoId = type === 'microdao' ? data.id : 'microdao_id' in data ? data.microdao_id : null;
    const kind = type === 'agent' ? ((data as AgentItem).kind ?? 'agent') : type;
    found = { id: data.id, type, layer, label: data.name, status: data.status, kind, microdaoId };
    cache.set(data, found);
  }
  return found;
}

/** Entities of a layer (in `space` also the nodes), ordered by id within a type. */
export function itemsOf(layers: Layers | null, layer: Layer): Item[] {
  const { city, space, nodes, agents } = layers ?? {};
  switch (layer) {
    case 'city':
      return [
        ...(city?.items ?? []).map((data) => item('city', 'microdao', data)),
        ...(city?.channels ?? []).map((data) => item('city', 'channel', data)),
      ];
    case 'space':
      return [
        ...(space?.planets ?? []).map((data) => item('space', 'dao', data)),
        ...(space?.nodes ?? []).map((data) => item('space', 'node', data)),
      ];
    case 'nodes':
      return (nodes?.items ?? []).map((data) => item('nodes', 'node', data));
    case 'agents':
      return (agents?.items ?? []).map((data) => item('agents', 'agent', data));
  }
}

/** All entities, each once. */
export function allEntities(layers: Layers | null): Item[] {
  const all = [...itemsOf(layers, 'city'), ...itemsOf(layers, 'agents'), ...itemsOf(layers, 'nodes')];
  return [...all, ...itemsOf(layers, 'space').filter(({ type }) => type === 'dao')];
}

export function itemById(layers: Layers | null, id: string): Item | null {
  const found = layers && findEntity({ layers } as Snapshot, id);
  return found ? item(found.layer, found.type, found.data as Data) : null;
}

export interface Relation {
  readonly relation: 'belongs_to' | 'has' | 'governs' | 'governed_by' | 'orbits' | 'orbited_by';
  readonly item: Item;
}

/** Relations of an entity, like `GET …/relations` but computed from the displayed map. */
export function relationsOf(layers: Layers, { id, type, microdaoId }: Item): Relation[] {
  const relations: Relation[] = [];
  const add = (relation: Relation['relation'], other: string | null) => {
    const found = other ? itemById(layers, other) : null;
    if (found) relations.push({ relation, item: found });
  };
  const planets = layers.space?.planets ?? [];
  if (type === 'microdao') {
    for (const planet of planets) if (planet.microdao_id === id) add('governed_by', planet.id);
    for (const other of allEntities(layers)) {
      if (other.microdaoId === id && other.id !== id && other.type !== 'dao')
        relations.push({ relation: 'has', item: other });
    }
  } else {
    add(type === 'dao' ? 'governs' : 'belongs_to', microdaoId);
  }
  if (type === 'dao')
    for (const node of planets.find((planet) => planet.id === id)?.orbits ?? []) add('orbited_by', node);
  if (type === 'node') for (const planet of planets) if (planet.orbits.includes(id)) add('orbits', planet.id);
  return relations;
}
