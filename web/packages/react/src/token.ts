/** Tokens, where a server asks for them: one source for all that a page asks of it. */

/** Gives the token now: a fresh one when the last has expired; `null` for none. */
export type TokenSource = () => string | null | Promise<string | null>;

/** Stands for the page's own. */
const ORIGIN = '';

const sources: Record<string, TokenSource | null> = {};

/** What gives tokens for a server; nothing where nobody does. */
export const sourceFor = (url: string | undefined) => sources[url ?? ORIGIN];

/**
 * Says where tokens for a server come from, for every request and stream that begins afterwards; `null`: there are none
 * any more. Asked before each of them, so it should remember the token while it is good. For the page of one user: not
 * where a server renders for many.
 */
export function authenticate(source: TokenSource | null, url?: string): void {
  sources[url ?? ORIGIN] = source;
}
