// @vitest-environment jsdom
import { act, cleanup, configure, renderHook, waitFor } from '@testing-library/react';
import { StrictMode } from 'react';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type HistoryQuery, LivingMapError, useHistory } from '../src/index.js';

// The default of 1 s is too short on a busy machine.
configure({ asyncUtilTimeout: 4000 });

/** Two pages of two events; `fails` is answered with a problem document. */
const answer = vi.fn(async (url: URL, _options: RequestInit) => {
  const { entity_id, event_type, cursor } = Object.fromEntries(url.searchParams);
  if (event_type === 'fails') {
    const problem = { title: 'Bad Request', status: 400, detail: 'event_type: no subject', parameter: 'event_type' };
    return Response.json(problem, { status: 400, headers: { 'content-type': 'application/problem+json' } });
  }
  const items = (cursor ? ['3', '4'] : ['1', '2']).map((id) => ({ id: `${entity_id} ${id}` }));
  return Response.json({ items, total: 4, total_exact: true, has_more: !cursor, next_cursor: cursor ? null : 'next' });
});

beforeEach(() => {
  answer.mockClear();
  vi.stubGlobal('fetch', answer);
});
afterEach(cleanup);

function start(query: HistoryQuery) {
  return renderHook((props: HistoryQuery) => useHistory(props, { url: 'http://map.test' }), { initialProps: query });
}

test('loads page by page', async () => {
  const { result } = start({ entity_id: 'agent:a', limit: 2 });
  expect(result.current).toMatchObject({ items: [], total: null, isLoading: true, hasMore: false });
  await waitFor(() => expect(result.current.isLoading).toBe(false));
  expect(answer.mock.lastCall?.[0].href).toBe('http://map.test/living-map/history?entity_id=agent%3Aa&limit=2');
  expect(result.current).toMatchObject({ items: [{ id: 'agent:a 1' }, { id: 'agent:a 2' }], total: 4, hasMore: true });
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current.items).toHaveLength(4));
  expect(result.current.hasMore).toBe(false);
  act(() => result.current.loadMore());
  expect(answer).toHaveBeenCalledTimes(2);
  act(() => result.current.refetch());
  await waitFor(() => expect(result.current.items).toHaveLength(2));
});

test('a page after an offset is requested by its cursor alone', async () => {
  const { result } = start({ entity_id: 'agent:a', offset: 10 });
  await waitFor(() => expect(result.current.isLoading).toBe(false));
  expect(answer.mock.lastCall?.[0].searchParams.get('offset')).toBe('10');
  act(() => result.current.loadMore());
  await waitFor(() => expect(result.current.items).toHaveLength(4));
  const { searchParams } = answer.mock.lastCall?.[0] ?? new URL('http://map.test');
  expect([searchParams.get('cursor'), searchParams.has('offset')]).toEqual(['next', false]);
});

test('a new query drops the previous response in the same render', async () => {
  const { result, rerender } = start({ entity_id: 'agent:a' });
  await waitFor(() => expect(result.current.isLoading).toBe(false));
  rerender({ entity_id: 'agent:b' });
  expect(result.current).toMatchObject({ items: [], isLoading: true });
  await waitFor(() => expect(result.current.items[0]?.id).toBe('agent:b 1'));
  expect(answer).toHaveBeenCalledTimes(2);
});

test('an equal query in a new object sends no request', async () => {
  const { result, rerender } = start({ entity_id: 'agent:a' });
  await waitFor(() => expect(result.current.isLoading).toBe(false));
  rerender({ entity_id: 'agent:a' });
  expect(answer).toHaveBeenCalledTimes(1);
});

test('an error has the text of the problem document', async () => {
  const { result } = start({ event_type: 'fails' });
  await waitFor(() => expect(result.current.error).not.toBeNull());
  const error = result.current.error as LivingMapError;
  expect(error).toBeInstanceOf(LivingMapError);
  expect(error.message).toBe('event_type: no subject');
  expect(error.problem?.parameter).toBe('event_type');
  expect(result.current.isLoading).toBe(false);
});

test('duplicate requests of StrictMode and stale ones are aborted', async () => {
  const { result, unmount } = renderHook(() => useHistory({}, { url: 'http://map.test' }), { wrapper: StrictMode });
  await waitFor(() => expect(result.current.isLoading).toBe(false));
  expect(result.current.items).toHaveLength(2);
  const aborted = () => answer.mock.calls.map(([, { signal }]) => signal?.aborted);
  expect(aborted()).toEqual([true, false]);
  act(() => result.current.refetch());
  unmount();
  expect(aborted()).toEqual([true, false, true]);
});
