/** Requests that change something on the server. */

import { LivingMapError } from '@living-map/react';
import type { Text } from './i18n/text';
import { server, statusOf } from './server';
import { getSession } from './session';
import { denials } from './signals';

/**
 * Sends a POST request with a JSON body.
 * @throws {LivingMapError} for an error status; what `fetch` throws for a network error
 */
export const post = async (path: string, body: unknown = {}): Promise<void> => {
  const headers = { accept: 'application/json', 'content-type': 'application/json' };
  await send(path, { method: 'POST', headers, body: JSON.stringify(body) });
};

/** Sends a DELETE request. Throws like {@link post}. */
export const remove = async (path: string): Promise<void> => {
  await send(path, { method: 'DELETE' });
};

/** Sends a GET request and returns the response as text. Throws like {@link post}. */
export const getText = async (path: string): Promise<string> => (await send(path, {})).text();

async function send(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  const { token } = getSession();
  if (token !== null) headers.set('authorization', `Bearer ${token}`);
  const response = await fetch(new URL(path, server.url), { ...init, headers });
  if (response.ok) return response;
  if (response.status === 401 || response.status === 403) denials.send(response.status);
  throw new LivingMapError(response.status, await response.json().catch(() => null));
}

/** Localized error message; 403 has a text of its own. */
export function errorText(error: unknown, { t }: Text): string {
  const said = error instanceof Error ? error.message : String(error);
  return t(statusOf(error) === 403 ? 'forbidden' : 'failed', { error: said });
}
