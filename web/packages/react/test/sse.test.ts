import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LivingMapClient } from '../src/index.js';
import { event, fakeServer, last, setStatus, snapshot, sockets } from './support.js';

/** A response whose body is still open. */
interface Answer {
  url: URL;
  signal: AbortSignal;
  write: (text: string) => Promise<void>;
  end: () => Promise<void>;
}

let answers: Answer[];
let status: number;
let headers: Record<string, string>;
let client: LivingMapClient;

/** Waits until written data has been read. */
const settle = async () => {
  for (let i = 0; i < 50; i++) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
};

async function fetchEvents(url: URL, { signal }: { signal: AbortSignal }) {
  // Asked for the cause of a failure.
  if (url.pathname.endsWith('/session')) return new Response('', { status });
  if (status !== 200) {
    answers.push({ url, signal, write: settle, end: settle });
    return new Response('', { status, headers });
  }
  const stream = new TransformStream<Uint8Array, Uint8Array>(undefined, undefined, { highWaterMark: 100 });
  const writer = stream.writable.getWriter();
  const write = async (text: string) => {
    await writer.write(new TextEncoder().encode(text));
    await settle();
  };
  answers.push({ url, signal, write, end: () => writer.close().then(settle) });
  return new Response(stream.readable);
}

const answer = () => answers.at(-1) as Answer;
const asEvent = (frame: { kind: string }) => `event: ${frame.kind}\nid: x\ndata: ${JSON.stringify(frame)}\n\n`;

beforeEach(() => {
  fakeServer();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  vi.stubGlobal('fetch', fetchEvents);
  answers = [];
  status = 200;
  headers = {};
});
afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** A client whose WebSockets fail, at its first connection over server-sent events. */
async function start() {
  client = new LivingMapClient({ url: 'http://map.test', layers: ['agents'] });
  client.start();
  for (let attempt = 0; attempt < 2; attempt++) {
    last().end(1006);
    vi.advanceTimersByTime(30_000);
  }
  expect(sockets()).toHaveLength(2);
  await settle();
}

test('falls back to server-sent events and keeps using them', async () => {
  await start();
  expect(answer().url.href).toBe('http://map.test/living-map/events/stream?layers=agents');
  await answer().write(asEvent(snapshot('e.1')));
  await answer().write(`:\n\n${asEvent(event('e.2', setStatus('agent:a', 'error')))}${asEvent(event('e.3'))}`);
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', cursor: 'e.3' });
  expect(client.getState().snapshot?.layers.agents?.items[0]?.status).toBe('error');
  vi.advanceTimersByTime(5000);
  await answer().end();
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', isStale: true });
  vi.advanceTimersByTime(500);
  await settle();
  expect(sockets()).toHaveLength(2);
  expect(answer().url.searchParams.get('cursor')).toBe('e.3');
});

test('frames may be split anywhere and have any line ending', async () => {
  await start();
  const text = `${asEvent(snapshot('e.1'))}${asEvent({ ...event('e.2'), payload: 'Ї' } as never)}`.replaceAll(
    '\n',
    '\r\n',
  );
  for (const piece of text.match(/[\s\S]{1,7}/g) ?? []) await answer().write(piece);
  expect(client.getState()).toMatchObject({ cursor: 'e.2', events: [{ payload: 'Ї' }] });
});

test('an expired cursor (410) is dropped at once', async () => {
  await start();
  await answer().write(asEvent(snapshot('e.1')));
  vi.advanceTimersByTime(5000);
  await answer().end();
  status = 410;
  vi.advanceTimersByTime(500);
  await settle();
  expect(answer().url.searchParams.get('cursor')).toBe('e.1');
  status = 200;
  vi.advanceTimersByTime(1000);
  await settle();
  expect(answer().url.searchParams.has('cursor')).toBe(false);
  await answer().write(asEvent(snapshot('f.1')));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', cursor: 'f.1' });
});

test('alternates transports until a WebSocket works', async () => {
  status = 503;
  await start();
  expect(answers).toHaveLength(1);
  expect(client.getState().error?.message).toContain('503');
  vi.advanceTimersByTime(30_000);
  expect(sockets()).toHaveLength(3);
  last().send(snapshot('e.1'));
  for (let attempt = 0; attempt < 5; attempt++) {
    last().end(1006);
    vi.advanceTimersByTime(30_000);
  }
  expect(sockets()).toHaveLength(8);
  expect(answers).toHaveLength(1);
});

test('a closed connection delivers nothing', async () => {
  await start();
  await answer().write(asEvent(snapshot('e.1')));
  await answer().write(`data: garbage\n\n${asEvent(event('e.2'))}`);
  expect(answer().signal.aborted).toBe(true);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', cursor: 'e.1' });
});

test('Retry-After of a full server is respected, with jitter', async () => {
  await start();
  await answer().write(asEvent(snapshot('e.1')));
  vi.advanceTimersByTime(5000);
  await answer().end();
  status = 503;
  headers = { 'retry-after': '20' };
  vi.advanceTimersByTime(500);
  await settle();
  const before = answers.length;
  // The maximum back-off is added.
  vi.advanceTimersByTime(20_999);
  await settle();
  expect(answers).toHaveLength(before);
  status = 200;
  vi.advanceTimersByTime(1);
  await settle();
  expect(answers).toHaveLength(before + 1);
  expect(client.getState().connectionStatus).toBe('open');
});

test('a rejection without a cursor is permanent', async () => {
  await start();
  await answer().write(asEvent(snapshot('e.1')));
  vi.advanceTimersByTime(5000);
  await answer().end();
  status = 400;
  vi.advanceTimersByTime(500);
  await settle();
  expect(answer().url.searchParams.get('cursor')).toBe('e.1');
  expect(client.getState().connectionStatus).toBe('closed');
  vi.advanceTimersByTime(1000);
  await settle();
  expect(answer().url.searchParams.has('cursor')).toBe(false);
  expect(client.getState()).toMatchObject({ connectionStatus: 'error', isStale: true });
  expect(client.getState().error?.message).toContain('400');
});

test('after many failures the transport is chosen again', async () => {
  client = new LivingMapClient({ url: 'http://map.test' });
  client.start();
  last().send(snapshot('e.1'));
  for (let attempt = 0; attempt < 11; attempt++) {
    expect(answers).toHaveLength(0);
    last().end(1006);
    vi.advanceTimersByTime(30_000);
    await settle();
  }
  expect(answers).toHaveLength(1);
});
