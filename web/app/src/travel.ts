/**
 * Time travel. The moment is in the address; here is its map, asked of the server. Playing is going on from moment to
 * moment, as fast as the server answers and no faster than was asked for.
 */

import { get, type Snapshot } from '@living-map/react';
import { useSyncExternalStore } from 'react';
import { server } from './server';
import { ripples } from './signals';
import { getView, setView, subscribe as subscribeToView } from './view';

export interface Travel {
  /** RFC 3339; `null`: now. */
  readonly at: string | null;
  /** The map of that moment; while another is on its way, the one before. */
  readonly snapshot: Snapshot | null;
  readonly isLoading: boolean;
  readonly error: string | null;
  readonly isPlaying: boolean;
  /** Seconds of the log in one second. */
  readonly speed: number;
}

export const SPEEDS = [1, 10, 60, 600] as const;

/** How often a moment follows the one before. Milliseconds. */
const TICK_MS = 500;
/** Events of a step that are seen as ripples. */
const STEP_EVENTS = 60;

let travel: Travel = { at: null, snapshot: null, isLoading: false, error: null, isPlaying: false, speed: 10 };
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
    set({ at, snapshot: null, isLoading: false, error: null, isPlaying: false });
    return;
  }
  load(at);
}

async function load(at: string) {
  const before = travel.at;
  const controller = new AbortController();
  running = controller;
  set({ at, isLoading: true, error: null });
  try {
    const snapshot = await get(server.url, '/living-map/snapshot', { at }, controller.signal);
    if (controller.signal.aborted) return;
    set({ snapshot, isLoading: false });
    if (travel.isPlaying && before !== null) await ripple(before, at, controller.signal);
  } catch (error) {
    if (controller.signal.aborted) return;
    clearInterval(ticking);
    const text = error instanceof Error ? error.message : String(error);
    set({ snapshot: null, isLoading: false, isPlaying: false, error: text });
  }
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

/** @param isStep whether Back shall come back to where one was */
export function go(time: number, isStep = true): void {
  if (time >= Date.now()) live();
  else setView({ at: new Date(time).toISOString() }, isStep);
}

export const live = (): void => setView({ at: null });

/** @param since where to begin when one is not in the past yet */
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
