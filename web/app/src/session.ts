/**
 * The token with which the server is asked, where it wants one. It is kept for this tab alone and is never part of an
 * address; streams get tickets for it (docs/stream-protocol.md).
 */

import { authenticate } from '@living-map/react';
import { server } from './server';

export interface Session {
  readonly token: string | null;
  /** Grows with each sign-in and sign-out: what was asked for before is not for who is there now. */
  readonly number: number;
}

const KEY = 'living-map-token';

function kept(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    // A browser that keeps nothing asks again after each load.
    return null;
  }
}

let session: Session = { token: globalThis.window ? kept() : null, number: 0 };
const listeners = new Set<() => void>();

/** Requests without a token set out at once: a source is given only while there is one. */
const apply = () => authenticate(session.token === null ? null : () => session.token, server.url);

apply();

function set(token: string | null) {
  session = { token, number: session.number + 1 };
  apply();
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // Then it holds until the page is left.
  }
  for (const listener of [...listeners]) listener();
}

export const signIn = (token: string): void => set(token);
export const signOut = (): void => set(null);
export const getSession = (): Session => session;

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
