/** Opens an entity: shows its panel and moves the camera to it. */

import type { EntityType, Layer } from '@living-map/react';
import { flights } from './signals';
import { getView, setView, type View } from './view';

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

/** The view that opens an entity; its address shows the entity, wherever the camera is now. */
export function linkTo(id: string, type: EntityType | undefined = typeOf(id)): View {
  const view = getView();
  return { ...view, entity: id, layer: type ? layerFor(type, view.layer) : view.layer, camera: null };
}

export function openEntity(id: string, type: EntityType | undefined = typeOf(id)): void {
  const { entity, table } = getView();
  if (entity === null) origin = document.activeElement;
  const { layer, camera } = linkTo(id, type);
  // Without a picture there is no flight: it starts at the entity when it is shown.
  setView(table ? { entity: id, layer, camera } : { entity: id, layer });
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
