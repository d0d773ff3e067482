'use client';

import { useCallback, useMemo } from 'react';
import type { HistoryItem, HistoryQuery } from './generated.js';
import { type Server, usePages } from './pages.js';

export interface History {
  /** The events so far, newest first. */
  items: readonly HistoryItem[];
  /** How many match, as far as the server counted; `null` before the first answer. */
  total: number | null;
  hasMore: boolean;
  isLoading: boolean;
  /** Why the last request failed; what was there stays. */
  error: Error | null;
  /** Adds the next page, if there is one and none is on its way. */
  loadMore: () => void;
  /** Begins again with the newest. */
  refetch: () => void;
}

/** Recorded events that match `query`, page by page. It does not follow the stream: `refetch` brings what is new. */
export function useHistory(query: HistoryQuery = {}, { url }: Server = {}): History {
  const { pages, isLoading, error, load, refetch } = usePages('/living-map/history', query, url);
  const items = useMemo(() => pages.flatMap((page) => page.items), [pages]);
  const last = pages.at(-1);
  const next = last?.next_cursor ?? null;
  const loadMore = useCallback(() => {
    if (next !== null && !isLoading) load(next);
  }, [load, next, isLoading]);
  return { items, total: last?.total ?? null, hasMore: next !== null, isLoading, error, loadMore, refetch };
}
