/**
 * Access token, if the server requires one. Stored for this tab only and never part of a URL; streams use tickets
 * instead (docs/stream-protocol.md).
 */

import { authenticate } from '@living-map/react';
import { server } from './server';

export interface Session {
  readonly token: string | null;
  /** Incremented on sign-in and sign-out, so that data of a previous session is not shown. */
  readonly number: number;
}

const KEY = 'living-map-token';

function storedToken(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    // Storage is unavailable: the token is requested after each load.
    return null;
  }
}

let session: Session = { token: globalThis.window ? storedToken() : null, number: 0 };
const listeners = new Set<() => void>();

/** Sets a token source only while there is a token: without one, requests are sent synchronously. */
const apply = () => authenticate(session.token === null ? null : () => session.token, server.url);

apply();

function set(token: string | null) {
  session = { token, number: session.number + 1 };
  apply();
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // Storage is unavailable: effective until the page is closed.
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
