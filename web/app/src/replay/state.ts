/** State of time travel. */

import type { EventFrame, Layers } from '@living-map/react';
import { useSyncExternalStore } from 'react';
import type { Span } from './playback';

/** Why the selected moment cannot be shown, or why the playback ended. */
export interface TravelError {
  /** `moment`: no map; `events`: the next events cannot be loaded at present; `gone`: they are not kept. */
  readonly what: 'moment' | 'events' | 'gone';
  readonly text: string;
}

export interface Travel {
  /** Displayed moment (RFC 3339); `null`: live. */
  readonly at: string | null;
  /** The moment at which the playback began, while it is running; otherwise `at`. For requests about a moment. */
  readonly restingAt: string | null;
  /** Map of that moment; the previous one while loading. */
  readonly layers: Layers | null;
  readonly isLoading: boolean;
  readonly error: TravelError | null;
  /** Begin of the log (RFC 3339), if an earlier moment was selected, which shows that of the begin instead. */
  readonly clampedTo: string | null;
  readonly isPlaying: boolean;
  /** Whether the playback waits for events. */
  readonly isWaiting: boolean;
  /** Playback speed: seconds of the log per second. */
  readonly speed: number;
  readonly isBackwards: boolean;
  /** Span that is repeated. */
  readonly loop: Span | null;
  /** Recorded events up to the moment, newest first. */
  readonly recent: readonly EventFrame[];
}

let travel: Travel = {
  at: null,
  restingAt: null,
  layers: null,
  isLoading: false,
  error: null,
  clampedTo: null,
  isPlaying: false,
  isWaiting: false,
  speed: 10,
  isBackwards: false,
  loop: null,
  recent: [],
};
const listeners = new Set<() => void>();

export const getTravel = (): Travel => travel;

export function setTravel(change: Partial<Travel>): void {
  travel = { ...travel, ...change };
  for (const listener of [...listeners]) listener();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useTravel = (): Travel => useSyncExternalStore(subscribe, getTravel, getTravel);

export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
