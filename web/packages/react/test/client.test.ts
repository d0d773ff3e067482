import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LivingMapClient, type LivingMapOptions } from '../src/index.js';
import { agent, event, fakeServer, last, setStatus, snapshot, sockets } from './support.js';

let client: LivingMapClient;

beforeEach(fakeServer);
afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** Starts a client with the maximum back-off. */
function start(options: LivingMapOptions = {}) {
  client = new LivingMapClient({ url: 'http://map.test/base', ...options });
  client.start();
}

const agents = () => client.getState().snapshot?.layers.agents?.items.map(({ id, status }) => `${id} ${status}`);

test('the options become query parameters', () => {
  start({ layers: ['city', 'agents'] });
  expect(last().url.href).toBe('ws://map.test/base/living-map/stream?layers=city%2Cagents');
});

test('is connecting until the first frame, then applies events', () => {
  start();
  expect(client.getState()).toMatchObject({ snapshot: null, connectionStatus: 'connecting', isStale: false });
  last().send(snapshot('e.1'));
  last().send(event('e.2', setStatus('agent:b', 'error')));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', cursor: 'e.2', isStale: false, error: null });
  expect(client.getState().snapshot?.meta.cursor).toBe('e.2');
  expect(agents()).toEqual(['agent:a online', 'agent:b error']);
});

test('after a disconnect the map is stale, then resumes by cursor', () => {
  start();
  last().send(snapshot('e.1'));
  last().send(event('e.2'));
  last().end(1006);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', isStale: true });
  expect(client.getState().error?.message).toContain('1006');
  expect(agents()).toEqual(['agent:a online', 'agent:b online']);
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBe('e.2');
  last().send(event('e.3', setStatus('agent:a', 'idle')));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', isStale: false, error: null, cursor: 'e.3' });
  expect(agents()).toEqual(['agent:a idle', 'agent:b online']);
});

test('the back-off doubles up to 30 s and resets when stable', () => {
  start();
  last().send(snapshot('e.1'));
  for (const wait of [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    const before = sockets().length;
    last().end(4012);
    vi.advanceTimersByTime(wait - 1);
    expect(sockets()).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(sockets()).toHaveLength(before + 1);
  }
  last().send(snapshot('e.2'));
  vi.advanceTimersByTime(5000);
  last().end(4012);
  const before = sockets().length;
  vi.advanceTimersByTime(500);
  expect(sockets()).toHaveLength(before + 1);
});

test('a server that accepts and drops at once is retried slowly', () => {
  start();
  for (const wait of [500, 1000, 2000]) {
    last().send(snapshot('e.1'));
    last().end(1006);
    const before = sockets().length;
    vi.advanceTimersByTime(wait - 1);
    expect(sockets()).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(sockets()).toHaveLength(before + 1);
  }
});

test('the delay is random between 0 and its upper bound', () => {
  vi.mocked(Math.random).mockReturnValue(0.25);
  client = new LivingMapClient({ url: 'http://map.test' });
  client.start();
  last().end(1006);
  vi.advanceTimersByTime(124);
  expect(sockets()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(sockets()).toHaveLength(2);
});

test('a resumed map is current as soon as the handshake is done', () => {
  start();
  last().onopen?.();
  expect(client.getState().connectionStatus).toBe('connecting');
  last().send(snapshot('e.1'));
  last().end(1006);
  vi.advanceTimersByTime(500);
  expect(client.getState()).toMatchObject({ connectionStatus: 'connecting', isStale: true });
  last().onopen?.();
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', isStale: false, error: null });
});

test('a planned restart is no error, and its delay is respected', () => {
  start();
  last().send(snapshot('e.1'));
  last().send({ kind: 'reconnect', after_ms: 3000 });
  last().end(1012);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', error: null, isStale: true });
  vi.advanceTimersByTime(2999);
  expect(sockets()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(last().cursor).toBe('e.1');
});

test('a rejection is permanent until reconnect', () => {
  start();
  last().send(snapshot('e.1'));
  last().end(4500);
  expect(client.getState()).toMatchObject({ connectionStatus: 'error', isStale: true });
  vi.advanceTimersByTime(600_000);
  expect(sockets()).toHaveLength(1);
  client.reconnect();
  expect(last().cursor).toBe('e.1');
});

test('a second snapshot replaces the map; equal parts are kept', () => {
  start();
  last().send(snapshot('e.1'));
  const before = client.getState().snapshot?.layers;
  last().send(snapshot('e.90', [agent('agent:a'), agent('agent:c')]));
  const after = client.getState().snapshot?.layers;
  expect(agents()).toEqual(['agent:a online', 'agent:c online']);
  expect(client.getState().cursor).toBe('e.90');
  expect(after?.nodes).toBe(before?.nodes);
  expect(after?.agents?.items[0]).toBe(before?.agents?.items[0]);
});

test('a duplicate event is applied and listed once', () => {
  start();
  last().send(snapshot('e.1'));
  last().send(event('e.2', setStatus('agent:a', 'error')));
  last().send(event('e.3', setStatus('agent:a', 'idle')));
  last().send(event('e.2', setStatus('agent:a', 'error')));
  last().send(event('e.3', setStatus('agent:a', 'idle')));
  expect(agents()).toContain('agent:a idle');
  expect(client.getState().cursor).toBe('e.3');
  expect(client.getState().events.map(({ cursor }) => cursor)).toEqual(['e.3', 'e.2']);
});

test('after an older snapshot its events are applied again', () => {
  start();
  last().send(snapshot('e.1'));
  last().send(event('e.2', setStatus('agent:a', 'error')));
  last().send(snapshot('e.1'));
  last().send(event('e.2', setStatus('agent:a', 'error')));
  expect(agents()).toContain('agent:a error');
  expect(client.getState().events).toHaveLength(1);
});

test.each([
  'not json',
  '[]',
  '{"kind":7}',
  '{"kind":"event","changes":[]}',
  '{"kind":"event","cursor":"e.2","changes":[{"op":"upsert","layer":"agents","type":"agent","id":"x","patch":3}]}',
  '{"kind":"event","cursor":"e.2","changes":[{"op":"explode","layer":"agents","type":"agent","id":"x"}]}',
  '{"kind":"snapshot","data":{"layers":{},"meta":{}}}',
])('an invalid frame (%s) reconnects from the cursor', (garbage) => {
  start();
  last().send(snapshot('e.1'));
  last().send(garbage);
  expect(sockets()[0]?.closed).toBe(true);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', cursor: 'e.1', isStale: true });
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBe('e.1');
});

test('repeated invalid frames drop the cursor for a snapshot', () => {
  start();
  last().send(snapshot('e.1'));
  for (const cursor of [null, 'e.1']) {
    expect(last().cursor).toBe(cursor);
    last().send('garbage');
    vi.advanceTimersByTime(30_000);
  }
  expect(last().cursor).toBeNull();
  last().send(snapshot('e.9'));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', cursor: 'e.9' });
});

test('a cursor survives a restart and is dropped as a last resort', () => {
  start();
  last().send(snapshot('e.1'));
  for (let attempt = 1; attempt < 10; attempt++) {
    last().end(1006);
    vi.advanceTimersByTime(30_000);
    expect(last().cursor).toBe('e.1');
  }
  last().end(1006);
  vi.advanceTimersByTime(30_000);
  expect(last().cursor).toBeNull();
});

test('unknown frame kinds are ignored but reset the idle timeout', () => {
  start();
  last().send({ kind: 'weather', data: 1 });
  last().send({ kind: 'toString' });
  expect(client.getState().connectionStatus).toBe('open');
});

test('events before the first snapshot change nothing', () => {
  start();
  last().send(event('e.7', setStatus('agent:a', 'error')));
  expect(client.getState()).toMatchObject({ snapshot: null, cursor: null, events: [] });
});

test('a ping advances the cursor', () => {
  start();
  last().send(snapshot('e.1'));
  last().send({ kind: 'ping', timestamp: '', cursor: 'e.8' });
  last().end(1006);
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBe('e.8');
});

test('a silent connection times out, also before the first frame', () => {
  start();
  vi.advanceTimersByTime(75_000);
  expect(client.getState().connectionStatus).toBe('closed');
  vi.advanceTimersByTime(500);
  last().send(snapshot('e.1'));
  vi.advanceTimersByTime(74_999);
  expect(client.getState().connectionStatus).toBe('open');
  vi.advanceTimersByTime(1);
  expect(client.getState().error?.message).toContain('stalled');
});

test('refetch requests a snapshot and resolves with it', async () => {
  start();
  last().send(snapshot('e.1'));
  const fetched = client.refetch();
  expect(sockets()).toHaveLength(2);
  expect(last().cursor).toBeNull();
  // The connection may drop before the snapshot arrives: it is requested again.
  last().end(1006);
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBeNull();
  last().send(snapshot('e.5'));
  await fetched;
  expect(client.getState().cursor).toBe('e.5');
});

test('refetch resolves when the client stops', async () => {
  start();
  const fetched = client.refetch();
  client.stop();
  await fetched;
});

test('a burst of frames notifies once', () => {
  start();
  vi.advanceTimersByTime(100);
  const listener = vi.fn();
  client.subscribe(listener);
  last().send(snapshot('e.1'));
  for (let i = 2; i < 50; i++) last().send(event(`e.${i}`));
  expect(listener).not.toHaveBeenCalled();
  vi.advanceTimersByTime(16);
  expect(listener).toHaveBeenCalledTimes(1);
});

test('events are listed newest first, up to maxEvents', () => {
  start({ maxEvents: 2 });
  last().send(snapshot('e.1'));
  for (let i = 2; i < 10; i++) last().send(event(`e.${i}`));
  expect(client.getState().events.map(({ cursor }) => cursor)).toEqual(['e.9', 'e.8']);
});

test('stop leaves no connection and no timer; start resumes', () => {
  start();
  last().send(snapshot('e.1'));
  client.stop();
  vi.advanceTimersByTime(16);
  expect(last().closed).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  client.start();
  expect(last().cursor).toBe('e.1');
});

test('without a URL the client fails with an error', () => {
  client = new LivingMapClient();
  client.start();
  expect(client.getState().connectionStatus).toBe('error');
  expect(client.getState().error?.message).toContain('url');
});
