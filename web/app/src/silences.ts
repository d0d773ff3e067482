/** Silences: their scope and whether they are in force. */

import type { Alert, Silence } from '@living-map/react';

/** Matchers of a silence: it applies to alerts with equal values. */
export const SCOPES = ['alert', 'rule', 'entity_id'] as const satisfies readonly (keyof Silence)[];
export type Scope = (typeof SCOPES)[number];

/** Selectable durations of a silence (minutes). */
export const LENGTHS = [15, 60, 240, 1440, 10_080] as const;

/** The matchers that a silence sets; an alert must match all of them. */
export function namedBy(silence: Pick<Silence, Scope>): [Scope, string][] {
  return SCOPES.flatMap((scope): [Scope, string][] => {
    const name = silence[scope];
    return name === null ? [] : [[scope, name]];
  });
}

/** Possible matchers for an alert, narrowest first. */
export const scopesOf = ({ id, rule, entity_id }: Alert): [Scope, string][] => namedBy({ alert: id, rule, entity_id });

/** Whether an alert is silenced at `now`. Checks the time, since the map may not yet have the end of the silence. */
export const isSilenced = ({ silenced_until }: Alert, now: number): boolean =>
  silenced_until !== null && Date.parse(silenced_until) > now;

/** Request body for a silence of `minutes`. */
export function silenceOf(alert: Alert, scope: Scope, minutes: number, reason: string) {
  const name = scopesOf(alert).find(([found]) => found === scope)?.[1] ?? alert.id;
  return { [scope]: name, minutes, note: reason.trim() };
}
