// @vitest-environment jsdom
import { act, cleanup, renderHook } from '@testing-library/react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { LivingMapError, useErrors, useLessons, useResource } from '../src/index.js';

const health = { period_minutes: 5, total_errors: 1, rescued_errors: 0, per_target: { dao: 1 }, unhealthy_targets: [] };
let answers: Record<string, unknown>;
const fetched = vi.fn(async (url: URL, _options?: RequestInit) => {
  const answer = answers[url.pathname];
  return answer === undefined ? new Response('no route', { status: 404 }) : Response.json(answer);
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  fetched.mockClear();
  vi.stubGlobal('fetch', fetched);
  answers = {
    '/living-map/lessons': { items: [{ lesson_key: 'a' }, { lesson_key: 'b' }] },
    '/living-map/errors': { items: [{ id: '1', target: 'dao' }] },
    '/living-map/errors/health': health,
    '/living-map/entities/agent%3Aa%2F1/relations': { items: [] },
  };
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const server = { url: 'http://map.test' };
const asked = () => fetched.mock.calls.map(([url]) => url.pathname + url.search);
/** Waits for responses and the renders that they cause. */
const settle = () => act(() => new Promise((resolve) => setTimeout(resolve)));
const pass = (ms: number) => {
  act(() => void vi.advanceTimersByTime(ms));
};

test('useLessons sends its query and polls while visible', async () => {
  const { result, unmount } = renderHook(() => useLessons({ agent: 'agent:a', status: 'active' }, server));
  expect(result.current).toMatchObject({ items: [], isLoading: true, error: null });
  await settle();
  expect(asked()).toEqual(['/living-map/lessons?agent=agent%3Aa&status=active']);
  expect(result.current).toMatchObject({ items: [{ lesson_key: 'a' }, { lesson_key: 'b' }], isLoading: false });
  const [first] = result.current.items;
  answers['/living-map/lessons'] = { items: [{ lesson_key: 'a' }, { lesson_key: 'c' }] };
  pass(15_000);
  expect(result.current.isLoading).toBe(false);
  await settle();
  expect(result.current.items[0]).toBe(first);
  expect(result.current.items[1]?.lesson_key).toBe('c');
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  pass(60_000);
  expect(fetched).toHaveBeenCalledTimes(2);
  unmount();
  expect(vi.getTimerCount()).toBe(0);
});

test('useErrors has the journal and the health summary', async () => {
  const { result } = renderHook(() => useErrors({ target: 'dao', minutes: 5 }, { ...server, refreshMs: 0 }));
  await settle();
  expect(asked()).toEqual(['/living-map/errors?target=dao', '/living-map/errors/health?minutes=5']);
  expect(result.current).toMatchObject({ items: [{ target: 'dao' }], health, isLoading: false, error: null });
  pass(600_000);
  expect(fetched).toHaveBeenCalledTimes(2);
  act(() => result.current.refetch());
  expect(fetched).toHaveBeenCalledTimes(4);
});

test('an error keeps the data and is cleared by the next response', async () => {
  const { result } = renderHook(() => useLessons({}, server));
  await settle();
  const known = answers['/living-map/lessons'];
  delete answers['/living-map/lessons'];
  pass(15_000);
  await settle();
  expect(result.current.error).toMatchObject({ status: 404, problem: null });
  expect(result.current.error).toBeInstanceOf(LivingMapError);
  expect(result.current.items).toHaveLength(2);
  fetched.mockRejectedValueOnce('away');
  pass(15_000);
  await settle();
  expect(result.current.error?.message).toBe('away');
  answers['/living-map/lessons'] = known;
  pass(15_000);
  await settle();
  expect(result.current).toMatchObject({ error: null, items: [{}, {}] });
});

test('polls wait for a pending request; refetch replaces it', async () => {
  fetched.mockImplementationOnce(() => new Promise(() => {}));
  const { result } = renderHook(() => useLessons({}, server));
  pass(60_000);
  expect(fetched).toHaveBeenCalledTimes(1);
  act(() => result.current.refetch());
  expect(fetched.mock.calls[0]?.[1]?.signal?.aborted).toBe(true);
  await settle();
  expect(result.current).toMatchObject({ items: [{}, {}], isLoading: false });
});

test('useResource fills in path and query parameters', async () => {
  const { result } = renderHook(() =>
    useResource('/living-map/entities/{id}/relations', { id: 'agent:a/1' }, { url: 'http://map.test/' }),
  );
  await settle();
  expect(asked()).toEqual(['/living-map/entities/agent%3Aa%2F1/relations']);
  expect(result.current.data).toEqual({ items: [] });
});
