/** Stream client: keeps a store up to date and reconnects after failures. State transitions are in machine.ts. */

import { type Connection, type ConnectionEnd, openWebSocket, type WebSocketConstructor } from './connection.js';
import { explain, findCause } from './explain.js';
import { parseFrame } from './frames.js';
import type { Layer } from './generated.js';
import { isFinal, next, type Signal, type State } from './machine.js';
import { address, errorOf, send } from './rest.js';
import { openEventStream } from './sse.js';
import { type ConnectionStatus, type MapState, Store } from './store.js';
import { tokenSourceFor } from './token.js';

export interface LivingMapOptions {
  /** Base URL of the server, e.g. `https://map.example.org/base`. Default: the page's origin. */
  url?: string | undefined;
  /** Layers to subscribe to; the others stay `null`. Default: all. */
  layers?: readonly Layer[] | undefined;
  /** Maximum number of recent events in the state. Default: 100. */
  maxEvents?: number | undefined;
  /** Disconnects after the page has been hidden for 30 s and resumes when it becomes visible. Default: true. */
  pauseWhenHidden?: boolean | undefined;
}

/** Platform APIs that can be injected. */
export interface Environment {
  /** Implementation to use when there is no global `WebSocket`, as in Node 20: that of the package `ws`. */
  WebSocket?: WebSocketConstructor;
}

const MAX_EVENTS = 100;
/** Upper bound of the first retry delay; it doubles with each attempt (ms, docs/stream-protocol.md). */
const BACKOFF_BASE_MS = 500;
/** Maximum retry delay, also for delays that the server requests (ms). */
const BACKOFF_MAX_MS = 30_000;
/** Idle timeout of a connection; the server pings after 30 s without other frames (ms). */
const IDLE_TIMEOUT_MS = 75_000;
/** Duration after which an open connection counts as stable and resets the back-off (ms). */
const STABLE_MS = 5000;
/** Time hidden before the client pauses, so that switching tabs briefly costs no reconnect (ms). */
const HIDDEN_MS = 30_000;
/** Consecutive connections that end with an invalid frame before the cursor is dropped for a snapshot. */
const MAX_INVALID_WITH_CURSOR = 2;
/**
 * Failed attempts before the cursor is dropped for a snapshot: over a WebSocket, a rejected cursor looks like an
 * unavailable server. About a minute of retries, so that a server restart does not make every client load a snapshot.
 */
const MAX_ATTEMPTS_WITH_CURSOR = 10;
/** Close code of a connection that ended without one (RFC 6455, 7.1.5). */
const NO_CODE = 1006;
/** Attempts by WebSocket only; without a frame so far, later ones alternate with server-sent events. */
const WEBSOCKET_ATTEMPTS = 2;

const statuses: { readonly [S in State]?: ConnectionStatus } = {
  open: 'open',
  connecting: 'connecting',
  failed: 'error',
};

type Timer = ReturnType<typeof setTimeout> | undefined;

export class LivingMapClient {
  readonly #store: Store;
  #state: State = 'idle';
  #connection: Connection | null = null;
  /** Removes the page's event listeners on `stop`. */
  #pageListeners: AbortController | undefined;
  #retryTimer: Timer;
  #idleTimer: Timer;
  #hiddenTimer: Timer;
  #stableTimer: Timer;
  /** Consecutive failed connections; the exponent of the back-off. */
  #attempt = 0;
  /** Consecutive connections that ended with an invalid frame. */
  #invalidFrames = 0;
  /** WebSocket (true) or server-sent events (false); fixed once a connection has delivered a frame. */
  #isSocket = true;
  #isTransportKnown = false;
  /** Delay requested by a `reconnect` frame (ms). */
  #requestedDelayMs: number | null = null;
  /** `Retry-After` of a rejection (ms); the same for all clients, so the random back-off is added to it. */
  #retryAfterMs = 0;
  /** Whether the next connection starts with a snapshot instead of the cursor. */
  #needsSnapshot = false;
  #error: Error | null = null;
  /** Why no connection has delivered a frame, if known. */
  #cause: Error | null = null;
  #isFindingCause = false;
  /** Resolvers of pending `refetch` calls. */
  #pendingRefetches: (() => void)[] = [];

  readonly #options: LivingMapOptions;
  readonly #environment: Environment;

  constructor(options: LivingMapOptions = {}, environment: Environment = {}) {
    this.#options = options;
    this.#environment = environment;
    this.#store = new Store(options.maxEvents ?? MAX_EVENTS);
  }

  /** Returns the current state; the same object until something changes. */
  readonly getState = (): MapState => this.#store.getState();

  /** Calls `listener` after changes, batched; returns the unsubscribe function. Does not connect: see {@link start}. */
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  start(): void {
    if (this.#state !== 'idle') return;
    this.#pageListeners = new AbortController();
    const { signal } = this.#pageListeners;
    globalThis.addEventListener?.('online', () => this.#signal('retry'), { signal });
    globalThis.document?.addEventListener('visibilitychange', this.#onVisibilityChange, { signal });
    this.#signal('start');
    this.#onVisibilityChange();
  }

  /** Disconnects and keeps the map; {@link start} resumes from the cursor. */
  stop(): void {
    this.#pageListeners?.abort();
    clearTimeout(this.#hiddenTimer);
    this.#signal('stop');
  }

  /** Reconnects immediately from the cursor, also after a rejection. */
  readonly reconnect = (): void => {
    this.#attempt = 0;
    this.#signal('restart');
  };

  /** Reconnects with a fresh snapshot. Resolves when it has arrived, or when the client stops or fails. */
  readonly refetch = (): Promise<void> => {
    if (this.#state === 'idle') return Promise.resolve();
    this.#needsSnapshot = true;
    const done = new Promise<void>((resolve) => this.#pendingRefetches.push(resolve));
    this.reconnect();
    return done;
  };

  #signal(signal: Signal) {
    const to = next(this.#state, signal);
    if (to === null) return;
    this.#state = to;
    if (to !== 'open') {
      clearTimeout(this.#idleTimer);
      clearTimeout(this.#stableTimer);
      const connection = this.#connection;
      this.#connection = null;
      connection?.close();
    }
    clearTimeout(this.#retryTimer);
    if (to === 'idle' || to === 'paused') this.#attempt = 0;
    if (to === 'idle' || to === 'open') this.#error = this.#cause = null;
    if (to === 'open') {
      // Not on the first frame: a connection that always drops soon after would be retried without back-off.
      this.#stableTimer = setTimeout(() => {
        this.#attempt = 0;
      }, STABLE_MS);
    }
    if (to === 'idle' || to === 'failed') this.#resolveRefetches();
    if (to === 'waiting') this.#retryTimer = setTimeout(() => this.#signal('retry'), this.#retryDelay());
    this.#store.set({ connectionStatus: statuses[to] ?? 'closed', error: this.#error });
    // Last, because a connection that fails synchronously raises another signal.
    if (to === 'connecting') this.#connect();
  }

  async #connect() {
    if (this.#attempt >= MAX_ATTEMPTS_WITH_CURSOR || this.#invalidFrames >= MAX_INVALID_WITH_CURSOR)
      this.#needsSnapshot = true;
    // The network may have changed since the transport last worked.
    if (this.#attempt > MAX_ATTEMPTS_WITH_CURSOR) this.#isTransportKnown = false;
    if (!this.#isTransportKnown && this.#attempt >= WEBSOCKET_ATTEMPTS) this.#isSocket = !this.#isSocket;
    const { url, layers } = this.#options;
    const isSocket = this.#isSocket;
    const cursor = this.#needsSnapshot ? null : this.getState().cursor;
    const events = {
      // After resuming, the map is current without a frame; on a quiet network the first one may take long.
      open: () => cursor && this.#signal('frame'),
      message: this.#receive,
      end: this.#end,
    };
    this.#restartIdleTimer();
    // Placeholder while the ticket is being requested.
    const placeholder = { close() {} };
    this.#connection = placeholder;
    // An invalid URL and the lack of a WebSocket implementation are permanent, a failed request for a ticket is not.
    let signal: Signal = 'refused';
    try {
      const target = address(url, isSocket ? '/living-map/stream' : '/living-map/events/stream', {
        cursor,
        layers: layers?.join(),
      });
      // Tickets are single-use: each connection requests one with a current token. Without tokens it opens at once.
      const source = tokenSourceFor(url);
      if (source) {
        signal = 'lost';
        const ticket = await requestTicket(url, await source());
        if (this.#connection !== placeholder) return;
        signal = 'refused';
        if (ticket) target.searchParams.set('ticket', ticket);
      }
      const Socket = this.#environment.WebSocket ?? globalThis.WebSocket;
      this.#connection = isSocket ? openWebSocket(target, events, Socket) : openEventStream(target, events);
    } catch (error) {
      if (this.#connection === placeholder) this.#disconnect(errorOf(error), signal);
    }
  }

  #receive = (data: unknown) => {
    const frame = parseFrame(data);
    if (!frame) {
      // Its content is lost, and with it the position in the stream: reconnect from the last cursor.
      this.#invalidFrames += 1;
      this.#disconnect(new Error('invalid frame'));
      return;
    }
    this.#restartIdleTimer();
    if (frame.kind === 'reconnect') this.#requestedDelayMs = Math.min(frame.after_ms, BACKOFF_MAX_MS);
    this.#store.receive(frame);
    if (frame.kind === 'snapshot') {
      this.#needsSnapshot = false;
      this.#resolveRefetches();
    }
    this.#invalidFrames = 0;
    this.#isTransportKnown = true;
    this.#signal('frame');
  };

  #end = ({ code, reason, isRejected, retryMs }: ConnectionEnd) => {
    // The cause that was found remains the best explanation while nothing changes.
    const error = (code === NO_CODE && this.#cause) || new Error(`the stream was closed: ${code} ${reason}`);
    // A rejection may be due to the cursor; without a cursor it is permanent.
    const isPermanent = isFinal(code) || (isRejected && this.#needsSnapshot);
    if (isRejected) this.#needsSnapshot = true;
    this.#retryAfterMs = Math.min(retryMs || 0, BACKOFF_MAX_MS);
    if (isPermanent) this.#disconnect(error, 'refused');
    else this.#disconnect(this.#requestedDelayMs === null ? error : null);
    if (code === NO_CODE) this.#findCause();
  };

  /** Replaces the error of a connection that never worked by its cause, when it is known. */
  async #findCause() {
    if (this.#isFindingCause || this.getState().snapshot) return;
    this.#isFindingCause = true;
    const cause = await findCause(this.#options.url);
    this.#isFindingCause = false;
    // Meanwhile a connection may have been successful, or the client stopped.
    if (!this.#error || this.getState().snapshot) return;
    this.#error = this.#cause = cause;
    this.#store.set({ error: cause });
  }

  #disconnect(error: Error | null, signal: Signal = 'lost') {
    this.#error = error;
    this.#signal(signal);
  }

  /** Retry delay with full jitter (ms), so that clients of a failed server do not reconnect simultaneously. */
  #retryDelay(): number {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    const delay = this.#requestedDelayMs ?? this.#retryAfterMs + Math.random() * ceiling;
    this.#requestedDelayMs = null;
    this.#retryAfterMs = 0;
    return delay;
  }

  #restartIdleTimer() {
    clearTimeout(this.#idleTimer);
    // Not by `close` alone: on a dead connection the close handshake has to time out first.
    this.#idleTimer = setTimeout(() => this.#disconnect(new Error('the stream stalled')), IDLE_TIMEOUT_MS);
  }

  #resolveRefetches() {
    for (const resolve of this.#pendingRefetches.splice(0)) resolve();
  }

  #onVisibilityChange = () => {
    clearTimeout(this.#hiddenTimer);
    if (this.#options.pauseWhenHidden === false) return;
    if (globalThis.document?.hidden) this.#hiddenTimer = setTimeout(() => this.#signal('hide'), HIDDEN_MS);
    else this.#signal('show');
  };
}

/** Requests a ticket; `null` if the server requires no tokens. Throws errors that say what to set. */
async function requestTicket(url: string | undefined, token: string | null): Promise<string | null> {
  try {
    return (await send(url, '/living-map/stream/ticket', {}, { method: 'POST' }, token)).ticket;
  } catch (thrown) {
    throw explain(url, errorOf(thrown));
  }
}
