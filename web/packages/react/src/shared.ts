/** Reference-counted clients, shared by all hooks with equal options. */

import { LivingMapClient, type LivingMapOptions } from './client.js';

/** Grace period after the last unsubscribe, so that a route change or StrictMode costs no reconnect (ms). */
const GRACE_MS = 1000;

export interface Shared {
  key: string;
  client: LivingMapClient;
  users: number;
  timer?: ReturnType<typeof setTimeout>;
}

const clients = new Map<string, Shared>();

/** Cache key; equal for equivalent options. */
export function keyOf({ url, layers, maxEvents, pauseWhenHidden }: LivingMapOptions): string {
  return JSON.stringify([url, layers && [...new Set(layers)].sort(), maxEvents, pauseWhenHidden]);
}

/** Returns the shared client for `options` and their `key`. Does not connect: rendering must have no side effects. */
export function sharedClient(key: string, options: LivingMapOptions): Shared {
  const entry = clients.get(key) ?? { key, client: new LivingMapClient(options), users: 0 };
  // Not shared in server rendering: requests must not see each other's state.
  if (globalThis.document) clients.set(key, entry);
  return entry;
}

/** Subscribes to a client, which is connected while it has subscribers; returns the unsubscribe function. */
export function listen(entry: Shared, listener: () => void): () => void {
  const { key, client } = entry;
  // A component that was suspended for long may return with a client that has been removed meanwhile.
  if (!clients.has(key)) clients.set(key, entry);
  clearTimeout(entry.timer);
  entry.users += 1;
  const unsubscribe = client.subscribe(listener);
  client.start();
  return () => {
    unsubscribe();
    entry.users -= 1;
    if (entry.users > 0) return;
    entry.timer = setTimeout(() => {
      client.stop();
      if (clients.get(key) === entry) clients.delete(key);
    }, GRACE_MS);
  };
}
