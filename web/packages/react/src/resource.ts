'use client';

import type { Routes } from './generated.js';
import { type ResourceOptions, usePages } from './pages.js';

/** Default polling interval of errors and lessons (ms). */
const REFRESH_MS = 15_000;

export interface Resource<T> {
  /** Last response; `null` before the first. Parts that are equal in the next response keep their identity. */
  data: T | null;
  /** Whether the first request, or one by `refetch`, is pending. */
  isLoading: boolean;
  /** Error of the last request; `data` is kept. */
  error: Error | null;
  refetch: () => void;
}

/** Response to `GET path`, for any route of the OpenAPI document, with its types. */
export function useResource<P extends keyof Routes>(
  path: P,
  parameters: Routes[P]['parameters'],
  options: ResourceOptions = {},
): Resource<Routes[P]['answer']> {
  const { pages, isLoading, error, refetch } = usePages(path, parameters, options);
  return { data: pages[0] ?? null, isLoading, error, refetch };
}

type LessonRoute = Routes['/living-map/lessons'];
type ErrorRoute = Routes['/living-map/errors'];
type HealthRoute = Routes['/living-map/errors/health'];

export interface Lessons extends Omit<Resource<never>, 'data'> {
  items: Readonly<LessonRoute['answer']['items']>;
}

/** Lessons that match `query`, polled every 15 s or every `refreshMs`. */
export function useLessons(query: LessonRoute['parameters'] = {}, options?: ResourceOptions): Lessons {
  const { data, ...rest } = useResource('/living-map/lessons', query, { refreshMs: REFRESH_MS, ...options });
  return { items: data?.items ?? NONE, ...rest };
}

export interface Errors extends Omit<Resource<never>, 'data'> {
  /** Entries of the error journal, oldest first. */
  items: Readonly<ErrorRoute['answer']['items']>;
  /** Health summary; `null` before the first response. */
  health: HealthRoute['answer'] | null;
}

/**
 * Error journal: entries that match `query`, and the health summary of the last `minutes` (default 60), polled every
 * 15 s or every `refreshMs`.
 */
export function useErrors(
  { minutes, ...query }: ErrorRoute['parameters'] & HealthRoute['parameters'] = {},
  options?: ResourceOptions,
): Errors {
  const refreshing = { refreshMs: REFRESH_MS, ...options };
  const entries = useResource('/living-map/errors', query, refreshing);
  const health = useResource('/living-map/errors/health', { minutes } as HealthRoute['parameters'], refreshing);
  return {
    items: entries.data?.items ?? NONE,
    health: health.data,
    isLoading: entries.isLoading || health.isLoading,
    error: entries.error ?? health.error,
    refetch() {
      entries.refetch();
      health.refetch();
    },
  };
}

const NONE: never[] = [];
