/** One connection to the server's stream, over a WebSocket. */

/** How a line ended: as it may come back from, or for good. */
export interface LineEnd {
  /** The WebSocket's close code; 1006 where there is none. */
  code: number;
  reason: string;
  /** Whether the server said that it cannot resume at that cursor. Over a WebSocket it sends a snapshot instead. */
  isGone?: boolean;
}

export interface LineEvents {
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
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  close(): void;
};

export function openLine(url: URL, events: LineEvents, Socket: WebSocketConstructor): Line {
  const address = new URL(url);
  address.protocol = url.protocol.replace('http', 'ws');
  const socket = new Socket(address.href);
  socket.onmessage = ({ data }) => events.message(data);
  socket.onclose = ({ code, reason }) => events.end({ code, reason });
  // `close` follows and says all that there is to know; without a listener `ws` throws.
  socket.onerror = () => {};
  return {
    close() {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    },
  };
}
