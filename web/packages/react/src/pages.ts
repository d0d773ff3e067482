'use client';

import { useCallback, useEffect, useRef, useState } from 'react';
import { share } from './fold.js';
import type { Routes } from './generated.js';
import { errorOf, get } from './rest.js';

/** The server to ask. */
export interface Server {
  /** `https://map.example.org`, with a path if it has one; otherwise the page's own origin. */
  url?: string | undefined;
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
  url: string | undefined,
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

  const refetch = useCallback(() => void load(), [load]);
  return { ...current, load, refetch };
}
