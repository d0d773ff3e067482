/** Condition of an entity: the five words that every view, legend and filter uses. */

import type { Status } from '@living-map/react';

/** Worst first. */
export const CONDITIONS = ['failing', 'warning', 'away', 'working', 'idle'] as const;
export type Condition = (typeof CONDITIONS)[number];

/** A condition that needs attention. */
export type Trouble = Extract<Condition, 'failing' | 'warning'>;

const byStatus: Partial<Record<Status, Condition>> = {
  error: 'failing',
  warning: 'warning',
  offline: 'away',
  inactive: 'away',
};

/** Condition by the status alone, without alerts and activity. */
export const conditionOfStatus = (status: Status): Condition => byStatus[status] ?? 'idle';

/** The worse of two conditions. */
export const worse = (a: Condition, b: Condition): Condition =>
  CONDITIONS.indexOf(a) <= CONDITIONS.indexOf(b) ? a : b;

export const isTrouble = (condition: Condition): condition is Trouble =>
  condition === 'failing' || condition === 'warning';

/** Conditions that a status in a link of an earlier release stands for. */
const formerStatuses: Record<Status, readonly Condition[]> = {
  error: ['failing'],
  warning: ['warning'],
  offline: ['away'],
  inactive: ['away'],
  idle: ['idle'],
  active: ['working', 'idle'],
  online: ['working', 'idle'],
};

/** Parses the `status` of a link: conditions, or statuses as in links of earlier releases. */
export function parseConditions(text: string | null): Condition[] {
  const named = new Set<string>(text?.split(',') ?? []);
  const former = [...named].flatMap((name) => formerStatuses[name as Status] ?? []);
  return CONDITIONS.filter((condition) => named.has(condition) || former.includes(condition));
}
