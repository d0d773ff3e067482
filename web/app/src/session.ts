/**
 * Access token, if the server requires one. Stored for this tab only and never part of a URL; streams use tickets
 * instead (docs/stream-protocol.md). Further tabs of this browser get it from a tab that has it, by messages that no other
 * origin receives; signing out ends the session in all of them.
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
/** Whether the server has rejected the token: another tab's replaces it. */
let isRejected = false;
const listeners = new Set<() => void>();

/** Sets a token source only while there is a token: without one, requests are sent synchronously. */
const apply = () => authenticate(session.token === null ? null : () => session.token, server.url);

apply();

function set(token: string | null) {
  session = { token, number: session.number + 1 };
  isRejected = false;
  apply();
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // Storage is unavailable: effective until the page is closed.
  }
  for (const listener of [...listeners]) listener();
}

type Message = { kind: 'ask' } | { kind: 'token'; token: string } | { kind: 'signOut' };

/** Tabs of this browser with the same server. */
const tabs =
  globalThis.window && 'BroadcastChannel' in globalThis ? new BroadcastChannel(`living-map ${server.url}`) : null;

tabs?.addEventListener('message', ({ data }: MessageEvent<Message>) => {
  const { token } = session;
  if (data.kind === 'ask' && token !== null && !isRejected) send({ kind: 'token', token });
  else if (data.kind === 'token' && (token === null || (isRejected && data.token !== token))) set(data.token);
  else if (data.kind === 'signOut' && token !== null) set(null);
});

const send = (message: Message) => tabs?.postMessage(message);

if (session.token === null) send({ kind: 'ask' });

export function signIn(token: string): void {
  set(token);
  send({ kind: 'token', token });
}

export function signOut(): void {
  set(null);
  send({ kind: 'signOut' });
}

/** Called when the server rejects the token. A token that another tab has meanwhile received is used instead. */
export function reject(): void {
  isRejected = true;
  send({ kind: 'ask' });
}

export const getSession = (): Session => session;

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
