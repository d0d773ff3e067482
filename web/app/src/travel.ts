/**
 * Time travel: loads the map of the moment in the URL. Playback steps from moment to moment at the selected speed, or
 * slower if the server responds slower.
 */

import { get, LivingMapError, type Snapshot } from '@living-map/react';
import { useSyncExternalStore } from 'react';
import { server } from './server';
import { ripples } from './signals';
import { getView, setView, subscribe as subscribeToView } from './view';

export interface Travel {
  /** Selected moment (RFC 3339); `null`: live. */
  readonly at: string | null;
  /** Map of that moment; the previous one while loading. */
  readonly snapshot: Snapshot | null;
  readonly isLoading: boolean;
  readonly error: string | null;
  /** Begin of the log (RFC 3339), if an earlier moment was selected, which shows that of the begin instead. */
  readonly clampedTo: string | null;
  readonly isPlaying: boolean;
  /** Playback speed: seconds of the log per second. */
  readonly speed: number;
}

export const SPEEDS = [1, 10, 60, 600] as const;

/** Interval between playback steps (ms). */
const TICK_MS = 500;
/** Maximum number of events shown as ripples per step. */
const STEP_EVENTS = 60;

let travel: Travel = {
  at: null,
  snapshot: null,
  isLoading: false,
  error: null,
  clampedTo: null,
  isPlaying: false,
  speed: 10,
};
const listeners = new Set<() => void>();
let running: AbortController | null = null;
let ticking: ReturnType<typeof setInterval> | undefined;

function set(change: Partial<Travel>) {
  travel = { ...travel, ...change };
  for (const listener of [...listeners]) listener();
}

function follow() {
  const { at } = getView();
  if (at === travel.at) return;
  running?.abort();
  if (at === null) {
    clearInterval(ticking);
    set({ at, snapshot: null, isLoading: false, error: null, clampedTo: null, isPlaying: false });
    return;
  }
  load(at);
}

async function load(at: string) {
  const before = travel.at;
  const controller = new AbortController();
  running = controller;
  set({ at, isLoading: true, error: null, clampedTo: travel.clampedTo === at ? at : null });
  try {
    const snapshot = await get(server.url, '/living-map/snapshot', { at }, controller.signal);
    if (controller.signal.aborted) return;
    set({ snapshot, isLoading: false });
    if (travel.isPlaying && before !== null) await ripple(before, at, controller.signal);
  } catch (error) {
    if (controller.signal.aborted) return;
    const oldest = oldestTime(error);
    if (oldest !== null && oldest !== at) {
      set({ clampedTo: oldest });
      setView({ at: oldest }, false);
      return;
    }
    clearInterval(ticking);
    const text = error instanceof Error ? error.message : String(error);
    set({ snapshot: null, isLoading: false, isPlaying: false, error: text });
  }
}

/** Begin of the log, from the error about an earlier moment. */
export function oldestTime(error: unknown): string | null {
  const problem = error instanceof LivingMapError ? (error.problem as { oldest_time?: string } | null) : null;
  return problem?.oldest_time ?? null;
}

async function ripple(since: string, until: string, signal: AbortSignal) {
  const query = { since, until, limit: STEP_EVENTS };
  const { items } = await get(server.url, '/living-map/history', query, signal);
  ripples.send(items.flatMap(({ entity_id }) => entity_id ?? []));
}

function tick() {
  if (travel.isLoading || travel.at === null) return;
  const next = Date.parse(travel.at) + TICK_MS * travel.speed;
  if (next >= Date.now()) live();
  else setView({ at: new Date(next).toISOString() }, false);
}

/** @param isStep whether to add a history entry, so that Back returns here */
export function go(time: number, isStep = true): void {
  if (time >= Date.now()) live();
  else setView({ at: new Date(time).toISOString() }, isStep);
}

export const live = (): void => setView({ at: null });

/** @param since start of the playback when the map is live */
export function play(since: number): void {
  clearInterval(ticking);
  set({ isPlaying: true });
  if (travel.at === null) go(since);
  ticking = setInterval(tick, TICK_MS);
}

export function pause(): void {
  clearInterval(ticking);
  set({ isPlaying: false });
}

export const setSpeed = (speed: number): void => set({ speed });

subscribeToView(follow);
if (typeof window !== 'undefined') follow();

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useTravel = (): Travel =>
  useSyncExternalStore(
    subscribe,
    () => travel,
    () => travel,
  );
