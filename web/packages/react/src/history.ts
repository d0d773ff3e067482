'use client';

import { useCallback, useEffect, useRef, useState } from 'react';
import type { HistoryItem, HistoryQuery } from './generated.js';
import { getHistory } from './rest.js';

export interface History {
  /** The events so far, newest first. */
  items: readonly HistoryItem[];
  /** How many match, as far as the server counted; `null` before the first answer. */
  total: number | null;
  hasMore: boolean;
  isLoading: boolean;
  error: Error | null;
  /** Adds the next page, if there is one and none is on its way. */
  loadMore: () => void;
  /** Begins again with the newest. */
  refetch: () => void;
}

interface Loaded {
  /** What was asked for. */
  key: string;
  items: readonly HistoryItem[];
  total: number | null;
  next: string | null;
  isLoading: boolean;
  error: Error | null;
}

const nothing = (key: string): Loaded => ({ key, items: [], total: null, next: null, isLoading: true, error: null });

/** Recorded events that match `query`, page by page. It does not follow the stream: `refetch` brings what is new. */
export function useHistory(query: HistoryQuery = {}, { url }: { url?: string | undefined } = {}): History {
  const key = JSON.stringify([url, query]);
  const [loaded, setLoaded] = useState(() => nothing(key));
  const running = useRef<AbortController | null>(null);
  // An answer to another question is none, also in the one render before the effect below asks anew.
  const current = loaded.key === key ? loaded : nothing(key);

  // The key stands for the server and the query
  const load = useCallback(
    (next: string | null) => {
      running.current?.abort();
      const controller = new AbortController();
      running.current = controller;
      const update = (change: (before: Loaded) => Partial<Loaded>) =>
        setLoaded((before) => {
          const same = before.key === key ? before : nothing(key);
          return { ...same, ...change(same) };
        });
      update(() => ({ isLoading: true, error: null }));
      getHistory(url, next === null ? query : { ...query, cursor: next }, controller.signal).then(
        (page) => {
          if (controller.signal.aborted) return;
          update(({ items }) => ({
            items: next === null ? page.items : [...items, ...page.items],
            total: page.total,
            next: page.next_cursor,
            isLoading: false,
          }));
        },
        (error: unknown) => {
          if (controller.signal.aborted) return;
          update(() => ({ error: error instanceof Error ? error : new Error(String(error)), isLoading: false }));
        },
      );
    },
    [key],
  );

  useEffect(() => {
    load(null);
    return () => running.current?.abort();
  }, [load]);

  const { items, total, next, isLoading, error } = current;
  const loadMore = useCallback(() => {
    if (next !== null && !isLoading) load(next);
  }, [load, next, isLoading]);
  const refetch = useCallback(() => load(null), [load]);
  return { items, total, hasMore: next !== null, isLoading, error, loadMore, refetch };
}
