'use client';

import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { reuseEqual } from './fold.js';
import type { HistoryItem, HistoryQuery, Routes } from './generated.js';
import { errorOf, get } from './rest.js';

/** Server address. */
export interface Server {
  /** Base URL of the server, e.g. `https://map.example.org/base`. Default: the page's origin. */
  url?: string | undefined;
}

export interface ResourceOptions extends Server {
  /** Polling interval while the page is visible (ms); 0: only on `refetch`. */
  refreshMs?: number | undefined;
}

interface Loaded<T> {
  /** Identifies the request. */
  key: string;
  pages: readonly T[];
  isLoading: boolean;
  error: Error | null;
}

/**
 * Responses to a request: one, or one page for each `load` with a cursor. Responses to a previous request are dropped;
 * superseded requests are aborted.
 */
export function usePages<P extends keyof Routes>(
  path: P,
  parameters: Routes[P]['parameters'],
  { url, refreshMs }: ResourceOptions,
) {
  type Answer = Routes[P]['answer'];
  const key = JSON.stringify([path, url, parameters]);
  const initial: Loaded<Answer> = { key, pages: [], isLoading: true, error: null };
  const [loaded, setLoaded] = useState(initial);
  const running = useRef<AbortController | null>(null);
  // Ignore the previous request's response in the one render before the effect below sends the new request.
  const current = loaded.key === key ? loaded : initial;

  // `key` represents the path, the server and the parameters
  const load = useCallback(
    async (cursor?: string, isBackground = false) => {
      // A background poll does not replace a pending request.
      if (isBackground && running.current) return;
      running.current?.abort();
      const controller = new AbortController();
      running.current = controller;
      const { signal } = controller;
      const update = (isLoading: boolean, error: Error | null, page?: Answer) => {
        if (signal.aborted) return;
        setLoaded((before) => {
          const { pages } = before.key === key ? before : initial;
          const after = page ? [...(cursor ? pages : []), page] : pages;
          return { key, pages: reuseEqual(pages, after), isLoading, error };
        });
      };
      if (!isBackground) update(true, null);
      try {
        // A cursor replaces `offset`: the server rejects a request with both.
        const replaced = cursor ? { offset: null, cursor } : null;
        update(false, null, await get(url, path, { ...parameters, ...replaced }, signal));
      } catch (thrown) {
        update(false, errorOf(thrown));
      }
      if (running.current === controller) running.current = null;
    },
    [key],
  );

  useEffect(() => {
    load();
    return () => running.current?.abort();
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
  /** Loaded events, newest first. */
  items: readonly HistoryItem[];
  /** Number of matching events, up to the server's counting limit; `null` before the first response. */
  total: number | null;
  hasMore: boolean;
  isLoading: boolean;
  /** Error of the last request; `items` are kept. */
  error: Error | null;
  /** Loads the next page, unless there is none or a request is pending. */
  loadMore: () => void;
  /** Reloads from the newest event. */
  refetch: () => void;
}

/** Recorded events that match `query`, page by page. Not updated by the stream: call `refetch` for newer ones. */
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
