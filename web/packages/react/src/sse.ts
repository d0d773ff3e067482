/** One connection to the server's stream over server-sent events, for where no WebSocket gets through. */

import type { Line, LineEnd, LineEvents } from './line.js';

/**
 * Opens the line. By `fetch`, not by `EventSource`: that one hides the status, comes back on its own terms, and takes
 * frames of the kind `error` for its own errors.
 */
export function openEvents(url: URL, events: LineEvents): Line {
  const abort = new AbortController();
  const { signal } = abort;
  const end = (how: LineEnd) => signal.aborted || events.end(how);
  read(url, signal, events).then(end, (error) => end({ code: 1006, reason: String(error) }));
  return { close: () => abort.abort() };
}

async function read(url: URL, signal: AbortSignal, events: LineEvents): Promise<LineEnd> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream' }, signal });
  const { ok, status, headers, body } = response;
  if (!ok || !body) {
    const waitMs = Number(headers.get('retry-after')) * 1000;
    return { code: 1006, reason: `the server answered ${status}`, isRefused: [400, 410].includes(status), waitMs };
  }
  events.open();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  // The data of each event (WHATWG HTML, 9.2.6). A frame is one line of it, which says all that the event's other lines
  // do, and is whole when its end is there. In pieces until then: a snapshot comes in many, each to be looked through once.
  let line: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { code: 1006, reason: '' };
    const [first = '', ...more] = value.split('\n');
    line.push(first);
    for (const next of more) {
      const whole = line.join('');
      line = [next];
      // The one before it in the same piece may have ended the line.
      if (whole.startsWith('data:') && !signal.aborted) events.message(whole.slice(5));
    }
  }
}
