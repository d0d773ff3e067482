// @ts-check
/** Asking the server. Addresses are relative to the page, so that it also works behind a path of a proxy. */

/** What the server said was wrong, in its own words (RFC 9457). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function getJson(path, signal) {
  const response = await fetch(new URL(path, document.baseURI), {
    headers: { accept: 'application/json' },
    ...(signal ? { signal } : {}),
  });
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  throw new Problem(response.status, body?.detail ?? body?.title ?? `The server answered ${response.status}.`);
}

/**
 * The readiness report. A server that is not ready says so with 503 and the same body.
 * @returns {Promise<any>}
 */
export async function getReady() {
  const response = await fetch(new URL('living-map/ready', document.baseURI), {
    headers: { accept: 'application/json' },
  });
  return response.json();
}

/** The stream's address. */
export function streamUrl() {
  const url = new URL('living-map/stream', document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
