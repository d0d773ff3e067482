/** Token sources, one per server, used by all requests and streams of the page. */

/** Returns a valid token, refreshed if the last one has expired; `null` for none. */
export type TokenSource = () => string | null | Promise<string | null>;

/** Key of the page's own server. */
const ORIGIN = '';

const sources: Record<string, TokenSource | null> = {};

/** The token source of a server, if any. */
export const tokenSourceFor = (url: string | undefined) => sources[url ?? ORIGIN];

/**
 * Sets the token source of a server for all later requests and streams; `null` removes it. The source is called before
 * each of them, so it should cache the token while it is valid. Module state: not for server rendering.
 */
export function authenticate(source: TokenSource | null, url?: string): void {
  sources[url ?? ORIGIN] = source;
}
