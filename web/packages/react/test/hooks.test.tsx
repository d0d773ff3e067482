// @vitest-environment jsdom
import { act, cleanup, render, renderHook } from '@testing-library/react';
import { StrictMode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type LivingMapOptions, useEntity, useLayer, useLivingMapFull, useLivingMapLite } from '../src/index.js';
import { agent, event, fakeServer, last, open, setStatus, snapshot, sockets } from './support.js';

beforeEach(fakeServer);
afterEach(() => {
  cleanup();
  // Longer than the grace period, so that no client is left for the next test.
  vi.runOnlyPendingTimers();
  expect(open()).toHaveLength(0);
  vi.useRealTimers();
});

/** Runs a server action and delivers the notification. */
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

test('useLivingMapFull has the map, events, cursor and reconnect', () => {
  const { result } = renderHook(() => useLivingMapFull());
  expect(last().url.href).toBe('ws://localhost:3000/living-map/stream');
  expect(result.current).toMatchObject({
    snapshot: null,
    isLoading: true,
    error: null,
    connectionStatus: 'connecting',
  });
  serve(() => last().send(snapshot('e.1')));
  serve(() => last().send(event('e.2')));
  expect(result.current).toMatchObject({ isLoading: false, error: null, connectionStatus: 'open', cursor: 'e.2' });
  expect(result.current.snapshot?.layers.agents?.items).toHaveLength(2);
  expect(result.current.events).toHaveLength(1);
  act(() => result.current.reconnect());
  expect(last().cursor).toBe('e.2');
  act(() => void result.current.refetch());
  expect(last().cursor).toBeNull();
});

test('loading ends when the server rejects the connection', () => {
  const { result } = renderHook(() => useLivingMapFull());
  serve(() => last().end(1008));
  expect(result.current).toMatchObject({ isLoading: false, connectionStatus: 'error' });
  expect(result.current.error).toBeInstanceOf(Error);
});

test('useLivingMapLite adds the selection', () => {
  const { result } = renderHook(() => useLivingMapLite());
  expect(result.current).toMatchObject({ selectedLayer: null, selectedEntityId: null });
  act(() => result.current.setSelectedLayer('nodes'));
  act(() => result.current.setSelectedEntityId('node:1'));
  expect(result.current).toMatchObject({ selectedLayer: 'nodes', selectedEntityId: 'node:1', snapshot: null });
});

test('hooks with equal options share one connection', () => {
  const rendered = [undefined, {}, { layers: ['city', 'nodes'] }, { layers: ['nodes', 'city'] }].map((options) =>
    renderHook(() => useLivingMapFull(options as LivingMapOptions)),
  );
  renderHook(() => useLayer('agents'));
  renderHook(() => useEntity('agent:a'));
  expect(sockets()).toHaveLength(2);
  serve(() => sockets()[0]?.send(snapshot('e.1')));
  expect(rendered[0]?.result.current.snapshot).toBe(rendered[1]?.result.current.snapshot);
  expect(rendered[2]?.result.current.snapshot).toBeNull();
});

test('disconnects a grace period after the last hook unmounts', () => {
  const first = renderHook(() => useLivingMapFull());
  serve(() => last().send(snapshot('e.1')));
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

test('StrictMode opens one connection', () => {
  const { result } = renderHook(() => [useLivingMapFull(), useLayer('agents')] as const, { wrapper: StrictMode });
  serve(() => last().send(snapshot('e.1')));
  vi.advanceTimersByTime(5000);
  expect(sockets()).toHaveLength(1);
  expect(open()).toHaveLength(1);
  expect(result.current[1]?.items).toHaveLength(2);
});

test('only components of changed entities render again', () => {
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
  serve(() => last().send(snapshot('e.1')));
  renders.length = 0;
  serve(() => last().send(event('e.2', setStatus('agent:b', 'error'))));
  expect(renders).toEqual(['agent:b error']);
  // A new snapshot too: resyncing a large map must not render everything again.
  renders.length = 0;
  serve(() => last().send(snapshot('e.9', [agent('agent:a', 'idle'), agent('agent:b', 'error')])));
  expect(renders).toEqual(['agent:a idle']);
});

test('useEntity finds entities of every type with their layer', () => {
  const { result, rerender } = renderHook(({ id }) => useEntity(id), { initialProps: { id: 'node:1' } });
  serve(() => last().send(snapshot('e.1')));
  expect(result.current).toMatchObject({ type: 'node', layer: 'nodes', data: { id: 'node:1' } });
  rerender({ id: 'agent:b' });
  expect(result.current).toMatchObject({ type: 'agent', layer: 'agents', data: { id: 'agent:b' } });
  rerender({ id: 'agent:none' });
  expect(result.current).toBeNull();
});

test('a hidden page pauses and resumes from its cursor', () => {
  const { result } = renderHook(() => useLivingMapFull());
  serve(() => last().send(snapshot('e.1')));
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
  serve(() => last().send(event('e.2')));
  expect(result.current).toMatchObject({ connectionStatus: 'open', isStale: false, cursor: 'e.2' });
});

test('the online event retries at once', () => {
  renderHook(() => useLivingMapFull());
  serve(() => last().send(snapshot('e.1')));
  for (let i = 0; i < 8; i++) {
    last().end(1006);
    if (i < 7) vi.advanceTimersByTime(30_000);
  }
  const before = sockets().length;
  window.dispatchEvent(new Event('online'));
  expect(sockets()).toHaveLength(before + 1);
});
