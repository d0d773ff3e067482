/** Connection state machine as a complete transition table; a missing cell is a compile error. */

export type State =
  /** Stopped. */
  | 'idle'
  /** A connection is being opened; no frame has arrived yet. */
  | 'connecting'
  /** Connected and receiving frames. */
  | 'open'
  /** Disconnected; a retry is scheduled. */
  | 'waiting'
  /** Disconnected because the page has been hidden for a while. */
  | 'paused'
  /** Permanently rejected; only `restart` leaves this state. */
  | 'failed';

export const signals = [
  'start',
  'stop',
  /** A frame arrived. */
  'frame',
  /** The connection ended or timed out; retryable. */
  'lost',
  /** The connection ended with a permanent error. */
  'refused',
  /** The retry delay has elapsed, or the browser is back online. */
  'retry',
  /** The page has been hidden for a while. */
  'hide',
  'show',
  /** The user requested a new connection. */
  'restart',
] as const;

export type Signal = (typeof signals)[number];

/** One cell per signal. */
type Row<Signals extends readonly unknown[]> = { readonly [At in keyof Signals]: State | null };

/** `null`: no transition. A transition to the same state opens a new connection. */
// biome-ignore format: a table
export const table: Record<State, Row<typeof signals>> = {
  //           start         stop    frame   lost       refused   retry         hide      show          restart
  idle:       ['connecting', null,   null,   null,      null,     null,         null,     null,         null],
  connecting: [null,         'idle', 'open', 'waiting', 'failed', null,         'paused', null,         'connecting'],
  open:       [null,         'idle', null,   'waiting', 'failed', null,         'paused', null,         'connecting'],
  waiting:    [null,         'idle', null,   null,      null,     'connecting', 'paused', null,         'connecting'],
  paused:     [null,         'idle', null,   null,      null,     null,         null,     'connecting', 'connecting'],
  failed:     [null,         'idle', null,   null,      null,     null,         null,     null,         'connecting'],
};

/** The state after `signal`; `null` for no transition. */
export const next = (state: State, signal: Signal): State | null => table[state][signals.indexOf(signal)] ?? null;

/** Whether a close code is permanent, i.e. a client error (docs/stream-protocol.md). */
export function isFinal(code: number): boolean {
  return [1002, 1003, 1007, 1008, 1009].includes(code) || (code >= 4500 && code <= 4999);
}
