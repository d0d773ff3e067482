/** Filter of a layer's entities. */

import type { Condition } from './network/condition';

export interface Filter {
  /** Empty: all conditions. */
  readonly conditions: readonly Condition[];
  readonly kind: string | null;
  readonly microdao: string | null;
}

export const NO_FILTER: Filter = { conditions: [], kind: null, microdao: null };

/** The fields of an entity that a filter uses. */
export interface Filterable {
  readonly id: string;
  readonly kind: string;
  readonly microdaoId: string | null;
}

/** @param conditionOf condition of an entity by id */
export function matches(
  { conditions, kind, microdao }: Filter,
  entity: Filterable,
  conditionOf: (id: string) => Condition,
): boolean {
  if (conditions.length > 0 && !conditions.includes(conditionOf(entity.id))) return false;
  if (kind !== null && entity.kind !== kind) return false;
  return microdao === null || entity.microdaoId === microdao || entity.id === microdao;
}

export const isFiltering = ({ conditions, kind, microdao }: Filter): boolean =>
  conditions.length > 0 || kind !== null || microdao !== null;
