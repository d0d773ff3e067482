/** Requests that change something on the server. */

import { LivingMapError } from '@living-map/react';
import type { Text } from './i18n/text';
import { server, statusOf } from './server';
import { getSession } from './session';

/**
 * Sends a POST request with a JSON body.
 * @throws {LivingMapError} for an error status; what `fetch` throws for a network error
 */
export const post = (path: string, body: unknown = {}): Promise<void> =>
  send(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** Sends a DELETE request. Throws like {@link post}. */
export const remove = (path: string): Promise<void> => send(path, { method: 'DELETE' });

async function send(path: string, init: RequestInit): Promise<void> {
  const headers = new Headers(init.headers);
  headers.set('accept', 'application/json');
  const { token } = getSession();
  if (token !== null) headers.set('authorization', `Bearer ${token}`);
  const response = await fetch(new URL(path, server.url), { ...init, headers });
  if (!response.ok) throw new LivingMapError(response.status, await response.json().catch(() => null));
}

/** Localized error message; 403 has a text of its own. */
export function errorText(error: unknown, { t }: Text): string {
  const said = error instanceof Error ? error.message : String(error);
  return t(statusOf(error) === 403 ? 'forbidden' : 'failed', { error: said });
}
