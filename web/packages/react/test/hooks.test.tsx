// @vitest-environment jsdom
import { act, cleanup, render, renderHook } from '@testing-library/react';
import { StrictMode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type LivingMapOptions, useEntity, useLayer, useLivingMapFull, useLivingMapLite } from '../src/index.js';
import { agent, event, fakeServer, last, open, setStatus, snapshot, sockets } from './support.js';

beforeEach(fakeServer);
afterEach(() => {
  cleanup();
  // Longer than a client lingers: none is left for the next test.
  vi.runOnlyPendingTimers();
  expect(open()).toHaveLength(0);
  vi.useRealTimers();
});

/** Lets the server do `what`, and the listeners hear of it. */
function serve(what: () => void) {
  act(() => {
    what();
    vi.advanceTimersByTime(16);
  });
}

function hide(isHidden: boolean) {
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(isHidden);
  document.dispatchEvent(new Event('visibilitychange'));
}

test('useLivingMapFull has the results of the old hook, and events, cursor and reconnect', () => {
  const { result } = renderHook(() => useLivingMapFull());
  expect(last().url.href).toBe('ws://localhost:3000/living-map/stream');
  expect(result.current).toMatchObject({
    snapshot: null,
    isLoading: true,
    error: null,
    connectionStatus: 'connecting',
  });
  serve(() => last().say(snapshot('e.1')));
  serve(() => last().say(event('e.2')));
  expect(result.current).toMatchObject({ isLoading: false, error: null, connectionStatus: 'open', cursor: 'e.2' });
  expect(result.current.snapshot?.layers.agents?.items).toHaveLength(2);
  expect(result.current.events).toHaveLength(1);
  act(() => result.current.reconnect());
  expect(last().cursor).toBe('e.2');
  act(() => void result.current.refetch());
  expect(last().cursor).toBeNull();
});

test('loading ends when the server refuses', () => {
  const { result } = renderHook(() => useLivingMapFull());
  serve(() => last().end(1008));
  expect(result.current).toMatchObject({ isLoading: false, connectionStatus: 'error' });
  expect(result.current.error).toBeInstanceOf(Error);
});

test('useLivingMapLite adds what the user chose', () => {
  const { result } = renderHook(() => useLivingMapLite());
  expect(result.current).toMatchObject({ selectedLayer: null, selectedEntityId: null });
  act(() => result.current.setSelectedLayer('nodes'));
  act(() => result.current.setSelectedEntityId('node:1'));
  expect(result.current).toMatchObject({ selectedLayer: 'nodes', selectedEntityId: 'node:1', snapshot: null });
});

test('hooks with the same options share one connection, those with others have theirs', () => {
  const rendered = [undefined, {}, { layers: ['city', 'nodes'] }, { layers: ['nodes', 'city'] }].map((options) =>
    renderHook(() => useLivingMapFull(options as LivingMapOptions)),
  );
  renderHook(() => useLayer('agents'));
  renderHook(() => useEntity('agent:a'));
  expect(sockets()).toHaveLength(2);
  serve(() => sockets()[0]?.say(snapshot('e.1')));
  expect(rendered[0]?.result.current.snapshot).toBe(rendered[1]?.result.current.snapshot);
  expect(rendered[2]?.result.current.snapshot).toBeNull();
});

test('the connection ends soon after the last hook has gone, and not between two views', () => {
  const first = renderHook(() => useLivingMapFull());
  serve(() => last().say(snapshot('e.1')));
  first.unmount();
  vi.advanceTimersByTime(500);
  const second = renderHook(() => useLivingMapFull());
  vi.advanceTimersByTime(2000);
  expect(sockets()).toHaveLength(1);
  expect(second.result.current.snapshot).not.toBeNull();
  second.unmount();
  vi.advanceTimersByTime(1000);
  expect(open()).toHaveLength(0);
});

test('StrictMode, which mounts everything twice, makes one connection', () => {
  const { result } = renderHook(() => [useLivingMapFull(), useLayer('agents')] as const, { wrapper: StrictMode });
  serve(() => last().say(snapshot('e.1')));
  vi.advanceTimersByTime(5000);
  expect(sockets()).toHaveLength(1);
  expect(open()).toHaveLength(1);
  expect(result.current[1]?.items).toHaveLength(2);
});

test('only what shows a changed entity renders again', () => {
  const renders: string[] = [];
  function Agent({ id }: { id: string }) {
    const status = (useEntity(id)?.data as { status?: string } | undefined)?.status;
    renders.push(`${id} ${status}`);
    return status;
  }
  function Nodes() {
    renders.push(`nodes ${useLayer('nodes')?.items.length}`);
    return null;
  }
  render([<Agent key="a" id="agent:a" />, <Agent key="b" id="agent:b" />, <Nodes key="n" />]);
  serve(() => last().say(snapshot('e.1')));
  renders.length = 0;
  serve(() => last().say(event('e.2', setStatus('agent:b', 'error'))));
  expect(renders).toEqual(['agent:b error']);
  // A fresh snapshot, too: a resync of a big map must not draw everything anew.
  renders.length = 0;
  serve(() => last().say(snapshot('e.9', [agent('agent:a', 'idle'), agent('agent:b', 'error')])));
  expect(renders).toEqual(['agent:a idle']);
});

test('useEntity finds entities of every kind, and says where', () => {
  const { result, rerender } = renderHook(({ id }) => useEntity(id), { initialProps: { id: 'node:1' } });
  serve(() => last().say(snapshot('e.1')));
  expect(result.current).toMatchObject({ type: 'node', layer: 'nodes', data: { id: 'node:1' } });
  rerender({ id: 'agent:b' });
  expect(result.current).toMatchObject({ type: 'agent', layer: 'agents', data: { id: 'agent:b' } });
  rerender({ id: 'agent:none' });
  expect(result.current).toBeNull();
});

test('a page hidden for long is paused, and catches up from its cursor when it is seen', () => {
  const { result } = renderHook(() => useLivingMapFull());
  serve(() => last().say(snapshot('e.1')));
  act(() => hide(true));
  act(() => void vi.advanceTimersByTime(29_999));
  act(() => hide(false));
  act(() => hide(true));
  expect(open()).toHaveLength(1);
  act(() => void vi.advanceTimersByTime(30_000));
  expect(open()).toHaveLength(0);
  serve(() => {});
  expect(result.current).toMatchObject({ connectionStatus: 'closed', isStale: true, error: null });
  act(() => hide(false));
  expect(last().cursor).toBe('e.1');
  serve(() => last().say(event('e.2')));
  expect(result.current).toMatchObject({ connectionStatus: 'open', isStale: false, cursor: 'e.2' });
});

test('the browser being back online ends the wait', () => {
  renderHook(() => useLivingMapFull());
  serve(() => last().say(snapshot('e.1')));
  for (let i = 0; i < 8; i++) {
    last().end(1006);
    if (i < 7) vi.advanceTimersByTime(30_000);
  }
  const before = sockets().length;
  window.dispatchEvent(new Event('online'));
  expect(sockets()).toHaveLength(before + 1);
});
