/** One connection to the server's stream, over a WebSocket. */

/** How a line ended: as it may come back from, or for good. */
export interface LineEnd {
  /** The WebSocket's close code; 1006 where there is none. */
  code: number;
  reason: string;
  /** Whether the server does not take what it was asked for, a cursor it may be. Over a WebSocket that is not to be seen. */
  isRefused?: boolean;
  /** How long the server asks to stay away; 0 or nothing: it does not say. Milliseconds. */
  waitMs?: number;
}

export interface LineEvents {
  /** The server has taken us, and goes on at the cursor if it was given one. */
  open(): void;
  message(data: unknown): void;
  end(end: LineEnd): void;
}

export interface Line {
  /** Closes, after which neither of the events comes any more. */
  close(): void;
}

/** What a line needs of a WebSocket: the browser's, Node 22's, or that of the package `ws`. */
export type WebSocketConstructor = new (
  url: string,
) => {
  onopen: ((event: never) => void) | null;
  onmessage: ((message: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  close(): void;
};

export function openLine(url: URL, events: LineEvents, Socket: WebSocketConstructor): Line {
  const socket = new Socket(url.href.replace('http', 'ws'));
  socket.onopen = () => events.open();
  socket.onmessage = ({ data }: { data: unknown }) => events.message(data);
  socket.onclose = ({ code, reason }: LineEnd) => events.end({ code, reason });
  // `close` follows and says all that there is to know; without a listener `ws` throws.
  socket.onerror = () => {};
  return {
    close() {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}
