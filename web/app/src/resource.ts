/** Answers of the server that are asked for again from time to time. */

import { useCallback, useEffect, useRef, useState } from 'react';
import { get, Refused } from './server';

export interface Resource<T> {
  /** The last answer; `null` before the first. */
  data: T | null;
  isLoading: boolean;
  /** Why the last request failed; `data` stays. */
  error: Error | null;
  /** Whether this server has no such route. */
  isMissing: boolean;
  refetch: () => void;
}

type Query = Record<string, string | number | boolean | null | undefined>;

/** GET of `path`; asked for again every `refreshMs` while the page is seen. A `path` of `null` asks for nothing. */
export function useResource<T>(path: string | null, query: Query = {}, refreshMs = 0): Resource<T> {
  const key = JSON.stringify([path, query]);
  const [state, setState] = useState<{ key: string; data: T | null; error: Error | null; isLoading: boolean }>({
    key,
    data: null,
    error: null,
    isLoading: path !== null,
  });
  const running = useRef<AbortController | null>(null);

  const load = useCallback(() => {
    const [at, parameters] = JSON.parse(key) as [string | null, Query];
    running.current?.abort();
    if (at === null) return;
    const controller = new AbortController();
    running.current = controller;
    const settle = (change: { data?: T; error: Error | null }) => {
      if (controller.signal.aborted) return;
      setState(
        (before) => ({ ...(before.key === key ? before : { data: null }), key, isLoading: false, ...change }) as never,
      );
    };
    get<T>(at, parameters, controller.signal).then(
      (data) => settle({ data, error: null }),
      (error: unknown) => settle({ error: error instanceof Error ? error : new Error(String(error)) }),
    );
  }, [key]);

  useEffect(() => {
    load();
    const timer = refreshMs > 0 ? setInterval(() => !document.hidden && load(), refreshMs) : undefined;
    return () => {
      clearInterval(timer);
      running.current?.abort();
    };
  }, [load, refreshMs]);

  const current = state.key === key ? state : { data: null, error: null, isLoading: path !== null };
  const isMissing = current.error instanceof Refused && current.error.status === 404;
  return { data: current.data, error: current.error, isLoading: current.isLoading, isMissing, refetch: load };
}
