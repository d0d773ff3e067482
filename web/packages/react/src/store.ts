/** What is known of the map: an immutable state, replaced as frames come, and those who want to hear of it. */

import { applyChange, share } from './fold.js';
import type { EventFrame, Frame } from './frames.js';
import type { Snapshot } from './generated.js';

export type ConnectionStatus = 'connecting' | 'open' | 'closed' | 'error';

export interface MapState {
  /** The map as it is now; `null` until the first one came. What an event does not touch keeps its identity. */
  readonly snapshot: Snapshot | null;
  /** The last events, newest first. */
  readonly events: readonly EventFrame[];
  /** The position in the log up to which the map is known. */
  readonly cursor: string | null;
  readonly connectionStatus: ConnectionStatus;
  /** Why there is no connection; `null` while there is one, and after a planned restart of the server. */
  readonly error: Error | null;
  /** Whether there is a map, but no connection that keeps it current. */
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

/** Listeners hear of changes at most this often, about once a picture: a burst of events renders once. Milliseconds. */
const NOTIFY_MS = 16;
/** Positions remembered to know an event that comes twice. */
const SEEN_LIMIT = 1000;

export class Store {
  #state = EMPTY;
  #listeners = new Set<() => void>();
  #notifying: ReturnType<typeof setTimeout> | undefined;
  /** Cursors applied since the last snapshot, oldest first. */
  #seen = new Set<string>();

  readonly #maxEvents: number;

  /** @param maxEvents how many events are kept */
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
      // Events after an older snapshot are news, even those that came before it.
      this.#seen.clear();
      this.set({ snapshot: share(this.#state.snapshot, frame.data), cursor: frame.data.meta.cursor });
    } else if (frame.kind === 'event') this.#fold(frame);
    else if (frame.kind === 'ping' && frame.cursor && this.#state.snapshot) this.set({ cursor: frame.cursor });
  }

  #fold(event: EventFrame) {
    const { snapshot, events } = this.#state;
    // Without a map there is nothing that the event could be applied to, nor a position that it could move.
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
