/** To open an entity: its panel, and a flight to where it is. */

import type { EntityType, Layer } from '@living-map/react';
import { flights } from './signals';
import { getView, setView } from './view';

/** Where entities of a type are seen, at home first. */
const seenIn: Record<EntityType, readonly Layer[]> = {
  city: ['city'],
  microdao: ['city', 'nodes'],
  channel: ['city'],
  agent: ['agents', 'city'],
  node: ['nodes', 'space'],
  dao: ['space'],
  space: ['space'],
};

/** The layer to see an entity in: the present one, if it shows it. */
export function layerFor(type: EntityType, present: Layer): Layer {
  const layers = seenIn[type] ?? [present];
  return layers.includes(present) ? present : (layers[0] ?? present);
}

export function openEntity(id: string, type: EntityType | undefined = typeOf(id)): void {
  const { layer } = getView();
  setView({ entity: id, layer: type ? layerFor(type, layer) : layer });
  flights.send(id);
}

/** The type that a canonical id says. */
export function typeOf(id: string): EntityType | undefined {
  const prefix = id.slice(0, Math.max(0, id.indexOf(':')));
  return Object.hasOwn(seenIn, prefix) ? (prefix as EntityType) : undefined;
}
