// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';
import { MapStream } from '../static/stream.js';

/** @import { Connection, Frame } from '../types.d.ts' */

/** Stands in for the browser's WebSocket. */
class FakeSocket {
  /** @type {((message: {data: unknown}) => void) | null} */
  onmessage = null;
  /** @type {((event: {code: number}) => void) | null} */
  onclose = null;
  closed = false;

  /** @param {string} url */
  constructor(url) {
    this.url = new URL(url);
  }

  close() {
    this.closed = true;
  }

  /** @param {unknown} frame */
  say(frame) {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
  }
}

/** @param {import('node:test').TestContext} context */
function start(context) {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  /** @type {FakeSocket[]} */
  const sockets = [];
  /** @type {Frame[]} */
  const frames = [];
  /** @type {Connection[]} */
  const states = [];
  const stream = new MapStream({
    url: 'ws://map.test/living-map/stream',
    onFrame: (frame) => frames.push(frame),
    onConnection: (connection) => states.push(connection),
    open: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return /** @type {WebSocket} */ (/** @type {unknown} */ (socket));
    },
    random: () => 1,
  });
  stream.connect();
  const last = () => /** @type {FakeSocket} */ (sockets.at(-1));
  return { stream, sockets, frames, states, last, tick: (/** @type {number} */ ms) => context.mock.timers.tick(ms) };
}

const snapshot = (/** @type {string} */ cursor) => ({ kind: 'snapshot', data: { layers: {}, meta: { cursor } } });

test('it is open with the first frame, and comes back from the last cursor', (context) => {
  const { last, states, tick, sockets } = start(context);
  assert.equal(last().url.searchParams.get('cursor'), null);
  last().say(snapshot('e.5'));
  last().say({ kind: 'event', cursor: 'e.6', changes: [] });
  last().say({ kind: 'ping', cursor: 'e.9' });
  assert.deepEqual(
    states.map(({ status }) => status),
    ['connecting', 'open'],
  );
  last().onclose?.({ code: 1006 });
  assert.equal(states.at(-1)?.status, 'closed');
  tick(500);
  assert.equal(sockets.length, 2);
  assert.equal(last().url.searchParams.get('cursor'), 'e.9');
});

test('each retry may wait twice as long, up to half a minute, and success starts over', (context) => {
  const { last, states, tick, sockets } = start(context);
  const waits = [];
  for (let i = 0; i < 9; i++) {
    last().onclose?.({ code: 1006 });
    const wait = Number(states.at(-1)?.retryAt) - Date.now();
    waits.push(wait);
    tick(wait);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.equal(sockets.length, 10);
  last().say(snapshot('e.1'));
  last().onclose?.({ code: 1006 });
  assert.equal(Number(states.at(-1)?.retryAt) - Date.now(), 500);
});

test('a server that plans to go says when to come back', (context) => {
  const { last, states } = start(context);
  last().say(snapshot('e.1'));
  last().say({ kind: 'reconnect', after_ms: 1234 });
  last().onclose?.({ code: 1006 });
  assert.equal(Number(states.at(-1)?.retryAt) - Date.now(), 1234);
});

test('a silent line is given up', (context) => {
  const { last, sockets, tick } = start(context);
  const first = last();
  first.say(snapshot('e.1'));
  tick(74_000);
  first.say({ kind: 'ping', cursor: 'e.1' });
  tick(74_000);
  assert.equal(first.closed, false);
  tick(1_000);
  assert.equal(first.closed, true);
  tick(500);
  assert.equal(sockets.length, 2);
});

test('a cursor that the server never answers is given up for a fresh snapshot', (context) => {
  const { last, tick } = start(context);
  last().say(snapshot('e.1'));
  const cursors = [];
  for (let i = 0; i < 6; i++) {
    last().onclose?.({ code: 1006 });
    tick(30_000);
    cursors.push(last().url.searchParams.get('cursor'));
  }
  assert.deepEqual(cursors, ['e.1', 'e.1', 'e.1', 'e.1', null, null]);
});

test('frames that are none are passed over', (context) => {
  const { last, frames } = start(context);
  last().say('no json');
  last().say('null');
  last().say('{"kind":1}');
  last().say({ kind: 'something newer' });
  assert.deepEqual(
    frames.map((frame) => frame.kind),
    ['something newer'],
  );
});

test('told that it is to blame, it does not come back', (context) => {
  const { last, states, sockets, tick } = start(context);
  last().say(snapshot('e.1'));
  last().onclose?.({ code: 1008 });
  tick(60_000);
  assert.equal(sockets.length, 1);
  assert.deepEqual(states.at(-1), { status: 'closed', attempt: 0, retryAt: null });
});

test('closed by us, it stays closed', (context) => {
  const { last, stream, sockets, tick } = start(context);
  last().say(snapshot('e.1'));
  stream.close();
  assert.equal(last().closed, true);
  tick(60_000);
  assert.equal(sockets.length, 1);
});
