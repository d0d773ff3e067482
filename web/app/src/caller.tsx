/** The caller: name and role of the token, and what the role permits. */

import { type Resource, type Session, useResource } from '@living-map/react';
import { createContext, type ReactNode, useContext, useEffect } from 'react';
import { useText } from './preferences';
import { server } from './server';
import { denials } from './signals';
import { useIsTokenMissing } from './sources';

/** Operations of the API that the page offers, by their ids in the OpenAPI document. */
export const OPERATIONS = [
  'acknowledge_alert_by_query',
  'silence_alerts',
  'end_silence',
  'replay_dead_letter',
  'discard_dead_letter',
  'review_lesson',
  'retire_lesson',
  'metrics',
] as const;

export type Operation = (typeof OPERATIONS)[number];

/** Polling interval: a role changes when the server is restarted with other tokens (ms). */
const REFRESH_MS = 15_000;

const CallerContext = createContext<Resource<Session> | null>(null);

export function CallerProvider({ children }: { children: ReactNode }) {
  // Not while the login form is shown: the server limits requests with invalid tokens.
  const refreshMs = useIsTokenMissing() ? 0 : REFRESH_MS;
  const caller = useResource('/living-map/session', {}, { url: server.url, refreshMs });
  const { refetch } = caller;
  // A rejected request shows that the known role is not the current one.
  useEffect(() => denials.listen(refetch), [refetch]);
  return <CallerContext value={caller}>{children}</CallerContext>;
}

/** The caller as last known; `null` before the first response. */
export const useCaller = (): Session | null => useContext(CallerContext)?.data ?? null;

/** Error of the last request for the caller. */
export const useCallerError = (): Error | null => useContext(CallerContext)?.error ?? null;

/** Requests the caller again. */
export const useRefreshCaller = (): (() => void) => useContext(CallerContext)?.refetch ?? (() => {});

/** Reason why the caller may not do something; `null` if it may. */
export function useDenial(operation: Operation): string | null {
  const { t, maybe } = useText();
  const caller = useCaller();
  if (caller === null) return t('denied.unknown');
  const { role, allowed } = caller.operations.find(({ id }) => id === operation) ?? { role: null, allowed: false };
  if (allowed) return null;
  return t('denied', { needed: maybe(`role.${role}`, String(role)), own: maybe(`role.${caller.role}`, '') });
}
