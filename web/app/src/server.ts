/** The server that this page came from. */

import { LivingMapError, type LivingMapOptions } from '@living-map/react';

/** Events kept for the feed, of which its filters show some. */
const MAX_EVENTS = 300;

/** The same for every hook, so that all share one stream. The page may stand under a path of somebody's proxy. */
export const server: LivingMapOptions & { url: string } = {
  url: new URL('.', (globalThis.location?.href ?? 'http://localhost/').replace(/[?#].*/, '')).href,
  maxEvents: MAX_EVENTS,
};

/**
 * Asks the server to do something.
 * @throws {LivingMapError} when it refuses; what `fetch` throws when it does not answer
 */
export async function post(path: string, body: unknown = {}): Promise<void> {
  const headers = { accept: 'application/json', 'content-type': 'application/json' };
  const response = await fetch(new URL(path, server.url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (!response.ok) throw new LivingMapError(response.status, await response.json().catch(() => null));
}

/** Whether the server has no such route, or no such thing. */
export const isMissing = (error: Error | null): boolean => error instanceof LivingMapError && error.status === 404;
