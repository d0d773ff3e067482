// @ts-check
/**
 * The connection to the server's stream: opens it, notices when it is dead, and comes back by itself from the last
 * cursor, so that whoever applies the frames misses none and sees none twice.
 */

/** @import { Connection, Frame } from '../types.d.ts' */

/**
 * @typedef {object} StreamOptions
 * @property {string} url the stream's address
 * @property {(frame: Frame) => void} onFrame
 * @property {(connection: Connection) => void} onConnection
 * @property {(url: string) => WebSocket} [open] replaced in tests
 * @property {() => number} [random] 0 to 1
 */

/** The first retry waits up to this long, each further one up to twice as long. Milliseconds. */
const BACKOFF_BASE_MS = 500;
/** No retry waits longer. Milliseconds. */
const BACKOFF_MAX_MS = 30_000;
/** The server pings after 30 seconds of silence; twice that and some without a frame is a dead line. Milliseconds. */
const SILENCE_MS = 75_000;
/** Attempts in a row that bring no frame before a cursor is given up for a fresh snapshot: it may be what is refused. */
const ATTEMPTS_WITH_CURSOR = 5;
/** Close codes that blame the client: trying again would end the same way (docs/stream-protocol.md). */
const isFinal = (/** @type {number} */ code) => [1002, 1003, 1007, 1008, 1009].includes(code) || code >= 4500;

export class MapStream {
  /** @type {StreamOptions} */
  #options;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {string | null} */
  #cursor = null;
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #watchdog;
  /** @type {number | null} */
  #askedToWait = null;
  #isOpen = false;

  /** @param {StreamOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Connects now, also when a retry is waiting. Does nothing while a connection is there. */
  connect() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#report('connecting', null);
    const socket = this.#openSocket();
    this.#socket = socket;
    this.#expectFrame();
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = ({ code }) => (isFinal(code) ? this.close() : this.#lost());
  }

  /** Closes for good, until {@link connect} is called again. */
  close() {
    clearTimeout(this.#retry);
    this.#drop();
    this.#report('closed', null);
  }

  #openSocket() {
    const url = new URL(this.#options.url);
    if (this.#attempt >= ATTEMPTS_WITH_CURSOR) this.#cursor = null;
    if (this.#cursor) url.searchParams.set('cursor', this.#cursor);
    return this.#options.open ? this.#options.open(url.href) : new WebSocket(url.href);
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#expectFrame();
    const frame = parse(data);
    if (!frame) return;
    if (!this.#isOpen) {
      this.#attempt = 0;
      this.#report('open', null);
    }
    if (frame.kind === 'reconnect') this.#askedToWait = frame.after_ms;
    this.#options.onFrame(frame);
    // After the frame is applied: a cursor says what the map holds already.
    if (frame.kind === 'snapshot') this.#cursor = frame.data.meta.cursor;
    else if ((frame.kind === 'event' || frame.kind === 'ping') && frame.cursor) this.#cursor = frame.cursor;
  }

  #lost() {
    this.#drop();
    const wait = this.#askedToWait ?? this.#backoff();
    this.#askedToWait = null;
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.connect(), wait);
    this.#report('closed', Date.now() + wait);
  }

  /** Full jitter: clients that lost one server together do not come back together. */
  #backoff() {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** this.#attempt);
    return (this.#options.random ?? Math.random)() * ceiling;
  }

  #expectFrame() {
    clearTimeout(this.#watchdog);
    // Not by `close` alone: on a dead line the close handshake takes its own time to fail.
    this.#watchdog = setTimeout(() => this.#lost(), SILENCE_MS);
  }

  #drop() {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  /**
   * @param {Connection['status']} status
   * @param {number | null} retryAt
   */
  #report(status, retryAt) {
    this.#isOpen = status === 'open';
    this.#options.onConnection({ status, attempt: this.#attempt, retryAt });
  }
}

/**
 * @param {unknown} data
 * @returns {Frame | null} null for what is no frame; a newer server may send kinds that we do not know, those pass
 */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const frame = JSON.parse(data);
    return typeof frame?.kind === 'string' ? frame : null;
  } catch {
    return null;
  }
}
