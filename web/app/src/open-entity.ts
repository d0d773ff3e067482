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

/** Closes the entity's panel. The focus returns to where it was before, unless it is outside of the panel. */
export function closeEntity(): void {
  const { activeElement } = document;
  const isElsewhere = activeElement && activeElement !== document.body && !activeElement.closest('.entity');
  setView({ entity: null });
  if (!isElsewhere) returnFocus(origin);
  origin = null;
}

/** Closes the other panel; the focus goes to the link that opens it. */
export function closePanel(): void {
  const link = document.querySelector('[data-panel][aria-current=page]');
  setView({ panel: 'none' });
  returnFocus(link);
}

/** Focuses an element, or the stage if the element is gone: a removed element leaves the focus nowhere. */
export function returnFocus(to: Element | null): void {
  if (to instanceof HTMLElement && to.isConnected && to !== document.body) to.focus();
  else document.querySelector<HTMLElement>('.canvas, .table')?.focus();
}

/** Entity type by the prefix of a canonical id. */
export function typeOf(id: string): EntityType | undefined {
  const prefix = id.slice(0, Math.max(0, id.indexOf(':')));
  return Object.hasOwn(seenIn, prefix) ? (prefix as EntityType) : undefined;
}
