/** The life of a connection: every state and every event, with what follows. A cell left out does not compile. */

export type State =
  /** Nobody listens. */
  | 'idle'
  /** A line is being opened; nothing has come on it yet. */
  | 'connecting'
  /** Frames come. */
  | 'open'
  /** The line was lost; the next try is due later. */
  | 'waiting'
  /** Nobody looks: the page has been hidden for a while. */
  | 'paused'
  /** The server will not have us again. */
  | 'failed';

export const signals = [
  'start',
  'stop',
  /** A frame came. */
  'frame',
  /** The line ended, or went silent, in a way to come back from. */
  'lost',
  /** The line ended in a way that would only happen again. */
  'refused',
  /** The wait is over. */
  'retry',
  /** The page is not to be seen. */
  'hide',
  'show',
  /** Somebody asks for a new line now. */
  'restart',
] as const;

export type Signal = (typeof signals)[number];

/** A cell for each signal. */
type Row<Signals extends readonly unknown[]> = { readonly [At in keyof Signals]: State | null };

/** `null`: nothing happens. The same state again means a new line. */
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

/** What follows on `signal`; `null` if nothing does. */
export const next = (state: State, signal: Signal): State | null => table[state][signals.indexOf(signal)] ?? null;

/** Close codes that blame the client: trying again would end the same way (docs/stream-protocol.md). */
export function isFinal(code: number): boolean {
  return [1002, 1003, 1007, 1008, 1009].includes(code) || (code >= 4500 && code <= 4999);
}
