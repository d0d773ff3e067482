import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { authenticate, get, LivingMapClient } from '../src/index.js';
import { event, fakeServer, last, snapshot, sockets } from './support.js';

const url = 'http://map.test';
let client: LivingMapClient;
let answer: () => Response;
const asked: { at: string; method: string; authorization: string | null }[] = [];

beforeEach(() => {
  fakeServer();
  asked.length = 0;
  let number = 0;
  answer = () => Response.json({ ticket: `ticket-${++number}` });
  vi.stubGlobal('fetch', async (at: URL, { method = 'GET', headers }: RequestInit = {}) => {
    asked.push({ at: at.pathname, method, authorization: new Headers(headers).get('authorization') });
    return answer();
  });
  client = new LivingMapClient({ url });
});

afterEach(() => {
  client.stop();
  authenticate(null, url);
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const soon = () => vi.advanceTimersByTimeAsync(0);
const tickets = () => sockets().map((socket) => socket.url.searchParams.get('ticket'));

test('each connection requests a ticket with the current token', async () => {
  let token = 'first';
  authenticate(async () => token, url);
  client.start();
  expect(client.getState().connectionStatus).toBe('connecting');
  await soon();
  expect(asked).toEqual([{ at: '/living-map/stream/ticket', method: 'POST', authorization: 'Bearer first' }]);
  last().send(snapshot('e.1'));
  last().send(event('e.2'));
  token = 'second';
  last().end(4401);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', isStale: true });
  await vi.advanceTimersByTimeAsync(500);
  expect(asked.at(-1)?.authorization).toBe('Bearer second');
  expect(tickets()).toEqual(['ticket-1', 'ticket-2']);
  expect(last().cursor).toBe('e.2');
});

test('a rejected token is reported and requested again', async () => {
  authenticate(() => 'old', url);
  answer = () => new Response(null, { status: 401 });
  client.start();
  await soon();
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', error: { status: 401 } });
  expect(sockets()).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(500);
  expect(asked).toHaveLength(2);
});

test('a failed token source is called again', async () => {
  const source = vi.fn().mockRejectedValueOnce(new Error('no network')).mockResolvedValue('token');
  authenticate(source, url);
  client.start();
  await soon();
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', error: { message: 'no network' } });
  await vi.advanceTimersByTimeAsync(500);
  expect(tickets()).toEqual(['ticket-1']);
});

test('without a token source no ticket is requested', async () => {
  authenticate(() => 'token', url);
  answer = () => Response.json({ ticket: null, expires_at: null });
  client.start();
  await soon();
  expect(tickets()).toEqual([null]);
});

test('stop while a ticket is pending prevents the connection', async () => {
  authenticate(() => 'token', url);
  client.start();
  client.stop();
  await soon();
  expect(sockets()).toHaveLength(0);
});

test('the token is sent only to its own server', async () => {
  authenticate(() => 'token', url);
  await get(url, '/living-map/errors', {});
  await get('http://other.test', '/living-map/errors', {});
  authenticate(null, url);
  await get(url, '/living-map/errors', {});
  expect(asked.map(({ authorization }) => authorization)).toEqual(['Bearer token', null, null]);
});
