'use client';

import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { share } from './fold.js';
import type { HistoryItem, HistoryQuery, Routes } from './generated.js';
import { errorOf, get } from './rest.js';

/** The server to ask. */
export interface Server {
  /** `https://map.example.org`, with a path if it has one; otherwise the page's own origin. */
  url?: string | undefined;
}

export interface ResourceOptions extends Server {
  /** Asks again after so many milliseconds, while the page is seen; 0: only on `refetch`. */
  refreshMs?: number | undefined;
}

interface Loaded<T> {
  /** What was asked for. */
  key: string;
  pages: readonly T[];
  isLoading: boolean;
  error: Error | null;
}

/**
 * The answers to a request: one, or a page for each `load` with a cursor. Those to an older question are dropped, and so
 * are answers that nobody waits for any more.
 */
export function usePages<P extends keyof Routes>(
  path: P,
  parameters: Routes[P]['parameters'],
  { url, refreshMs }: ResourceOptions,
) {
  type Answer = Routes[P]['answer'];
  const key = JSON.stringify([path, url, parameters]);
  const nothing: Loaded<Answer> = { key, pages: [], isLoading: true, error: null };
  const [loaded, setLoaded] = useState(nothing);
  const running = useRef<AbortController | null>(null);
  // An answer to another question is none, also in the one render before the effect below asks anew.
  const current = loaded.key === key ? loaded : nothing;

  // The key stands for the path, the server and the parameters
  const load = useCallback(
    async (cursor?: string, isQuiet = false) => {
      // Who asks quietly waits for what is on its way.
      if (isQuiet && running.current) return;
      running.current?.abort();
      const controller = new AbortController();
      running.current = controller;
      const { signal } = controller;
      const update = (isLoading: boolean, error: Error | null, page?: Answer) => {
        if (signal.aborted) return;
        setLoaded((before) => {
          const { pages } = before.key === key ? before : nothing;
          const after = page ? [...(cursor ? pages : []), page] : pages;
          return { key, pages: share(pages, after), isLoading, error };
        });
      };
      if (!isQuiet) update(true, null);
      try {
        update(false, null, await get(url, path, cursor ? { ...parameters, cursor } : parameters, signal));
      } catch (thrown) {
        update(false, errorOf(thrown));
      }
      if (running.current === controller) running.current = null;
    },
    [key],
  );

  useEffect(() => {
    load();
    return () => {
      running.current?.abort();
      running.current = null;
    };
  }, [load]);

  useEffect(() => {
    if (!refreshMs) return;
    const timer = setInterval(() => {
      if (!document.hidden) load(undefined, true);
    }, refreshMs);
    return () => clearInterval(timer);
  }, [load, refreshMs]);

  const refetch = useCallback(() => void load(), [load]);
  return { ...current, load, refetch };
}

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
export function useHistory(query: HistoryQuery = {}, server: Server = {}): History {
  const { pages, isLoading, error, load, refetch } = usePages('/living-map/history', query, server);
  const items = useMemo(() => pages.flatMap((page) => page.items), [pages]);
  const last = pages.at(-1);
  const next = last?.next_cursor ?? null;
  const loadMore = useCallback(() => {
    if (next !== null && !isLoading) load(next);
  }, [load, next, isLoading]);
  return { items, total: last?.total ?? null, hasMore: next !== null, isLoading, error, loadMore, refetch };
}
