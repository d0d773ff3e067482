/** Errors of connections that never deliver a snapshot: they say what to set. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { authenticate, LivingMapClient } from '../src/index.js';
import { fakeServer, last, snapshot } from './support.js';

const url = 'http://map.test/base';
let client: LivingMapClient;
let answer: () => Response;
let asked: string[];

beforeEach(() => {
  fakeServer();
  asked = [];
  vi.stubGlobal('fetch', async (at: URL) => {
    asked.push(at.pathname);
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
const message = () => client.getState().error?.message;
const problem = (status: number, detail: string) => () =>
  Response.json({ status, detail }, { status, headers: { 'content-type': 'application/problem+json' } });
const html = () => new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } });
const unreadable = () => {
  throw new TypeError('Failed to fetch');
};

/** Message after the first WebSocket has failed without a close code. */
async function refused(answers: () => Response) {
  answer = answers;
  client.start();
  last().end(1006);
  expect(message()).toContain('1006');
  await soon();
  return message();
}

test('an unreadable answer names the address, and ALLOWED_ORIGINS for another origin', async () => {
  expect(await refused(unreadable)).toBe(
    'no readable answer of http://map.test/base: check that the option `url` is the address of a running server',
  );
  client.stop();
  vi.stubGlobal('location', { origin: 'http://app.test' });
  expect(await refused(unreadable)).toMatch(/, and that its setting ALLOWED_ORIGINS lists http:\/\/app\.test$/);
  client.stop();
  vi.stubGlobal('location', { origin: 'http://map.test' });
  expect(await refused(unreadable)).not.toContain('ALLOWED_ORIGINS');
});

test('a missing token is named, with the function that sets it', async () => {
  const detail = "expected the header 'Authorization: Bearer …' with a token for this server";
  expect(await refused(problem(401, detail))).toBe(`${detail}; \`authenticate\` sets a token`);
  expect(client.getState().error).toMatchObject({ name: 'LivingMapError', status: 401 });
  expect(asked).toEqual(['/base/living-map/session']);
});

test.each([
  ['another path of the server', problem(404, 'no such route')],
  ['another server', () => new Response('', { status: 404 })],
  ['the page of a development server', html],
])('the address of %s is named as wrong', async (_, answers) => {
  expect(await refused(answers)).toBe(
    'there is no Living Map at http://map.test/base: check the option `url` and its path',
  );
});

test('the problem of the server is kept', async () => {
  const detail = "requests without a token may not address the host 'map.test'";
  expect(await refused(problem(421, detail))).toBe(detail);
});

test('a server that answers all but streams points to a proxy', async () => {
  expect(await refused(() => Response.json({ name: null }))).toContain(
    'a proxy in front of it must forward WebSockets',
  );
});

test('the cause stays while the client retries, and ends with a snapshot', async () => {
  const cause = await refused(html);
  await vi.advanceTimersByTimeAsync(500);
  expect(client.getState()).toMatchObject({ connectionStatus: 'connecting', error: { message: cause } });
  last().end(1006);
  expect(message()).toBe(cause);
  await vi.advanceTimersByTimeAsync(30_000);
  answer = html;
  last().send(snapshot('e.1'));
  expect(message()).toBeUndefined();
  last().end(1006);
  await soon();
  expect(message()).toContain('1006');
});

test('an answer after the first snapshot or after a stop is no error', async () => {
  let release = (_: Response) => {};
  answer = () => new Promise<Response>((resolve) => (release = resolve)) as never;
  client.start();
  last().end(1006);
  await vi.advanceTimersByTimeAsync(500);
  last().send(snapshot('e.1'));
  release(html());
  await soon();
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', error: null });

  client = new LivingMapClient({ url });
  client.start();
  last().end(1006);
  client.stop();
  release(html());
  await soon();
  expect(message()).toBeUndefined();
});

test('a ticket that cannot be requested says what to set', async () => {
  authenticate(() => 'old', url);
  answer = problem(401, 'the token has expired');
  client.start();
  await soon();
  expect(message()).toBe('the token has expired; `authenticate` sets a token');
  answer = () => new Response('', { status: 404 });
  await vi.advanceTimersByTimeAsync(500);
  expect(message()).toContain('there is no Living Map at');
  answer = unreadable;
  await vi.advanceTimersByTimeAsync(1000);
  expect(message()).toContain('no readable answer of');
});
