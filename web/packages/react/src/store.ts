/** Store: an immutable state, replaced on each frame, with subscribers. */

import { applyChange, reuseEqual } from './fold.js';
import type { EventFrame, Frame } from './frames.js';
import type { Snapshot } from './generated.js';

export type ConnectionStatus = 'connecting' | 'open' | 'closed' | 'error';

export interface MapState {
  /** Current map; `null` before the first snapshot. Parts that an event does not change keep their identity. */
  readonly snapshot: Snapshot | null;
  /** Recent events, newest first. */
  readonly events: readonly EventFrame[];
  /** Position in the log up to which events have been applied. */
  readonly cursor: string | null;
  readonly connectionStatus: ConnectionStatus;
  /** Connection error; `null` while connected and during a planned restart of the server. */
  readonly error: Error | null;
  /** Whether there is a map but no open connection to keep it current. */
  readonly isStale: boolean;
}

export const EMPTY: MapState = {
  snapshot: null,
  events: [],
  cursor: null,
  connectionStatus: 'connecting',
  error: null,
  isStale: false,
};

/** Minimum interval between notifications, about one frame at 60 Hz, so that a burst of events renders once (ms). */
const NOTIFY_MS = 16;
/** Number of recent cursors remembered to detect duplicate events. */
const SEEN_LIMIT = 1000;

export class Store {
  #state = EMPTY;
  #listeners = new Set<() => void>();
  #notifying: ReturnType<typeof setTimeout> | undefined;
  /** Cursors applied since the last snapshot, oldest first. */
  #seen = new Set<string>();

  readonly #maxEvents: number;

  /** @param maxEvents maximum number of recent events in the state */
  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents;
  }

  readonly getState = (): MapState => this.#state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  receive(frame: Frame): void {
    if (frame.kind === 'snapshot') {
      // After a snapshot of an older position, events that were applied before it must be applied again.
      this.#seen.clear();
      this.set({ snapshot: reuseEqual(this.#state.snapshot, frame.data), cursor: frame.data.meta.cursor });
    } else if (frame.kind === 'event') this.#fold(frame);
    else if (frame.kind === 'ping' && frame.cursor && this.#state.snapshot) this.set({ cursor: frame.cursor });
  }

  #fold(event: EventFrame) {
    const { snapshot, events } = this.#state;
    // Events before the first snapshot cannot be applied and must not move the cursor.
    if (!snapshot || !this.#isNew(event.cursor)) return;
    const layers = event.changes.reduce(applyChange, snapshot.layers);
    const { cursor } = event;
    const isListed = events.some((other) => other.cursor === cursor);
    this.set({
      snapshot: layers === snapshot.layers ? snapshot : { ...snapshot, layers, meta: { ...snapshot.meta, cursor } },
      events: isListed ? events : [event, ...events].slice(0, this.#maxEvents),
      cursor,
    });
  }

  #isNew(cursor: string): boolean {
    if (cursor === this.#state.cursor || this.#seen.has(cursor)) return false;
    this.#seen.add(cursor);
    const [oldest] = this.#seen;
    if (this.#seen.size > SEEN_LIMIT) this.#seen.delete(oldest as string);
    return true;
  }

  set(change: Partial<MapState>): void {
    const state = { ...this.#state, ...change };
    const isStale = state.snapshot !== null && state.connectionStatus !== 'open';
    this.#state = { ...state, isStale };
    this.#notifying ??= setTimeout(() => {
      this.#notifying = undefined;
      for (const listener of [...this.#listeners]) listener();
    }, NOTIFY_MS);
  }
}
