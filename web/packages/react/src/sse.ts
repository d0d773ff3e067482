/** One connection to the server's stream over server-sent events, for where no WebSocket gets through. */

import type { Line, LineEnd, LineEvents } from './line.js';

/**
 * Opens the line. By `fetch`, not by `EventSource`: that one hides the status, comes back on its own terms, and takes
 * frames of the kind `error` for its own errors.
 */
export function openEvents(url: URL, events: LineEvents): Line {
  const abort = new AbortController();
  const { signal } = abort;
  const ended = read(url, signal, events.open, (data) => {
    // The one before it in the same piece may have ended the line.
    if (!signal.aborted) events.message(data);
  });
  ended
    .catch((error: unknown): LineEnd => ({ code: 1006, reason: String(error) }))
    .then((end) => {
      if (!signal.aborted) events.end(end);
    });
  return { close: () => abort.abort() };
}

async function read(
  url: URL,
  signal: AbortSignal,
  open: () => void,
  message: (data: string) => void,
): Promise<LineEnd> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream' }, signal });
  const { ok, status, headers, body } = response;
  if (!ok || !body) {
    const waitMs = Number(headers.get('retry-after')) * 1000;
    return { code: 1006, reason: `the server answered ${status}`, isRefused: status === 410 || status === 400, waitMs };
  }
  open();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const take = lines(message);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { code: 1006, reason: '' };
    take(value);
  }
}

/**
 * Takes the answer piece by piece and gives the data of each event (WHATWG HTML, 9.2.6). A frame is one line of it, which
 * says all that the event's other lines do, and is whole when its end is there.
 */
function lines(message: (data: string) => void): (piece: string) => void {
  // In pieces until its end is here: a snapshot is one line that comes in many, each to be looked through once.
  let line: string[] = [];
  return (piece) => {
    const [first = '', ...more] = piece.split('\n');
    line.push(first);
    for (const next of more) {
      const whole = line.join('');
      line = [next];
      if (whole.startsWith('data:')) message(whole.slice(5));
    }
  };
}
