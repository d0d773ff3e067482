/** Stream connection: the common interface, and the WebSocket transport. */

/** Reason for the end of a connection. */
export interface ConnectionEnd {
  /** WebSocket close code; 1006 if there is none. */
  code: number;
  reason: string;
  /** Whether the server rejected the request, possibly because of the cursor. Not observable over a WebSocket. */
  isRejected?: boolean;
  /** Delay requested by `Retry-After`, if any (ms). */
  retryMs?: number;
}

export interface ConnectionEvents {
  /** The server accepted the connection and resumes from the cursor, if one was given. */
  open(): void;
  message(data: unknown): void;
  end(end: ConnectionEnd): void;
}

export interface Connection {
  /** Closes the connection; no further callbacks are called. */
  close(): void;
}

/** The part of the WebSocket API in use: the browser's, Node 22's, or that of the package `ws`. */
export type WebSocketConstructor = new (
  url: string,
) => {
  onopen: ((event: never) => void) | null;
  onmessage: ((message: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  close(): void;
};

export function openWebSocket(url: URL, events: ConnectionEvents, Socket: WebSocketConstructor): Connection {
  const socket = new Socket(url.href.replace('http', 'ws'));
  socket.onopen = () => events.open();
  socket.onmessage = ({ data }: { data: unknown }) => events.message(data);
  socket.onclose = ({ code, reason }: ConnectionEnd) => events.end({ code, reason });
  // A `close` event with all details follows; without this listener `ws` throws.
  socket.onerror = () => {};
  return {
    close() {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}
