/** The server that this page came from. */

import { LivingMapError, type LivingMapOptions } from '@living-map/react';

/** Events kept for the feed, of which its filters show some. */
const MAX_EVENTS = 300;

/** The same for every hook, so that all share one stream. The page may stand under a path of somebody's proxy. */
export const server: LivingMapOptions & { url: string } = {
  url: new URL('.', (globalThis.location?.href ?? 'http://localhost/').replace(/[?#].*/, '')).href,
  maxEvents: MAX_EVENTS,
};

/** Whether the server has no such route, or no such thing. */
export const isMissing = (error: unknown): boolean => statusOf(error) === 404;

/** The HTTP status of a refusal; `undefined` for any other failure. */
export const statusOf = (error: unknown): number | undefined =>
  error instanceof LivingMapError ? error.status : undefined;
