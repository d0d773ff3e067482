/** Explanations of failed connections: browsers hide the response to the handshake of a WebSocket. */

import { errorOf, LivingMapError, request } from './rest.js';

/** Time limit of the request that finds the cause (ms). */
const TIMEOUT_MS = 5000;

/** Requests the session, and returns why a stream with the same server delivers nothing and what to set. */
export async function findCause(base: string | undefined): Promise<Error> {
  try {
    await request(base, '/living-map/session', {}, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return new Error(
      `${nameOf(base)} answers, but closes the stream: a proxy in front of it must forward WebSockets or server-sent events`,
    );
  } catch (thrown) {
    return explain(base, errorOf(thrown));
  }
}

/** The error of a request, with a message that says what to set. */
export function explain(base: string | undefined, error: Error): Error {
  if (error instanceof SyntaxError || (error instanceof LivingMapError && error.status === 404)) {
    error.message = `there is no Living Map at ${nameOf(base)}: check the option \`url\` and its path`;
    return error;
  }
  if (error instanceof LivingMapError) {
    if (error.status === 401) error.message += '; `authenticate` sets a token';
    return error;
  }
  // CORS hides everything, the status too.
  const { origin } = globalThis.location ?? {};
  const isOther = origin && base && new URL(base).origin !== origin;
  return new Error(
    `no readable answer of ${nameOf(base)}: check that the option \`url\` is the address of a running server` +
      (isOther ? `, and that its setting ALLOWED_ORIGINS lists ${origin}` : ''),
  );
}

const nameOf = (base: string | undefined) => base ?? globalThis.location?.origin;
