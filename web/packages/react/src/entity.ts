/** Entity lookup by id. */

import { listOf, position } from './fold.js';
import type {
  AgentItem,
  ChannelItem,
  CityItem,
  EntityType,
  Layer,
  NodeItem,
  Planet,
  Snapshot,
  SpaceNode,
} from './generated.js';

export type EntityData = AgentItem | ChannelItem | CityItem | NodeItem | Planet | SpaceNode;

export interface Entity {
  readonly type: EntityType;
  /** Layer in which it was found: its primary layer if that one is subscribed to. */
  readonly layer: Layer;
  /** The item in the layer's list. */
  readonly data: EntityData;
}

/** Lists in which to search, primary layers first. */
const lists: readonly (readonly [Layer, EntityType])[] = [
  ['agents', 'agent'],
  ['nodes', 'node'],
  ['city', 'microdao'],
  ['city', 'channel'],
  ['space', 'dao'],
  ['space', 'node'],
];

/** One `Entity` object per item, so that comparison by identity works. */
const entities = new WeakMap<object, Entity>();

/** Finds the entity with the canonical `id`; `null` if the map has none. */
export function findEntity(snapshot: Snapshot | null, id: string): Entity | null {
  for (const [layer, type] of lists) {
    const items = (snapshot?.layers[layer] as Record<string, unknown> | null)?.[listOf(layer, type)];
    const data = Array.isArray(items) && items[position(items, id)];
    if (data) {
      const entity = entities.get(data) ?? { layer, type, data };
      entities.set(data, entity);
      return entity;
    }
  }
  return null;
}
