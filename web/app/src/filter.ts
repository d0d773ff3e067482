/** Filter of a layer's entities. */

import type { Status } from '@living-map/react';

export interface Filter {
  /** Empty: all statuses. */
  readonly statuses: readonly Status[];
  readonly kind: string | null;
  readonly microdao: string | null;
}

export const NO_FILTER: Filter = { statuses: [], kind: null, microdao: null };

/** The fields of an entity that a filter uses. */
export interface Filterable {
  readonly id: string;
  readonly status: Status;
  readonly kind: string;
  readonly microdaoId: string | null;
}

export function matches({ statuses, kind, microdao }: Filter, entity: Filterable): boolean {
  if (statuses.length > 0 && !statuses.includes(entity.status)) return false;
  if (kind !== null && entity.kind !== kind) return false;
  return microdao === null || entity.microdaoId === microdao || entity.id === microdao;
}

export const isFiltering = ({ statuses, kind, microdao }: Filter): boolean =>
  statuses.length > 0 || kind !== null || microdao !== null;
