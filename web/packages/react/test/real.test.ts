/** The client with a real server over real sockets. */

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { get, LivingMapClient, type WebSocketConstructor } from '../src/core.js';
import { RealServer, until } from './binary.js';

/** A WebSocket that fails to connect, as behind a proxy that blocks WebSockets. */
class NoWebSocket {
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  constructor() {
    setTimeout(() => this.onclose?.({ code: 1006, reason: '' }));
  }
  close() {}
}

const server = new RealServer();
let client: LivingMapClient;

beforeAll(() => server.start(), 60_000);
afterAll(() => server.remove());
afterEach(() => client.stop());

/** Compares the map with the server's at the same cursor. */
async function compare() {
  const { snapshot, cursor } = client.getState();
  const truth = await get(server.url, '/living-map/snapshot', { at: cursor as string });
  expect(truth.meta.cursor).toBe(cursor);
  expect(snapshot?.layers).toEqual(truth.layers);
}

/** The state right after a disconnect; checked in each turn of the event loop, since a retry may follow at once. */
async function lost() {
  while (!client.getState().isStale) await new Promise(setImmediate);
  return client.getState();
}

/** Waits for `count` more events that changed the map. */
async function events(count: number) {
  const seen = new Set<string>();
  await until(() => {
    for (const { cursor, changes } of client.getState().events) if (changes.length > 0) seen.add(cursor);
    return client.getState().connectionStatus === 'open' && seen.size >= count;
  });
}

const transports: [string, WebSocketConstructor][] = [
  ['a WebSocket', WebSocket],
  ['server-sent events', NoWebSocket],
];

test.each(transports)(
  'over %s the map equals the server’s, across restarts',
  { timeout: 90_000 },
  async (_, Socket) => {
    client = new LivingMapClient({ url: server.url }, { WebSocket: Socket });
    const snapshots = new Set<unknown>();
    client.subscribe(() => snapshots.add(client.getState().snapshot?.layers));
    client.start();
    await events(30);
    await compare();

    await server.end('SIGKILL');
    // The status alternates between retries.
    await until(() => client.getState().isStale && client.getState().connectionStatus === 'closed');
    const { cursor, error } = client.getState();
    expect(error).toBeInstanceOf(Error);
    await server.start();
    await until(() => client.getState().connectionStatus === 'open' && client.getState().cursor !== cursor);
    await events(120);
    await compare();

    const planned = lost();
    await server.end('SIGTERM');
    expect((await planned).error).toBeNull();
    await server.start();
    await events(150);
    await compare();
    expect(snapshots.size).toBeGreaterThan(10);
  },
);

test('only the selected layers are sent, equal to the server’s', { timeout: 60_000 }, async () => {
  client = new LivingMapClient({ url: server.url, layers: ['agents', 'nodes'] }, { WebSocket: WebSocket });
  client.start();
  await events(20);
  const { snapshot, cursor } = client.getState();
  expect(snapshot?.layers).toMatchObject({ city: null, space: null });
  const truth = await get(server.url, '/living-map/snapshot', { at: cursor as string });
  expect(snapshot?.layers.agents).toEqual(truth.layers.agents);
  expect(snapshot?.layers.nodes).toEqual(truth.layers.nodes);
});

test('an error has the server’s problem document', { timeout: 60_000 }, async () => {
  client = new LivingMapClient({ url: server.url });
  const refused = get(server.url, '/living-map/history', { since: 'yesterday' });
  await expect(refused).rejects.toMatchObject({ name: 'LivingMapError', status: 400, problem: { parameter: 'since' } });
  const health = await get(server.url, '/living-map/errors/health', { minutes: 5 });
  expect(health.period_minutes).toBe(5);
});
