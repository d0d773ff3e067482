/** The client: keeps a store current over a stream that may drop, stall or restart, by the table in machine.ts. */

import { parseFrame } from './frames.js';
import type { Layer } from './generated.js';
import { type Line, type LineEnd, openLine, type WebSocketConstructor } from './line.js';
import { isFinal, next, type Signal, type State } from './machine.js';
import { address, ask, errorOf } from './rest.js';
import { openEvents } from './sse.js';
import { type ConnectionStatus, type MapState, Store } from './store.js';
import { sourceFor } from './token.js';

export interface LivingMapOptions {
  /** The server, `https://map.example.org`, with a path if it has one; otherwise the page's own origin. */
  url?: string | undefined;
  /** Only these layers; the others are `null`. All of them otherwise. */
  layers?: readonly Layer[] | undefined;
  /** How many events are kept; 100 otherwise. */
  maxEvents?: number | undefined;
  /** Whether to disconnect when the page has been hidden for half a minute, and catch up when it is seen; true otherwise. */
  pauseWhenHidden?: boolean | undefined;
}

/** What the client takes of its surroundings. */
export interface Environment {
  /** Where the global one is missing, as in Node 20: that of the package `ws`. */
  WebSocket?: WebSocketConstructor;
}

const MAX_EVENTS = 100;
/** The first retry waits up to this long, each further one up to twice as long. Milliseconds (docs/stream-protocol.md). */
const BACKOFF_BASE_MS = 500;
/** No retry waits longer, nor may the server ask for it. Milliseconds. */
const BACKOFF_MAX_MS = 30_000;
/** The server pings after 30 seconds of silence; a line silent for longer than this is dead. Milliseconds. */
const SILENCE_MS = 75_000;
/** A line that lasted this long was a good one: the next wait is short again. Milliseconds. */
const STABLE_MS = 5000;
/** A page hidden for this long is paused: shorter looks elsewhere cost no reconnect. Milliseconds. */
const HIDDEN_MS = 30_000;
/** Lines in a row that end in garbage before the cursor is given up for a snapshot: what follows it cannot be read. */
const GARBLED_WITH_CURSOR = 2;
/**
 * The same for lines that do not last: a refused cursor looks like a server that is away. That is about a minute of
 * tries, so that a restart, after which everybody comes back, is not answered with a snapshot for each.
 */
const ATTEMPTS_WITH_CURSOR = 10;
/** From this attempt on, if none has brought a frame yet, WebSocket and server-sent events take turns. */
const ATTEMPTS_BY_SOCKET = 2;

const statuses: { readonly [S in State]?: ConnectionStatus } = {
  open: 'open',
  connecting: 'connecting',
  failed: 'error',
};

type Timer = ReturnType<typeof setTimeout> | undefined;

export class LivingMapClient {
  readonly #store: Store;
  #state: State = 'idle';
  #line: Line | null = null;
  /** Ends with what it does while started: listening to the page. */
  #watch: AbortController | undefined;
  #retry: Timer;
  #silence: Timer;
  #hidden: Timer;
  #stable: Timer;
  /** Lines in a row that did not last. */
  #attempt = 0;
  /** Those of them whose last words could not be read. */
  #garbled = 0;
  /** Whether the line is a WebSocket, and not server-sent events; once it has brought a frame, further ones are the same. */
  #isSocket = true;
  #isTransportKnown = false;
  /** Milliseconds that a `reconnect` frame asked to wait. */
  #askedToWait: number | null = null;
  /** Milliseconds that a refusal asked to wait; the same for everybody, so the back-off comes on top. */
  #atLeast = 0;
  /** Whether the next line shall begin with a snapshot. */
  #fresh = false;
  #error: Error | null = null;
  /** Those who wait for a snapshot. */
  #waiting: (() => void)[] = [];

  readonly #options: LivingMapOptions;
  readonly #environment: Environment;

  constructor(options: LivingMapOptions = {}, environment: Environment = {}) {
    this.#options = options;
    this.#environment = environment;
    this.#store = new Store(options.maxEvents ?? MAX_EVENTS);
  }

  /** The state now. The same object until something changed. */
  readonly getState = (): MapState => this.#store.getState();

  /** Calls `listener` after changes, a burst at once; gives the way to leave. It does not connect: {@link start} does. */
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  start(): void {
    if (this.#state !== 'idle') return;
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    globalThis.addEventListener?.('online', () => this.#signal('retry'), { signal });
    globalThis.document?.addEventListener('visibilitychange', this.#look, { signal });
    this.#signal('start');
    this.#look();
  }

  /** Disconnects and keeps the map; {@link start} resumes where it was. */
  stop(): void {
    this.#watch?.abort();
    clearTimeout(this.#hidden);
    this.#signal('stop');
  }

  /** Takes a new line now, without waiting, also after the server has refused; resumes by cursor. */
  readonly reconnect = (): void => {
    this.#attempt = 0;
    this.#signal('restart');
  };

  /** Takes a new line that begins with a fresh snapshot. Resolves when it is there, or when there is none to wait for. */
  readonly refetch = (): Promise<void> => {
    if (this.#state === 'idle') return Promise.resolve();
    this.#fresh = true;
    const done = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.reconnect();
    return done;
  };

  #signal(signal: Signal) {
    const to = next(this.#state, signal);
    if (to === null) return;
    this.#state = to;
    if (to !== 'open') {
      clearTimeout(this.#silence);
      clearTimeout(this.#stable);
      const line = this.#line;
      this.#line = null;
      line?.close();
    }
    clearTimeout(this.#retry);
    if (to === 'idle' || to === 'paused') this.#attempt = 0;
    if (to === 'idle') this.#error = null;
    if (to === 'open') {
      this.#error = null;
      // Not with its first frame: one that always ends soon after would be asked for again and again without a pause.
      this.#stable = setTimeout(() => {
        this.#attempt = 0;
      }, STABLE_MS);
    }
    if (to === 'idle' || to === 'failed') this.#release();
    if (to === 'waiting') this.#retry = setTimeout(() => this.#signal('retry'), this.#wait());
    this.#store.set({ connectionStatus: statuses[to] ?? 'closed', error: this.#error });
    // Last: a line that cannot even be tried ends at once, in a signal of its own.
    if (to === 'connecting') this.#openLine();
  }

  async #openLine() {
    if (this.#attempt >= ATTEMPTS_WITH_CURSOR || this.#garbled >= GARBLED_WITH_CURSOR) this.#fresh = true;
    // What got through once may not where we are now.
    if (this.#attempt > ATTEMPTS_WITH_CURSOR) this.#isTransportKnown = false;
    if (!this.#isTransportKnown && this.#attempt >= ATTEMPTS_BY_SOCKET) this.#isSocket = !this.#isSocket;
    const { url, layers } = this.#options;
    const isSocket = this.#isSocket;
    const cursor = this.#fresh ? null : this.getState().cursor;
    const events = {
      // On a quiet network it is long until a frame comes; what was resumed is current before.
      open: () => cursor && this.#signal('frame'),
      message: this.#receive,
      end: this.#end,
    };
    this.#expectFrame();
    // Stands for the line until there is one.
    const none = { close() {} };
    this.#line = none;
    let signal: Signal = 'lost';
    try {
      // A ticket is good for one line: each gets its own, with a token of now. Without one the line opens at once.
      const ticket = sourceFor(url) && (await ask(url, '/living-map/stream/ticket', {}, { method: 'POST' })).ticket;
      if (this.#line !== none) return;
      // No such address, or no WebSocket here: it would be so the next time.
      signal = 'refused';
      const query = { cursor, layers: layers?.join(), ticket };
      const at = address(url, isSocket ? '/living-map/stream' : '/living-map/events/stream', query);
      const Socket = this.#environment.WebSocket ?? globalThis.WebSocket;
      this.#line = isSocket ? openLine(at, events, Socket) : openEvents(at, events);
    } catch (error) {
      if (this.#line === none) this.#lose(errorOf(error), signal);
    }
  }

  #receive = (data: unknown) => {
    const frame = parseFrame(data);
    if (!frame) {
      // What it said is lost, and with it the place in the stream: back to the last cursor.
      this.#garbled += 1;
      this.#lose(new Error('not a frame'));
      return;
    }
    this.#expectFrame();
    if (frame.kind === 'reconnect') this.#askedToWait = Math.min(frame.after_ms, BACKOFF_MAX_MS);
    this.#store.receive(frame);
    if (frame.kind === 'snapshot') {
      this.#fresh = false;
      this.#release();
    }
    this.#garbled = 0;
    this.#isTransportKnown = true;
    this.#signal('frame');
  };

  #end = ({ code, reason, isRefused, waitMs }: LineEnd) => {
    const error = new Error(`the stream was closed: ${code} ${reason}`);
    // With a cursor it may be that; without one it would be so the next time.
    const isHopeless = isFinal(code) || (isRefused && this.#fresh);
    if (isRefused) this.#fresh = true;
    this.#atLeast = Math.min(waitMs || 0, BACKOFF_MAX_MS);
    if (isHopeless) this.#lose(error, 'refused');
    else this.#lose(this.#askedToWait === null ? error : null);
  };

  #lose(error: Error | null, signal: Signal = 'lost') {
    this.#error = error;
    this.#signal(signal);
  }

  /** Full jitter: clients that lost one server together do not come back together. */
  #wait(): number {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    const wait = this.#askedToWait ?? this.#atLeast + Math.random() * ceiling;
    this.#askedToWait = null;
    this.#atLeast = 0;
    return wait;
  }

  #expectFrame() {
    clearTimeout(this.#silence);
    // Not by `close` alone: on a dead line the close handshake takes its own time to fail.
    this.#silence = setTimeout(() => this.#lose(new Error('the stream is silent')), SILENCE_MS);
  }

  #release() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #look = () => {
    clearTimeout(this.#hidden);
    if (this.#options.pauseWhenHidden === false) return;
    if (globalThis.document?.hidden) this.#hidden = setTimeout(() => this.#signal('hide'), HIDDEN_MS);
    else this.#signal('show');
  };
}
