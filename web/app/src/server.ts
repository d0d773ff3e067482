/** The server that this page came from. */

import type { LivingMapOptions } from '@living-map/react';

/** Events kept for the feed, of which its filters show some. */
const MAX_EVENTS = 300;

/** The same for every hook, so that all share one stream. */
export const server: LivingMapOptions & { url: string } = {
  url: new URL('.', globalThis.location?.href ?? 'http://localhost/').href.split(/[?#]/)[0] ?? '',
  maxEvents: MAX_EVENTS,
};

/** An answer other than the one asked for. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function addressOf(path: string, query: Query = {}): string {
  const url = new URL(path, server.url);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, String(value));
  }
  return url.href;
}

/** @throws {Refused} when the server refuses; what `fetch` throws when it does not answer */
export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return answer<T>(
    await fetch(addressOf(path, query), { headers: { accept: 'application/json' }, ...(signal && { signal }) }),
  );
}

/** @throws as {@link get} */
export async function post<T>(path: string, body: unknown = {}): Promise<T> {
  const headers = { accept: 'application/json', 'content-type': 'application/json' };
  return answer<T>(await fetch(addressOf(path), { method: 'POST', headers, body: JSON.stringify(body) }));
}

async function answer<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json().catch(() => null)) as T;
  const problem: { detail?: unknown } | null = await response.json().catch(() => null);
  throw new Refused(
    response.status,
    typeof problem?.detail === 'string' ? problem.detail : `the server answered ${response.status}`,
  );
}
