/** What the page has the server do. */

import { LivingMapError } from '@living-map/react';
import { getToken } from './access';
import type { Text } from './i18n/text';
import { server, statusOf } from './server';

/**
 * Asks the server to do something.
 * @throws {LivingMapError} when it refuses; what `fetch` throws when it does not answer
 */
export async function post(path: string, body: unknown = {}): Promise<void> {
  const headers: Record<string, string> = { accept: 'application/json', 'content-type': 'application/json' };
  const token = getToken();
  if (token !== null) headers.authorization = `Bearer ${token}`;
  const response = await fetch(new URL(path, server.url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (!response.ok) throw new LivingMapError(response.status, await response.json().catch(() => null));
}

/** Why it did not, in words: above all, that the token does not allow it. */
export function problemOf(error: unknown, { t }: Text): string {
  const said = error instanceof Error ? error.message : String(error);
  return t(statusOf(error) === 403 ? 'forbidden' : 'failed', { error: said });
}
