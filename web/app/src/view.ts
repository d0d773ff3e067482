/** View state, stored in the URL's query, so that views can be shared and Back works. */

import type { Layer } from '@living-map/react';
import { useSyncExternalStore } from 'react';
import { type Filter, NO_FILTER } from './filter';
import { parseConditions } from './network/condition';
import { type FeedFilter, NO_FEED_FILTER } from './panels/feed-filter';

export const LAYERS = ['city', 'space', 'nodes', 'agents'] as const satisfies readonly Layer[];
export const PANELS = ['events', 'alerts', 'health', 'lessons', 'letters', 'changes'] as const;

export type Panel = (typeof PANELS)[number];

/** Panel of the address that shows none. */
const CLOSED = 'none' as const;

/** Part of the map that is shown: the point in the middle of the space free of panels, and the zoom. */
export interface CameraView {
  readonly x: number;
  readonly y: number;
  /** log2 of the pixels per map unit. */
  readonly zoom: number;
}

export interface View {
  readonly layer: Layer;
  /** `null`: the whole layer, whatever the size of the window. */
  readonly camera: CameraView | null;
  /** Canonical id of the open entity. */
  readonly entity: string | null;
  /** Time travel: the displayed moment (RFC 3339); `null`: live. */
  readonly at: string | null;
  /** The open panel; `null`: none was asked for, `none`: it was closed. */
  readonly panel: Panel | typeof CLOSED | null;
  /** Whether the layer is shown as a table. */
  readonly table: boolean;
  /** Column by which the table is sorted, with `-` in front for descending order. */
  readonly sort: string | null;
  /** Columns of the table that are hidden. */
  readonly hidden: readonly string[];
  readonly filter: Filter;
  /** Filter of the event feed. */
  readonly feed: FeedFilter;
  /** Status of the lessons or dead letters that the panel lists; `null`: those that wait for a decision. */
  readonly list: string | null;
}

/** Decimal places of a camera in the address: a tenth of a map unit is less than a mark. */
const CAMERA_DIGITS = { x: 1, y: 1, zoom: 2 } as const;

/** A camera as precise as the address holds it. */
export function roundedCamera({ x, y, zoom }: CameraView): CameraView {
  const round = (value: number, digits: number) => Number(value.toFixed(digits)) || 0;
  return { x: round(x, CAMERA_DIGITS.x), y: round(y, CAMERA_DIGITS.y), zoom: round(zoom, CAMERA_DIGITS.zoom) };
}

export const isSameCamera = (a: CameraView | null, b: CameraView | null): boolean =>
  a?.x === b?.x && a?.y === b?.y && a?.zoom === b?.zoom;

function parseCamera(text: string | null): CameraView | null {
  const parts = text?.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part))) ?? [];
  const [x, y, zoom] = parts;
  if (parts.length !== 3 || x === undefined || y === undefined || zoom === undefined) return null;
  return parts.every(Number.isFinite) ? roundedCamera({ x, y, zoom }) : null;
}

/** Parses a URL's query; invalid values are ignored. */
export function parseView(search: string): View {
  const query = new URLSearchParams(search);
  const at = query.get('at');
  return {
    layer: LAYERS.find((layer) => layer === query.get('layer')) ?? 'city',
    camera: parseCamera(query.get('camera')),
    entity: query.get('entity') || null,
    at: at && !Number.isNaN(Date.parse(at)) ? at : null,
    panel: ([...PANELS, CLOSED] as const).find((panel) => panel === query.get('panel')) ?? null,
    table: query.get('view') === 'table',
    sort: query.get('sort') || null,
    hidden: query.get('hide')?.split(',').filter(Boolean) ?? [],
    filter: {
      conditions: parseConditions(query.get('status')),
      kind: query.get('kind') || null,
      microdao: query.get('microdao') || null,
    },
    feed: { text: query.get('events') ?? NO_FEED_FILTER.text, isChanging: query.get('changing') === '1' },
    list: query.get('list') || null,
  };
}

/** Formats a view as a query, without default values. */
export function formatView(view: View): string {
  const { layer, camera, entity, at, panel, table, sort, hidden, filter, feed, list } = view;
  const query = new URLSearchParams();
  if (layer !== 'city') query.set('layer', layer);
  if (camera) query.set('camera', [camera.x, camera.y, camera.zoom].join());
  if (entity) query.set('entity', entity);
  if (at) query.set('at', at);
  if (panel !== null) query.set('panel', panel);
  if (table) query.set('view', 'table');
  if (sort) query.set('sort', sort);
  if (hidden.length > 0) query.set('hide', hidden.join());
  if (filter.conditions.length > 0) query.set('status', filter.conditions.join());
  if (filter.kind) query.set('kind', filter.kind);
  if (filter.microdao) query.set('microdao', filter.microdao);
  if (feed.text) query.set('events', feed.text);
  if (feed.isChanging) query.set('changing', '1');
  if (list) query.set('list', list);
  // Colons and commas need no escaping and keep ids and times readable.
  const text = query.toString().replaceAll('%3A', ':').replaceAll('%2C', ',');
  return text ? `?${text}` : '';
}

/**
 * The view after a change. Coordinates of one layer mean nothing in another one, and a status of lessons nothing for dead
 * letters.
 */
export function changedView(view: View, change: Partial<View>): View {
  const next = { ...view, ...change };
  if (next.layer !== view.layer && change.camera === undefined) next.camera = null;
  if (next.panel !== view.panel && change.list === undefined) next.list = null;
  return next;
}

let view = parseView(globalThis.location?.search ?? '');
const listeners = new Set<() => void>();

function notify() {
  for (const listener of [...listeners]) listener();
}

globalThis.addEventListener?.('popstate', () => {
  clearTimeout(cameraTimer);
  movedCamera = undefined;
  view = parseView(location.search);
  notify();
});

export const getView = (): View => view;

/**
 * @param change fields to change
 * @param isStep whether to add a history entry, so that Back returns to the previous view
 */
export function setView(change: Partial<View>, isStep = true): void {
  // The entry that is left keeps the camera that it had.
  if (isStep) writeCamera();
  const next = changedView(view, change);
  const search = formatView(next);
  if (search === formatView(view)) return;
  view = next;
  history[isStep ? 'pushState' : 'replaceState'](null, '', location.pathname + search);
  notify();
}

/** Delay after which the address follows the camera: browsers limit how often it may change (ms). */
const CAMERA_MS = 250;

/** Camera that the address does not hold yet; `undefined`: none. */
let movedCamera: CameraView | null | undefined;
let cameraTimer: ReturnType<typeof setTimeout> | undefined;

/** Writes the camera to the address once it rests; adds no history entry. */
export function moveCamera(camera: CameraView | null): void {
  movedCamera = camera;
  clearTimeout(cameraTimer);
  cameraTimer = setTimeout(writeCamera, CAMERA_MS);
}

function writeCamera() {
  clearTimeout(cameraTimer);
  if (movedCamera === undefined) return;
  const camera = movedCamera;
  movedCamera = undefined;
  setView({ camera }, false);
}

export const resetFilter = (): void => setView({ filter: NO_FILTER }, false);

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useView = (): View => useSyncExternalStore(subscribe, getView, getView);
