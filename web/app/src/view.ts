/** View state, stored in the URL's query, so that views can be shared and Back works. */

import type { Layer } from '@living-map/react';
import { useSyncExternalStore } from 'react';
import { type Filter, NO_FILTER } from './filter';
import { parseConditions } from './network/condition';

export const LAYERS = ['city', 'space', 'nodes', 'agents'] as const satisfies readonly Layer[];
export const PANELS = ['events', 'alerts', 'health', 'lessons', 'letters', 'changes'] as const;

export type Panel = (typeof PANELS)[number];

/** Panel of the address that shows none. */
const CLOSED = 'none' as const;

export interface View {
  readonly layer: Layer;
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
}

/** Parses a URL's query; invalid values are ignored. */
export function parseView(search: string): View {
  const query = new URLSearchParams(search);
  const at = query.get('at');
  return {
    layer: LAYERS.find((layer) => layer === query.get('layer')) ?? 'city',
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
  };
}

/** Formats a view as a query, without default values. */
export function formatView({ layer, entity, at, panel, table, sort, hidden, filter }: View): string {
  const query = new URLSearchParams();
  if (layer !== 'city') query.set('layer', layer);
  if (entity) query.set('entity', entity);
  if (at) query.set('at', at);
  if (panel !== null) query.set('panel', panel);
  if (table) query.set('view', 'table');
  if (sort) query.set('sort', sort);
  if (hidden.length > 0) query.set('hide', hidden.join());
  if (filter.conditions.length > 0) query.set('status', filter.conditions.join());
  if (filter.kind) query.set('kind', filter.kind);
  if (filter.microdao) query.set('microdao', filter.microdao);
  // Colons and commas need no escaping and keep ids and times readable.
  const text = query.toString().replaceAll('%3A', ':').replaceAll('%2C', ',');
  return text ? `?${text}` : '';
}

let view = parseView(globalThis.location?.search ?? '');
const listeners = new Set<() => void>();

function notify() {
  for (const listener of [...listeners]) listener();
}

globalThis.addEventListener?.('popstate', () => {
  view = parseView(location.search);
  notify();
});

export const getView = (): View => view;

/**
 * @param change fields to change
 * @param isStep whether to add a history entry, so that Back returns to the previous view
 */
export function setView(change: Partial<View>, isStep = true): void {
  const next = { ...view, ...change };
  const search = formatView(next);
  if (search === formatView(view)) return;
  view = next;
  history[isStep ? 'pushState' : 'replaceState'](null, '', location.pathname + search);
  notify();
}

export const resetFilter = (): void => setView({ filter: NO_FILTER }, false);

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useView = (): View => useSyncExternalStore(subscribe, getView, getView);
