/** One client for all who want the same: it lives from the first to the last of them. */

import { LivingMapClient, type LivingMapOptions } from './client.js';

/** A client is kept this long after the last has left: a change of views, or React's StrictMode, costs no reconnect. Milliseconds. */
const LINGER_MS = 1000;

export interface Shared {
  key: string;
  client: LivingMapClient;
  users: number;
  ending?: ReturnType<typeof setTimeout>;
}

const shared = new Map<string, Shared>();

/** Equal for options that mean the same stream. */
export function keyOf({ url, layers, maxEvents, pauseWhenHidden }: LivingMapOptions): string {
  return JSON.stringify([url, layers && [...new Set(layers)].sort(), maxEvents, pauseWhenHidden]);
}

/** The client for `options`, whose key is given, with who shares it. Not connected by this: rendering has no effects. */
export function sharedFor(key: string, options: LivingMapOptions): Shared {
  const entry = shared.get(key) ?? { key, client: new LivingMapClient(options), users: 0 };
  // Kept by nobody on a server: there is no page to share it, and requests must not see each other's.
  if (globalThis.document) shared.set(key, entry);
  return entry;
}

/** Listens to a client, which is connected while anybody does; gives the way to leave. */
export function listen(entry: Shared, listener: () => void): () => void {
  const { key, client } = entry;
  // A component that was set aside for long may come back with a client that was given up meanwhile.
  if (!shared.has(key)) shared.set(key, entry);
  clearTimeout(entry.ending);
  entry.users += 1;
  const unsubscribe = client.subscribe(listener);
  client.start();
  return () => {
    unsubscribe();
    entry.users -= 1;
    if (entry.users > 0) return;
    entry.ending = setTimeout(() => {
      client.stop();
      if (shared.get(key) === entry) shared.delete(key);
    }, LINGER_MS);
  };
}
