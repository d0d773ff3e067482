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

export type Signal =
  | 'start'
  | 'stop'
  /** A frame came. */
  | 'frame'
  /** The line ended, or went silent, in a way to come back from. */
  | 'lost'
  /** The line ended in a way that would only happen again. */
  | 'refused'
  /** The wait is over. */
  | 'retry'
  | 'hide'
  | 'show'
  /** Somebody asks for a new line now. */
  | 'restart';

/** `null`: nothing happens. The same state again means a new line. */
export const next: Record<State, Record<Signal, State | null>> = {
  idle: {
    start: 'connecting',
    stop: null,
    frame: null,
    lost: null,
    refused: null,
    retry: null,
    hide: null,
    show: null,
    restart: null,
  },
  connecting: {
    start: null,
    stop: 'idle',
    frame: 'open',
    lost: 'waiting',
    refused: 'failed',
    retry: null,
    hide: 'paused',
    show: null,
    restart: 'connecting',
  },
  open: {
    start: null,
    stop: 'idle',
    frame: null,
    lost: 'waiting',
    refused: 'failed',
    retry: null,
    hide: 'paused',
    show: null,
    restart: 'connecting',
  },
  waiting: {
    start: null,
    stop: 'idle',
    frame: null,
    lost: null,
    refused: null,
    retry: 'connecting',
    hide: 'paused',
    show: null,
    restart: 'connecting',
  },
  paused: {
    start: null,
    stop: 'idle',
    frame: null,
    lost: null,
    refused: null,
    retry: null,
    hide: null,
    show: 'connecting',
    restart: 'connecting',
  },
  failed: {
    start: null,
    stop: 'idle',
    frame: null,
    lost: null,
    refused: null,
    retry: null,
    hide: null,
    show: null,
    restart: 'connecting',
  },
};

/** Close codes that blame the client: trying again would end the same way (docs/stream-protocol.md). */
export function isFinal(code: number): boolean {
  return [1002, 1003, 1007, 1008, 1009].includes(code) || (code >= 4500 && code <= 4999);
}
