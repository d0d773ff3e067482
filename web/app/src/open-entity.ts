/** Opens an entity: shows its panel and moves the camera to it. */

import type { EntityType, Layer } from '@living-map/react';
import { flights } from './signals';
import { getView, setView } from './view';

/** Layers that show entities of a type, primary layer first. */
const seenIn: Record<EntityType, readonly Layer[]> = {
  city: ['city'],
  microdao: ['city', 'nodes'],
  channel: ['city'],
  agent: ['agents', 'city'],
  node: ['nodes', 'space'],
  dao: ['space'],
  space: ['space'],
};

/** Layer in which to show an entity: the current one if it contains the type. */
export function layerFor(type: EntityType, present: Layer): Layer {
  const layers = seenIn[type] ?? [present];
  return layers.includes(present) ? present : (layers[0] ?? present);
}

/** Element that had the focus before the panel was opened. */
let origin: Element | null = null;

export function openEntity(id: string, type: EntityType | undefined = typeOf(id)): void {
  const { layer, entity } = getView();
  if (entity === null) origin = document.activeElement;
  setView({ entity: id, layer: type ? layerFor(type, layer) : layer });
  flights.send(id);
}

/** Closes the panel; the focus returns to where it was. */
export function closeEntity(): void {
  setView({ entity: null });
  if (origin instanceof HTMLElement && origin.isConnected) origin.focus();
  else document.querySelector<HTMLElement>('.canvas, .table')?.focus();
  origin = null;
}

/** Entity type by the prefix of a canonical id. */
export function typeOf(id: string): EntityType | undefined {
  const prefix = id.slice(0, Math.max(0, id.indexOf(':')));
  return Object.hasOwn(seenIn, prefix) ? (prefix as EntityType) : undefined;
}
