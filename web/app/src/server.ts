/** The server that delivered this page. */

import { LivingMapError, type LivingMapOptions } from '@living-map/react';

/** Number of recent events available to the feed and its filters. */
const MAX_EVENTS = 300;

/** Options for all hooks, so that they share one stream. Keeps the path, since a proxy may serve the page under one. */
export const server: LivingMapOptions & { url: string } = {
  url: new URL('.', (globalThis.location?.href ?? 'http://localhost/').replace(/[?#].*/, '')).href,
  maxEvents: MAX_EVENTS,
};

/** Whether an error is a 404: the server lacks the route or the resource. */
export const isMissing = (error: unknown): boolean => statusOf(error) === 404;

/** HTTP status of an error response; `undefined` for other errors. */
export const statusOf = (error: unknown): number | undefined =>
  error instanceof LivingMapError ? error.status : undefined;
