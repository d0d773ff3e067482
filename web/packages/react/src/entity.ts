/** Finding an entity on the map. */

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
  /** The layer it was found in; that where it is at home, if the map has it. */
  readonly layer: Layer;
  /** The item in the layer's list. */
  readonly data: EntityData;
}

/** Where entities are, those first where they are at home. */
const places: readonly (readonly [Layer, EntityType])[] = [
  ['agents', 'agent'],
  ['nodes', 'node'],
  ['city', 'microdao'],
  ['city', 'channel'],
  ['space', 'dao'],
  ['space', 'node'],
];

/** The same object for the same item, so that who compares by identity sees no change where there is none. */
const found = new WeakMap<object, Entity>();

/** The entity with the canonical `id`; `null` when the map has none. */
export function findEntity(snapshot: Snapshot | null, id: string): Entity | null {
  for (const [layer, type] of places) {
    const items = (snapshot?.layers[layer] as Record<string, unknown> | null)?.[listOf(layer, type)];
    const data = Array.isArray(items) && items[position(items, id)];
    if (data) {
      const entity = found.get(data) ?? { layer, type, data };
      found.set(data, entity);
      return entity;
    }
  }
  return null;
}
