/** Silences: which alerts one is for, and until when an alert has one. */

import type { Alert, Silence } from '@living-map/react';

/** What a silence names: it is for all alerts that have the same. */
export const SCOPES = ['alert', 'rule', 'entity_id'] as const satisfies readonly (keyof Silence)[];
export type Scope = (typeof SCOPES)[number];

/** For how long one silences. Minutes. */
export const LENGTHS = [15, 60, 240, 1440, 10_080] as const;

/** What a silence is for: alerts that have all that it names. */
export function namedBy(silence: Pick<Silence, Scope>): [Scope, string][] {
  return SCOPES.flatMap((scope): [Scope, string][] => {
    const name = silence[scope];
    return name === null ? [] : [[scope, name]];
  });
}

/** What of an alert a silence can name, the narrowest first. */
export const scopesOf = ({ id, rule, entity_id }: Alert): [Scope, string][] => namedBy({ alert: id, rule, entity_id });

/** Whether it is silenced at `now`: the map is told of a silence's beginning and end, not of time that passes. */
export const isSilenced = ({ silenced_until }: Alert, now: number): boolean =>
  silenced_until !== null && Date.parse(silenced_until) > now;

/** The body of a request for a silence of `minutes`. */
export function silenceOf(alert: Alert, scope: Scope, minutes: number, reason: string) {
  const name = scopesOf(alert).find(([found]) => found === scope)?.[1] ?? alert.id;
  return { [scope]: name, minutes, note: reason.trim() };
}
