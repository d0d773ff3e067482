'use client';

import type { Routes } from './generated.js';
import { type ResourceOptions, usePages } from './pages.js';

/** What errors and lessons are asked for again after, if not said otherwise. Milliseconds. */
const REFRESH_MS = 15_000;

export interface Resource<T> {
  /** The last answer; `null` before the first. What a later one has in common with it keeps its identity. */
  data: T | null;
  /** Whether the first answer, or one to `refetch`, is on its way. */
  isLoading: boolean;
  /** Why the last request failed; `data` stays. */
  error: Error | null;
  refetch: () => void;
}

/** What the server answers to GET of `path`: any of its routes, with the types of its OpenAPI document. */
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

/** Lessons that match `query`; asked for again every 15 seconds, or as `refreshMs` says. */
export function useLessons(query: LessonRoute['parameters'] = {}, options?: ResourceOptions): Lessons {
  const { data, ...rest } = useResource('/living-map/lessons', query, { refreshMs: REFRESH_MS, ...options });
  return { items: data?.items ?? NONE, ...rest };
}

export interface Errors extends Omit<Resource<never>, 'data'> {
  /** The journal's entries, oldest first. */
  items: Readonly<ErrorRoute['answer']['items']>;
  /** "Is anything broken?"; `null` before the first answer. */
  health: HealthRoute['answer'] | null;
}

/**
 * The error journal: entries that match `query`, and the health of the last `minutes` (60, if not said); asked for again
 * every 15 seconds, or as `refreshMs` says.
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
