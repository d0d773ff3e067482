/** What the page has the server do. */

import { LivingMapError } from '@living-map/react';
import type { Text } from './i18n/text';
import { server, statusOf } from './server';
import { getSession } from './session';

/**
 * Asks the server to do something.
 * @throws {LivingMapError} when it refuses; what `fetch` throws when it does not answer
 */
export const post = (path: string, body: unknown = {}): Promise<void> =>
  send(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** Has the server end what is at `path`. Fails as {@link post} does. */
export const remove = (path: string): Promise<void> => send(path, { method: 'DELETE' });

async function send(path: string, init: RequestInit): Promise<void> {
  const headers = new Headers(init.headers);
  headers.set('accept', 'application/json');
  const { token } = getSession();
  if (token !== null) headers.set('authorization', `Bearer ${token}`);
  const response = await fetch(new URL(path, server.url), { ...init, headers });
  if (!response.ok) throw new LivingMapError(response.status, await response.json().catch(() => null));
}

/** Why it did not, in words: above all, that the token does not allow it. */
export function problemOf(error: unknown, { t }: Text): string {
  const said = error instanceof Error ? error.message : String(error);
  return t(statusOf(error) === 403 ? 'forbidden' : 'failed', { error: said });
}
