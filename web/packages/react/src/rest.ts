/** Requests to the server beside the stream. */

import type { Problem, Routes } from './generated.js';
import { sourceFor } from './token.js';

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
    super(problem?.detail ?? `the server answered ${status}`);
  }
}

export const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/**
 * The address of `path` on the server, with those of the parameters that have a value: in place of their `{name}` in the
 * path, the others as the query.
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
 * What the server answers to GET.
 * @throws {LivingMapError} when the server refuses; what `fetch` throws when it does not answer
 */
export async function get<P extends keyof Routes>(
  base: string | undefined,
  path: P,
  parameters: Routes[P]['parameters'],
  signal?: AbortSignal,
): Promise<Routes[P]['answer']> {
  return ask(base, path, parameters, { signal: signal ?? null });
}

/** A request with the token that there is for the server. */
export async function ask(base: string | undefined, path: string, parameters: object, init: RequestInit) {
  // without a source the request sets out at once
  const source = sourceFor(base);
  const token = source && (await source());
  if (token) init.headers = { authorization: `Bearer ${token}` };
  const response = await fetch(address(base, path, parameters), init);
  if (response.ok) return response.json();
  const isProblem = response.headers.get('content-type')?.includes('problem+json');
  throw new LivingMapError(response.status, isProblem ? await response.json().catch(() => null) : null);
}
