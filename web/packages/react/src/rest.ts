/** REST requests. */

import type { Problem, Routes } from './generated.js';
import { tokenSourceFor } from './token.js';

/** An HTTP response with an error status. */
export class LivingMapError extends Error {
  override readonly name = 'LivingMapError';

  /**
   * @param status the HTTP status
   * @param problem the server's problem document (RFC 9457); `null` if the response has none, e.g. from a proxy
   */
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
  ) {
    super(problem?.detail ?? `the server answered ${status}`);
  }
}

export const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/**
 * Builds the URL of `path` on the server. Parameters replace `{name}` in the path; the rest go into the query, without
 * those that are `null` or `undefined`.
 */
export function address(base: string | undefined, path: string, parameters: object): URL {
  const origin = base ?? globalThis.location?.origin;
  if (!origin) throw new Error('the option `url` is missing');
  const query = { ...parameters } as Record<string, string | null | undefined>;
  const filled = path.replace(/{(.+?)}/g, (_, name) => {
    const value = query[name];
    delete query[name];
    return encodeURIComponent(`${value}`);
  });
  const url = new URL(origin.replace(/\/$/, '') + filled);
  for (const [name, value] of Object.entries(query)) if (value != null) url.searchParams.set(name, value);
  return url;
}

/**
 * Sends a GET request and returns the JSON response.
 * @throws {LivingMapError} for an error status; what `fetch` throws for a network error
 */
export async function get<P extends keyof Routes>(
  base: string | undefined,
  path: P,
  parameters: Routes[P]['parameters'],
  signal?: AbortSignal,
): Promise<Routes[P]['answer']> {
  return request(base, path, parameters, { signal: signal ?? null });
}

/** Sends a request with the server's token, if there is one. */
export async function request(base: string | undefined, path: string, parameters: object, init: RequestInit) {
  // without a token source the request is sent synchronously
  const source = tokenSourceFor(base);
  return send(base, path, parameters, init, source && (await source()));
}

/** Sends a request with `token`. Throws like {@link get}. */
export async function send(
  base: string | undefined,
  path: string,
  parameters: object,
  init: RequestInit,
  token: string | null | undefined,
) {
  if (token) init.headers = { authorization: `Bearer ${token}` };
  const response = await fetch(address(base, path, parameters), init);
  if (response.ok) return response.json();
  const isProblem = response.headers.get('content-type')?.includes('problem+json');
  throw new LivingMapError(response.status, isProblem ? await response.json().catch(() => null) : null);
}
