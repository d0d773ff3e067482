/** Requests to the server beside the stream. */

import type { EventList, HistoryQuery, Problem } from './generated.js';

/** An answer other than the one asked for. */
export class LivingMapError extends Error {
  override readonly name = 'LivingMapError';

  /**
   * @param status the HTTP status
   * @param problem what the server says about it; `null` when something in between answered
   */
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
  ) {
    super(problem?.detail ?? problem?.title ?? `the server answered ${status}`);
  }
}

/** The address of `path` on the server, with those of the parameters that have a value. */
export function address(base: string | undefined, path: string, query: object): URL {
  const origin = base ?? globalThis.location?.origin;
  if (!origin) throw new Error('the option `url` is needed where there is no page');
  const url = new URL(path, origin.endsWith('/') ? origin : `${origin}/`);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  return url;
}

/**
 * A page of the history, newest first.
 * @throws {LivingMapError} when the server refuses; what `fetch` throws when it does not answer
 */
export async function getHistory(
  base: string | undefined,
  query: HistoryQuery,
  signal?: AbortSignal,
): Promise<EventList> {
  const url = address(base, 'living-map/history', query);
  const response = await fetch(url, { headers: { accept: 'application/json' }, ...(signal && { signal }) });
  if (!response.ok) throw new LivingMapError(response.status, await problemOf(response));
  return (await response.json()) as EventList;
}

async function problemOf(response: Response): Promise<Problem | null> {
  if (!response.headers.get('content-type')?.includes('application/problem+json')) return null;
  return response.json().catch(() => null);
}
