import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LivingMapClient, type LivingMapOptions } from '../src/index.js';
import { agent, event, fakeServer, last, setStatus, snapshot, sockets } from './support.js';

let client: LivingMapClient;

beforeEach(fakeServer);
afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** Waits for the longest time that the back-off has. */
function start(options: LivingMapOptions = {}) {
  client = new LivingMapClient({ url: 'http://map.test/base', ...options });
  client.start();
}

const agents = () => client.getState().snapshot?.layers.agents?.items.map(({ id, status }) => `${id} ${status}`);

test('it asks for what its options say', () => {
  start({ layers: ['city', 'agents'] });
  expect(last().url.href).toBe('ws://map.test/base/living-map/stream?layers=city%2Cagents');
});

test('it is connecting until the first frame, and holds the map with every event after it', () => {
  start();
  expect(client.getState()).toMatchObject({ snapshot: null, connectionStatus: 'connecting', isStale: false });
  last().say(snapshot('e.1'));
  last().say(event('e.2', setStatus('agent:b', 'error')));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', cursor: 'e.2', isStale: false, error: null });
  expect(client.getState().snapshot?.meta.cursor).toBe('e.2');
  expect(agents()).toEqual(['agent:a online', 'agent:b error']);
});

test('a server that drops: the map is kept, marked stale, and goes on from the cursor', () => {
  start();
  last().say(snapshot('e.1'));
  last().say(event('e.2'));
  last().end(1006);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', isStale: true });
  expect(client.getState().error?.message).toContain('1006');
  expect(agents()).toEqual(['agent:a online', 'agent:b online']);
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBe('e.2');
  last().say(event('e.3', setStatus('agent:a', 'idle')));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', isStale: false, error: null, cursor: 'e.3' });
  expect(agents()).toEqual(['agent:a idle', 'agent:b online']);
});

test('waits double up to half a minute, and begin again after a line that lasted', () => {
  start();
  last().say(snapshot('e.1'));
  for (const wait of [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
    const before = sockets().length;
    last().end(4012);
    vi.advanceTimersByTime(wait - 1);
    expect(sockets()).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(sockets()).toHaveLength(before + 1);
  }
  last().say(snapshot('e.2'));
  vi.advanceTimersByTime(5000);
  last().end(4012);
  const before = sockets().length;
  vi.advanceTimersByTime(500);
  expect(sockets()).toHaveLength(before + 1);
});

test('a server that takes us and drops us at once is not asked without a pause', () => {
  start();
  for (const wait of [500, 1000, 2000]) {
    last().say(snapshot('e.1'));
    last().end(1006);
    const before = sockets().length;
    vi.advanceTimersByTime(wait - 1);
    expect(sockets()).toHaveLength(before);
    vi.advanceTimersByTime(1);
    expect(sockets()).toHaveLength(before + 1);
  }
});

test('a wait is random between nothing and its ceiling', () => {
  vi.mocked(Math.random).mockReturnValue(0.25);
  client = new LivingMapClient({ url: 'http://map.test' });
  client.start();
  last().end(1006);
  vi.advanceTimersByTime(124);
  expect(sockets()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(sockets()).toHaveLength(2);
});

test('on a quiet network what was resumed is current as soon as the server takes us', () => {
  start();
  last().onopen?.();
  expect(client.getState().connectionStatus).toBe('connecting');
  last().say(snapshot('e.1'));
  last().end(1006);
  vi.advanceTimersByTime(500);
  expect(client.getState()).toMatchObject({ connectionStatus: 'connecting', isStale: true });
  last().onopen?.();
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', isStale: false, error: null });
});

test('a planned restart is waited out as asked, and is no error', () => {
  start();
  last().say(snapshot('e.1'));
  last().say({ kind: 'reconnect', after_ms: 3000 });
  last().end(1012);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', error: null, isStale: true });
  vi.advanceTimersByTime(2999);
  expect(sockets()).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(last().cursor).toBe('e.1');
});

test('a refusal is final, until the user asks again', () => {
  start();
  last().say(snapshot('e.1'));
  last().end(4500);
  expect(client.getState()).toMatchObject({ connectionStatus: 'error', isStale: true });
  vi.advanceTimersByTime(600_000);
  expect(sockets()).toHaveLength(1);
  client.reconnect();
  expect(last().cursor).toBe('e.1');
});

test('a server that lags so far that it sends a snapshot again: it replaces all, and equal parts keep their identity', () => {
  start();
  last().say(snapshot('e.1'));
  const before = client.getState().snapshot?.layers;
  last().say(snapshot('e.90', [agent('agent:a'), agent('agent:c')]));
  const after = client.getState().snapshot?.layers;
  expect(agents()).toEqual(['agent:a online', 'agent:c online']);
  expect(client.getState().cursor).toBe('e.90');
  expect(after?.nodes).toBe(before?.nodes);
  expect(after?.agents?.items[0]).toBe(before?.agents?.items[0]);
});

test('a server that duplicates: an event is applied and listed once', () => {
  start();
  last().say(snapshot('e.1'));
  last().say(event('e.2', setStatus('agent:a', 'error')));
  last().say(event('e.3', setStatus('agent:a', 'idle')));
  last().say(event('e.2', setStatus('agent:a', 'error')));
  last().say(event('e.3', setStatus('agent:a', 'idle')));
  expect(agents()).toContain('agent:a idle');
  expect(client.getState().cursor).toBe('e.3');
  expect(client.getState().events.map(({ cursor }) => cursor)).toEqual(['e.3', 'e.2']);
});

test('after a snapshot of an older position its events are applied again', () => {
  start();
  last().say(snapshot('e.1'));
  last().say(event('e.2', setStatus('agent:a', 'error')));
  last().say(snapshot('e.1'));
  last().say(event('e.2', setStatus('agent:a', 'error')));
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
])('a server that sends garbage (%s) is left, and resumed from the last cursor', (garbage) => {
  start();
  last().say(snapshot('e.1'));
  last().say(garbage);
  expect(sockets()[0]?.closed).toBe(true);
  expect(client.getState()).toMatchObject({ connectionStatus: 'closed', cursor: 'e.1', isStale: true });
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBe('e.1');
});

test('where the cursor brings nothing but garbage, it is given up for a snapshot', () => {
  start();
  last().say(snapshot('e.1'));
  for (const cursor of [null, 'e.1']) {
    expect(last().cursor).toBe(cursor);
    last().say('garbage');
    vi.advanceTimersByTime(30_000);
  }
  expect(last().cursor).toBeNull();
  last().say(snapshot('e.9'));
  expect(client.getState()).toMatchObject({ connectionStatus: 'open', cursor: 'e.9' });
});

test('a cursor outlives a restart, and is given up when nothing else brings the server back', () => {
  start();
  last().say(snapshot('e.1'));
  for (let attempt = 1; attempt < 10; attempt++) {
    last().end(1006);
    vi.advanceTimersByTime(30_000);
    expect(last().cursor).toBe('e.1');
  }
  last().end(1006);
  vi.advanceTimersByTime(30_000);
  expect(last().cursor).toBeNull();
});

test('kinds that it does not know pass, and say that the line lives', () => {
  start();
  last().say({ kind: 'weather', data: 1 });
  last().say({ kind: 'toString' });
  expect(client.getState().connectionStatus).toBe('open');
});

test('events before a map move nothing', () => {
  start();
  last().say(event('e.7', setStatus('agent:a', 'error')));
  expect(client.getState()).toMatchObject({ snapshot: null, cursor: null, events: [] });
});

test('a ping keeps the cursor fresh', () => {
  start();
  last().say(snapshot('e.1'));
  last().say({ kind: 'ping', timestamp: '', cursor: 'e.8' });
  last().end(1006);
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBe('e.8');
});

test('a line that goes silent is given up, also one that never spoke', () => {
  start();
  vi.advanceTimersByTime(75_000);
  expect(client.getState().connectionStatus).toBe('closed');
  vi.advanceTimersByTime(500);
  last().say(snapshot('e.1'));
  vi.advanceTimersByTime(74_999);
  expect(client.getState().connectionStatus).toBe('open');
  vi.advanceTimersByTime(1);
  expect(client.getState().error?.message).toContain('silent');
});

test('refetch begins with a snapshot, and resolves with it', async () => {
  start();
  last().say(snapshot('e.1'));
  const fetched = client.refetch();
  expect(sockets()).toHaveLength(2);
  expect(last().cursor).toBeNull();
  // The line may be lost before the snapshot came: it is asked for again.
  last().end(1006);
  vi.advanceTimersByTime(500);
  expect(last().cursor).toBeNull();
  last().say(snapshot('e.5'));
  await fetched;
  expect(client.getState().cursor).toBe('e.5');
});

test('refetch does not hang when the client stops', async () => {
  start();
  const fetched = client.refetch();
  client.stop();
  await fetched;
});

test('a burst of frames is told once', () => {
  start();
  vi.advanceTimersByTime(100);
  const listener = vi.fn();
  client.subscribe(listener);
  last().say(snapshot('e.1'));
  for (let i = 2; i < 50; i++) last().say(event(`e.${i}`));
  expect(listener).not.toHaveBeenCalled();
  vi.advanceTimersByTime(16);
  expect(listener).toHaveBeenCalledTimes(1);
});

test('events are kept newest first, and no more than asked for', () => {
  start({ maxEvents: 2 });
  last().say(snapshot('e.1'));
  for (let i = 2; i < 10; i++) last().say(event(`e.${i}`));
  expect(client.getState().events.map(({ cursor }) => cursor)).toEqual(['e.9', 'e.8']);
});

test('after stop nothing is left: no line, no timer; start resumes', () => {
  start();
  last().say(snapshot('e.1'));
  client.stop();
  vi.advanceTimersByTime(16);
  expect(last().closed).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  client.start();
  expect(last().cursor).toBe('e.1');
});

test('without a place to connect to it fails, and says why', () => {
  client = new LivingMapClient();
  client.start();
  expect(client.getState().connectionStatus).toBe('error');
  expect(client.getState().error?.message).toContain('url');
});
